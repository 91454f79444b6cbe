"""How a graph looks, laid out when somebody first wants to see it."""

from __future__ import annotations

import hashlib
import threading
from collections import defaultdict
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ovms_mp.core.happenings import Shape
    from ovms_mp.drawing.layout import Picture
    from ovms_mp.library.explanation import Explanation
    from ovms_mp.library.hosting import GraphDefinition

_PICTURES: Final = "IMAGE"
_SUBGRAPH: Final = "subgraph:"


class Drawn(NamedTuple):
    """A picture, and by the keys of its items which nodes each stands for."""

    picture: Picture
    nodes: Mapping[str, Sequence[int]]


class Portrait:
    """Of one graph, whose runs have `shape`. Thread-safe."""

    def __init__(self, definition: GraphDefinition, shape: Shape) -> None:
        self.shape: Final = shape
        self._definition = definition
        self._lock = threading.Lock()
        self._explanation: Explanation | None = None
        self._mark = ""
        self._drawn: dict[tuple[bool, str], Drawn] = {}

    @property
    def pictures(self) -> tuple[Sequence[str], Sequence[str]]:
        """The inputs and the outputs that carry frames."""
        inputs, outputs = self._definition.inputs, self._definition.outputs
        return (
            [name.name for name, _ in inputs if name.tag.startswith(_PICTURES)],
            [name.name for name, _ in outputs if name.tag.startswith(_PICTURES)],
        )

    @property
    def mark(self) -> str:
        """The same for graphs that look the same, in whichever process."""
        with self._lock:
            if not self._mark:
                told = repr(self._explained()).encode()
                self._mark = hashlib.sha256(told).hexdigest()[:16]
            return self._mark

    def drawn(self, *, expand: bool, within: str = "") -> Drawn | None:
        """With subgraphs folded, or as what is in them; all of it, or what is `within`
        the use of a subgraph, by the key of its item; None if there is none. The first
        time may take a second for some hundred nodes.
        """
        prefix = within.removeprefix(_SUBGRAPH)
        with self._lock:
            explanation = self._explained()
            nodes = explanation.nodes
            if within and prefix not in {u.prefix for n in nodes for u in n.within}:
                return None
            key = expand, prefix
            if key not in self._drawn:
                drawn = _drawn(explanation, prefix, expand=expand)
                self._drawn[key] = drawn
            return self._drawn[key]

    def _explained(self) -> Explanation:
        # A tenth of a server's start is not for those who never look.
        from ovms_mp.library.explanation import of

        if self._explanation is None:
            self._explanation = of(self._definition)
        return self._explanation


def _drawn(explanation: Explanation, within: str, *, expand: bool) -> Drawn:
    from ovms_mp.drawing.layout import lay_out
    from ovms_mp.library.picturing import drawing_of

    nodes: dict[str, list[int]] = defaultdict(list)
    for number, node in enumerate(explanation.nodes):
        for use in node.within:
            nodes[f"{_SUBGRAPH}{use.prefix}"].append(number)
        nodes[f"node:{number}:{node.name}"].append(number)
    drawing = drawing_of(explanation, expand=expand, is_public=True, within=within)
    return Drawn(lay_out(drawing), nodes)
