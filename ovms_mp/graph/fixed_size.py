"""FixedSizeInputStreamHandler: old packets make room for new ones, so that a slow node
works on what is recent (MediaPipe, fixed_size_input_stream_handler.cc).
"""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import TYPE_CHECKING, Any

from ovms_mp.core.timestamp import (
    DONE,
    MAX,
    UNSET,
    is_range_value,
    next_allowed,
)
from ovms_mp.graph.policy import SettledPolicy, SynchronisedPolicy, pop_at

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from ovms_mp.core.timestamp import Timestamp
    from ovms_mp.graph.stream import InputStream, QueuedPacket


class _TrimmedQueue(deque[Any]):
    """A queue that is trimmed whenever packets come: what is kept depends on when."""

    def __init__(self, trim: Callable[[], object]) -> None:
        super().__init__()
        self._trim = trim

    def append(self, x: QueuedPacket, /) -> None:
        """Add a packet, then let the policy drop old ones."""
        super().append(x)
        self._trim()

    def extend(self, iterable: Iterable[QueuedPacket], /) -> None:
        """Add packets that were sent together, then let the policy drop old ones."""
        super().extend(iterable)
        self._trim()


class FixedSizePolicy:
    """A queue that reaches `trigger` packets is cut to the newest `target`, and the
    others to the same time; with `is_minimum` only when all queues have reached it.
    """

    is_eager = True

    __slots__ = (
        "_inner",
        "_inputs",
        "_is_minimum",
        "_kept",
        "_target",
        "_trigger",
        "bound",
        "is_over",
        "timestamp",
    )

    def __init__(
        self,
        inputs: Sequence[InputStream],
        *,
        trigger: int = 2,
        target: int = 1,
        is_minimum: bool = False,
        processes_bounds: bool = False,
    ) -> None:
        self._inputs = inputs
        self._trigger = trigger
        self._target = target
        self._is_minimum = is_minimum
        self._kept: Timestamp = UNSET
        inner = SettledPolicy if processes_bounds else SynchronisedPolicy
        self._inner = inner(inputs)
        self.timestamp: Timestamp = UNSET
        self.bound: Timestamp = UNSET
        self.is_over = False
        for queue in inputs:
            queue.packets = _TrimmedQueue(self._trim)

    def take(self) -> list[Any] | None:
        """See InputPolicy."""
        self._trim()
        if not self._is_ready():
            taken = self._inner.take()
            self.timestamp = self._inner.timestamp
            self.bound = self._inner.bound
            self.is_over = self._inner.is_over
            return taken
        # The newest packets that all inputs are settled for, not the oldest.
        self._trim(keep_one=True)
        self.timestamp = timestamp = self._time_to_process()
        inputs: list[Any] = []
        for queue in self._inputs:
            queue_discard(queue, timestamp)
            inputs.append(pop_at(queue, timestamp))
        return inputs

    def _is_ready(self) -> bool:
        """True if the default policy would process a packet now."""
        packet = bound = DONE
        for queue in self._inputs:
            if queue.packets:
                packet = min(packet, queue.packets[0][0])
            else:
                bound = min(bound, queue.bound)
        return bound > packet

    def _trim(self, *, keep_one: bool = False) -> None:
        if self._is_minimum:
            self._trim_all()
        else:
            self._trim_any(keep_one=keep_one)

    def _trim_all(self) -> None:
        oldest: Timestamp = MAX
        for queue in self._inputs:
            if len(queue.packets) < self._trigger:
                return
            oldest = min(oldest, _among_latest(queue, self._target))
        for queue in self._inputs:
            queue_discard(queue, oldest)

    def _trim_any(self, *, keep_one: bool) -> None:
        for queue in self._inputs:
            size = len(queue.packets)
            room = self._target if size >= self._trigger else self._trigger - 1
            if size > room:
                dropped = _among_latest(queue, room + 1)
                self._kept = max(self._kept, next_allowed(dropped))
        if keep_one:
            # One timestamp stays that the least advanced input is settled for.
            self._kept = min(self._kept, _before(self._least_bound()))
        for queue in self._inputs:
            queue_discard(queue, self._kept)

    def _least_bound(self) -> Timestamp:
        bound: Timestamp = DONE
        for queue in self._inputs:
            packets = queue.packets
            bound = min(bound, next_allowed(packets[-1][0]) if packets else queue.bound)
        return bound

    def _time_to_process(self) -> Timestamp:
        return min(
            queue.packets[0][0] if queue.packets else _before(queue.bound)
            for queue in self._inputs
        )


def queue_discard(queue: InputStream, timestamp: Timestamp) -> None:
    """Drop the packets before `timestamp` (ErasePacketsEarlierThan)."""
    packets = queue.packets
    while packets and packets[0][0] < timestamp:
        packets.popleft()


def _among_latest(queue: InputStream, count: int) -> Timestamp:
    """The timestamp of the oldest of the newest `count` packets."""
    packets = queue.packets
    if not packets:
        return UNSET
    at = max(0, len(packets) - count)
    return next(islice(packets, at, None), packets[-1])[0]


def _before(bound: Timestamp) -> Timestamp:
    return bound - 1 if is_range_value(bound) else bound
