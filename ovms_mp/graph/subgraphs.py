"""Where the pbtxt of a subgraph is found by the subgraph's `type`: beside the graph
that uses it, then in the packages that ship graphs, ours among them.
"""

from __future__ import annotations

from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from ovms_mp.core.errors import ServingError
from ovms_mp.graph import pbtxt, positions
from ovms_mp.graph.pbtxt import GraphText, OptionsOf

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ENTRY_POINTS: Final = "ovms_mp.subgraphs"
"""The entry-point group of packages that hold `*.pbtxt` files, in any folder of theirs;
the values are names of packages."""


class DuplicateSubgraph(ValueError):
    """Two files define the same type; the text names both."""


class Subgraphs(Protocol):
    """Subgraphs by name, for the time of loading one graph."""

    def find(self, name: str, options: OptionsOf | None) -> GraphText | None:
        """The subgraph of that type, or None, which makes the name a calculator's.

        Raises ServingError when its file cannot be parsed, DuplicateSubgraph when two
        files define it.
        """
        ...


class Folders:
    """Subgraphs in the pbtxt files of folders; a folder that comes first wins. Each
    folder is read once, when it is first asked. Not thread-safe.
    """

    def __init__(self, *folders: Iterable[Path]) -> None:
        self._folders = [iter(each) for each in folders]
        self._known: list[dict[str, list[Path]]] = []
        self._parsed: dict[str, GraphText | None] = {}

    @classmethod
    def beside(cls, graph: Path) -> Folders:
        """The pbtxt files beside a graph, then those that packages ship."""
        return cls(_files(graph.parent), _shipped())

    def find(self, name: str, options: OptionsOf | None) -> GraphText | None:
        """See Subgraphs."""
        if name not in self._parsed:
            path = self._path(name)
            self._parsed[name] = (
                None
                if path is None
                else pbtxt.parse(pbtxt.contents(path), path.name, options)
            )
        return self._parsed[name]

    def has(self, name: str) -> bool:
        """True if there is a file of that type, or several."""
        return any(name in by_type for by_type in self._types())

    def _path(self, name: str) -> Path | None:
        for by_type in self._types():
            paths = by_type.get(name, [])
            if len(paths) > 1:
                first, second = (f'"{path.name}"' for path in paths[:2])
                msg = f'subgraph "{name}" is defined in {first} and in {second}'
                raise DuplicateSubgraph(msg)
            if paths:
                return paths[0]
        return None

    def _types(self) -> Iterator[dict[str, list[Path]]]:
        yield from self._known
        while self._folders:
            by_type: dict[str, list[Path]] = {}
            for path in self._folders.pop(0):
                if graph_type := _type(path):
                    by_type.setdefault(graph_type, []).append(path)
            self._known.append(by_type)
            yield by_type


def _files(folder: Path) -> Iterator[Path]:
    try:
        yield from sorted(path for path in folder.glob("*.pbtxt") if path.is_file())
    except OSError:  # the graph itself says that its folder cannot be read
        return


def _shipped() -> Iterator[Path]:
    for entry in sorted(entry_points(group=ENTRY_POINTS), key=lambda each: each.name):
        try:
            spec = find_spec(entry.value)
        except ModuleNotFoundError:  # its parent is gone
            continue
        for folder in (spec and spec.submodule_search_locations) or ():
            yield from sorted(Path(folder).rglob("*.pbtxt"))


def _type(path: Path) -> str:
    """The `type` that the file claims; that the rest is broken matters to its users."""
    try:
        text = pbtxt.contents(path).decode("utf-8-sig")
        root = positions.read(text)
    except (ServingError, UnicodeDecodeError, positions.PbtxtTooDeep):
        return ""
    return root.child("type").text
