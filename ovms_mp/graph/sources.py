"""Sources take their turns when nothing else is left to do: layer by layer, the one that
is furthest behind first (MediaPipe, framework/scheduler.cc, scheduler_queue.cc).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from ovms_mp.core.timestamp import MAX

if TYPE_CHECKING:
    from ovms_mp.graph.node import NodeRun
    from ovms_mp.graph.throttle import Throttle


class Surroundings(Protocol):
    """What sources see of the run that they are in."""

    running: int
    throttle: Throttle

    def has_unopened_source(self, *, below: int) -> bool:
        """True if a source of a layer below this one is not opened yet."""
        ...


class Sources:
    """The sources of one run that are opened and not closed."""

    __slots__ = ("_active", "_waiting", "are_known", "are_stopped")

    def __init__(self) -> None:
        self._active: list[NodeRun] = []
        self._waiting: list[NodeRun] = []
        self.are_known = False
        """There are or have been some: most graphs have none."""
        self.are_stopped = False

    def add(self, node: NodeRun) -> None:
        """A source has been opened; its layer has its turn later."""
        self._waiting.append(node)
        self.are_known = True

    def stop(self) -> None:
        """From now on sources are closed instead of run."""
        self.are_stopped = True

    def are_left(self) -> bool:
        """True if some source is not closed."""
        self._forget_closed()
        return bool(self._active or self._waiting)

    def are_active(self) -> bool:
        """True if a source whose layer has its turn is not closed."""
        self._forget_closed()
        return bool(self._active)

    def has_next(self, run: Surroundings) -> bool:
        """True if a source can be run, or closed, while nothing else happens."""
        return self.next(run) is not None

    def are_stuck(self, run: Surroundings) -> bool:
        """True if the next layer waits for a source of a lower one to be opened."""
        self._forget_closed()
        return bool(
            not self._active
            and self._waiting
            and run.has_unopened_source(below=self._next_layer())
        )

    def next(self, run: Surroundings) -> NodeRun | None:
        """The source to run, or None if there is none or all are throttled."""
        if not (self._active or self._waiting):
            return None
        self._forget_closed()
        if not self._active and self._waiting and not run.running:
            layer = self._next_layer()
            if run.has_unopened_source(below=layer):
                return None
            self._active = [
                node for node in self._waiting if node.definition.source_layer == layer
            ]
            self._waiting = [
                node for node in self._waiting if node.definition.source_layer != layer
            ]
        throttle = run.throttle
        able = [
            node
            for node in self._active
            if not node.is_busy
            and (self.are_stopped or not throttle.holds(-1 - node.definition.index))
        ]
        return min(able, key=_order, default=None)

    def _next_layer(self) -> int:
        return min(node.definition.source_layer for node in self._waiting)

    def _forget_closed(self) -> None:
        self._active = [node for node in self._active if node.is_active]
        self._waiting = [node for node in self._waiting if node.is_active]


def _order(node: NodeRun) -> tuple[int, int]:
    bound = min((stream.bound for stream in node.outputs), default=MAX)
    return min(bound, MAX), node.definition.index
