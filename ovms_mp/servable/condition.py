"""Whether the nodes of a graph can work: asked of them at the moment in which somebody wants
to know, so that nothing that is remembered can be wrong.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Condition:
    """See the service of that name; of one graph. Thread-safe, once the graph is loaded."""

    def __init__(self, changed: Callable[[], object]) -> None:
        """`changed` is called when a node says that it is."""
        self._changed = changed
        self._nodes: dict[str, Callable[[], str]] = {}

    def watch(self, node: str, trouble: Callable[[], str]) -> None:
        """See the service; while the graph is loaded."""
        self._nodes[node] = trouble

    def changed(self) -> None:
        """See the service."""
        self._changed()

    @property
    def trouble(self) -> str:
        """What keeps one of the nodes from answering anybody; empty if nothing does."""
        for node, trouble in self._nodes.items():
            if why := trouble():
                return f'node "{node}": {why}'
        return ""
