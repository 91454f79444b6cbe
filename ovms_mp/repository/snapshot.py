"""One look at everything that is mounted: what the configuration says, and of which files
each thing is made. A snapshot never changes; whoever wants to know more looks again.

A graph is made of its pbtxt, of those beside it, where its subgraphs are, of each file
that one of them names, and where that is Python, of the Python beside and below it.
A version of a model is made of all files in its directory.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from ovms_mp.core.errors import ServingError, Status
from ovms_mp.repository import config as configuration
from ovms_mp.repository import models
from ovms_mp.repository.config import (
    GraphSpec,
    ModelSpec,
    Problem,
    RepositoryConfig,
)
from ovms_mp.repository.confinement import ensure_within
from ovms_mp.repository.files import (
    Digests,
    Files,
    Stamp,
    is_folder,
    stamp,
    stamps,
    tree,
)
from ovms_mp.repository.versions import DEFAULT_POLICY

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from ovms_mp.repository.mirrors import Mirrors

_STRING: Final = re.compile(rb"""(["'])((?:(?!\1)[^\\\n])*)\1""")
# A name of a file has a suffix or a folder; names of streams and models rarely do.
_LIKE_A_FILE: Final = re.compile(r"[./]")
_MAX_GRAPH_BYTES: Final = 4 << 20


class Fingerprint(NamedTuple):
    """What a thing is made with, and the contents of what it is made of."""

    settings: object
    contents: tuple[tuple[str, bytes], ...]


@dataclass(frozen=True, slots=True)
class Part:
    """A thing that is loaded as a whole: a version of a model, a graph, a folder of
    calculators. `path` is where it lies, `settings` compare equal if they mean the same.
    """

    path: Path
    settings: object
    files: Files

    def fingerprint(self, digests: Digests) -> Fingerprint:
        """What tells if it is the same as another one, wherever that lies."""
        return Fingerprint(
            self.settings,
            tuple(
                (_relative(path, self.path), digests.of(path, there))
                for path, there in self.files.items()
            ),
        )


@dataclass(frozen=True, slots=True)
class ModelParts:
    """The versions of a model; `error` says why there are none, or no newer ones. Nothing
    is known before what `is_coming` is here.
    """

    spec: ModelSpec
    versions: Mapping[int, Part] = field(default_factory=dict[int, Part])
    error: ServingError | None = None
    is_coming: bool = False


@dataclass(frozen=True, slots=True)
class GraphPart:
    """A graph."""

    spec: GraphSpec
    part: Part


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What was there. If the configuration could not be read, `error` says why, and
    `config` is what it said before. `looked_at` are all files and folders that matter.
    """

    config: RepositoryConfig
    error: ServingError | None
    models: Mapping[str, ModelParts]
    graphs: Mapping[str, GraphPart]
    calculators: Part | None
    looked_at: Files

    def parts(self) -> Iterator[Part]:
        """All that is loaded as a whole."""
        for model in self.models.values():
            yield from model.versions.values()
        yield from (graph.part for graph in self.graphs.values())
        if self.calculators is not None:
            yield self.calculators


class Scanner:
    """Looks at what `source` names, and at a folder of calculators if there is one. For
    one thread at a time.
    """

    def __init__(
        self,
        source: Path | ModelSpec,
        calculators_path: Path | None = None,
        mirrors: Mirrors | None = None,
        root: Path | None = None,
    ) -> None:
        """Models in cloud storage are looked for in `mirrors`. With a `root`, what a
        config names, and each file of it, lies below that.
        """
        self._source = source
        self._root = root
        self.mirrors: Final = mirrors
        self._calculators_path = calculators_path and calculators_path.absolute()
        self._config: RepositoryConfig | None = None
        self._named: dict[Path, tuple[Stamp, tuple[str, ...]]] = {}

    def scan(self) -> Snapshot:
        """Look. Raises ServingError, FILE_INVALID or JSON_INVALID, if there is no
        configuration that could be read and has never been one.
        """
        looked_at: dict[Path, Stamp | None] = {}
        error = None
        before = self._config
        if not isinstance(self._source, ModelSpec):
            config_path = self._source.absolute()
            looked_at.update(stamps((config_path.parent, config_path)))
        try:
            config = self._config = configuration.read(self._source, self._root)
        except ServingError as problem:
            if before is None:
                raise
            config, error = before, problem
        looked_at.update(stamps(config.documents))
        if self.mirrors is not None:
            self.mirrors.become(config.models)
        calculators = None
        if self._calculators_path is not None:
            calculators = self._calculators(self._calculators_path, looked_at)
        models = {spec.name: self._model(spec, looked_at) for spec in config.models}
        graphs: dict[str, GraphPart] = {}
        for spec in config.graphs:
            found = self._graph(spec, looked_at)
            try:
                there = (path for path, stamp in found.part.files.items() if stamp)
                ensure_within(self._root, there)
            except ServingError as problem:
                problems = (*config.problems, Problem(spec.name, problem))
                config = replace(config, problems=problems)
            else:
                graphs[spec.name] = found
        return Snapshot(config, error, models, graphs, calculators, looked_at)

    def _model(
        self, spec: ModelSpec, looked_at: dict[Path, Stamp | None]
    ) -> ModelParts:
        if spec.url:
            return self._mirrored(spec, looked_at)
        return self._local(spec, looked_at, self._root)

    def _local(
        self, spec: ModelSpec, looked_at: dict[Path, Stamp | None], root: Path | None
    ) -> ModelParts:
        base = spec.base_path
        looked_at.update(stamps((base.parent, base, base / "1")))
        # Where it lies and which versions are chosen says nothing of a version itself.
        settings = replace(
            spec, name="", base_path=Path(), url="", version_policy=DEFAULT_POLICY
        )
        versions: dict[int, Part] = {}
        try:
            for number, path in models.versions(base).items():
                if models.is_file(path):
                    folders, files = (path.parent,), models.companions(path)
                else:
                    files, folders = tree(path)
                part = Part(path, settings, stamps(files))
                looked_at.update(stamps(folders))
                looked_at.update(part.files)
                ensure_within(root, part.files)
                versions[number] = part
        except ServingError as error:
            return ModelParts(spec, error=error)
        return ModelParts(spec, versions)

    def _mirrored(
        self, spec: ModelSpec, looked_at: dict[Path, Stamp | None]
    ) -> ModelParts:
        if self.mirrors is None:
            details = f"{spec.url}: cloud storage is for servers"
            error = ServingError(Status.NOT_IMPLEMENTED, details)
            return ModelParts(spec, error=error)
        mirror = self.mirrors.of(spec)
        if mirror.is_coming or mirror.error is not None:
            return ModelParts(spec, {}, mirror.error, is_coming=mirror.is_coming)
        found = replace(spec, url="", base_path=mirror.folder)
        return self._local(found, looked_at, None)

    def _graph(self, spec: GraphSpec, looked_at: dict[Path, Stamp | None]) -> GraphPart:
        beside = spec.graph_path.parent
        texts = dict.fromkeys((spec.graph_path, *_pbtxts(beside)))
        files: dict[Path, Stamp | None] = stamps(texts)
        folders: dict[Path, None] = dict.fromkeys(
            (spec.base_path.parent, spec.base_path, spec.base_path / "1", beside)
        )
        for text in texts:
            for name in self._names_in(text, files[text]):
                path = spec.base_path / name
                if path.suffix == ".py":
                    found = tree(path.parent, _is_python)
                    folders.update(dict.fromkeys(found.folders))
                    files.update(stamps(found.files))
                if path not in files and not is_folder(path):
                    files[path] = stamp(path)
        looked_at.update(stamps(folders))
        looked_at.update(files)
        # Its models are files of their own, and no matter of the graph's.
        settings = replace(spec, name="", subconfig=None)
        part = Part(spec.base_path, settings, dict(sorted(files.items())))
        return GraphPart(spec, part)

    def _names_in(self, text: Path, there: Stamp | None) -> tuple[str, ...]:
        """Strings in a pbtxt that may be names of files."""
        if there is None or there.size > _MAX_GRAPH_BYTES:
            return ()
        known = self._named.get(text)
        if known is not None and known[0] == there:
            return known[1]
        try:
            content = text.read_bytes()
        except OSError:
            return ()
        strings = (
            found[2].decode(errors="replace") for found in _STRING.finditer(content)
        )
        names = tuple(
            dict.fromkeys(each for each in strings if _LIKE_A_FILE.search(each))
        )
        self._named[text] = there, names
        return names

    def _calculators(self, path: Path, looked_at: dict[Path, Stamp | None]) -> Part:
        found = tree(path, _is_python)
        part = Part(path, None, stamps(found.files))
        looked_at.update(stamps((path.parent, *found.folders)))
        looked_at.update(part.files)
        return part


def _pbtxts(folder: Path) -> Iterable[Path]:
    try:
        return sorted(folder.glob("*.pbtxt"))
    except OSError:
        return ()


def _is_python(name: str) -> bool:
    return name.endswith(".py")


def _relative(path: Path, folder: Path) -> str:
    return str(path.relative_to(folder)) if path.is_relative_to(folder) else str(path)
