"""Queues that are full hold back what fills them: graph inputs and sources, never the
nodes between (MediaPipe, CalculatorGraph::UpdateThrottledNodes, UnthrottleSources).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ovms_mp.graph.node import NodeRun
    from ovms_mp.graph.stream import InputStream


class Throttle:
    """The full queues of one run. Sources are numbered: a graph input by its stream, a
    source node by -1 - index.
    """

    __slots__ = ("_held", "full")

    def __init__(self) -> None:
        self.full: list[InputStream] = []
        self._held: dict[int, int] = {}

    @property
    def holds_inputs(self) -> bool:
        """True if a graph input should get no more packets now."""
        return any(source >= 0 for source in self._held)

    def holds(self, source: int) -> bool:
        """True if some queue that the source fills is full."""
        return source in self._held

    def fill(self, queue: InputStream) -> None:
        """The queue has reached its size."""
        if queue in self.full or not queue.is_full():
            return
        self.full.append(queue)
        for source in queue.sources:
            self._held[source] = self._held.get(source, 0) + 1

    def relax(self, node: NodeRun) -> None:
        """Packets were taken from the node's queues."""
        self._release(node.inputs)

    def grow(self) -> None:
        """Give each full queue room for one more packet: the way out when everything
        waits for a packet that a throttled source would bring.
        """
        for queue in self.full:
            queue.max_size = len(queue.packets) + 1
        self._release(list(self.full))

    def _release(self, queues: Iterable[InputStream]) -> None:
        for queue in queues:
            if queue in self.full and not queue.is_full():
                self.full.remove(queue)
                for source in queue.sources:
                    left = self._held[source] - 1
                    if left:
                        self._held[source] = left
                    else:
                        del self._held[source]
