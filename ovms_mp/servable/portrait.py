"""How a graph looks, laid out when somebody first wants to see it."""

from __future__ import annotations

import threading
from collections import defaultdict
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ovms_mp.drawing.layout import Picture
    from ovms_mp.library.hosting import GraphDefinition

_PICTURES: Final = "IMAGE"


class Drawn(NamedTuple):
    """A picture, and by the keys of its items which nodes each stands for."""

    picture: Picture
    nodes: Mapping[str, Sequence[int]]


class Portrait:
    """Of one graph. Thread-safe."""

    def __init__(self, definition: GraphDefinition) -> None:
        self._definition = definition
        self._lock = threading.Lock()
        self._drawn: dict[bool, Drawn] = {}

    @property
    def pictures(self) -> tuple[Sequence[str], Sequence[str]]:
        """The inputs and the outputs that carry frames."""
        inputs, outputs = self._definition.inputs, self._definition.outputs
        return (
            [name.name for name, _ in inputs if name.tag.startswith(_PICTURES)],
            [name.name for name, _ in outputs if name.tag.startswith(_PICTURES)],
        )

    def drawn(self, *, expand: bool) -> Drawn:
        """With subgraphs folded, or as what is in them; the first time may take a second
        for some hundred nodes.
        """
        with self._lock:
            if expand not in self._drawn:
                self._drawn[expand] = self._draw(expand=expand)
            return self._drawn[expand]

    def _draw(self, *, expand: bool) -> Drawn:
        # A tenth of a server's start is not for those who never look.
        from ovms_mp.drawing.layout import lay_out
        from ovms_mp.library.explanation import of
        from ovms_mp.library.picturing import drawing_of

        explanation = of(self._definition)
        nodes: dict[str, list[int]] = defaultdict(list)
        for number, node in enumerate(explanation.nodes):
            for use in node.within:
                nodes[f"subgraph:{use.prefix}"].append(number)
            nodes[f"node:{number}:{node.name}"].append(number)
        drawing = drawing_of(explanation, expand=expand, is_public=True)
        return Drawn(lay_out(drawing), nodes)
