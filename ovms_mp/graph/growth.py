"""Full queues may grow while nothing runs and they hold back, from an input or a source,
what everything waits for: MediaPipe's way out of that deadlock, but bounded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ovms_mp.graph import failures

if TYPE_CHECKING:
    from ovms_mp.core.errors import ServingError
    from ovms_mp.graph.definition import GraphDefinition
    from ovms_mp.graph.scheduler import Scheduler

# MediaPipe lets a queue grow for ever; here a client could fill the memory that way.
MAX_QUEUE_GROWTH: Final = 10
"""Times the queue may grow when a graph waits for one input while another is full."""


class Growth:
    """Of the queues of one run."""

    __slots__ = ("_is_reported", "_left")

    def __init__(self, definition: GraphDefinition) -> None:
        self._left = definition.max_queue_size * (MAX_QUEUE_GROWTH - 1)
        self._is_reported = definition.report_deadlock

    def make_room(self, scheduler: Scheduler) -> ServingError | bool:
        """True if queues have grown; an error if they should have and must not."""
        throttle = scheduler.throttle
        if not (scheduler.is_idle and scheduler.is_held_back):
            return False
        is_exhausted = self._left <= 0
        if is_exhausted and scheduler.open_inputs and not throttle.holds_inputs:
            # Sources wait, as they should, for a packet that may come from outside.
            return False
        if self._is_reported or is_exhausted:
            queue = throttle.full[0]
            return failures.failed("UNAVAILABLE", failures.throttled(queue))
        self._left -= 1
        throttle.grow()
        return True
