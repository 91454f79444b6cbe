"""The two ends of a stream: what its producer may still send, and what waits at each of
its consumers. Bounds never go back (MediaPipe, framework/input_stream_manager.h).
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from ovms_mp.core.timestamp import (
    DONE,
    MAX,
    MIN,
    ONE_OVER_POSTSTREAM,
    POSTSTREAM,
    PRESTREAM,
    UNSTARTED,
    describe,
    next_allowed,
    previous_allowed,
)

if TYPE_CHECKING:
    from ovms_mp.core.timestamp import Timestamp

QueuedPacket: TypeAlias = tuple[int, Any]
"""(timestamp, payload). A plain tuple: one is made for every packet of every node."""

UNLIMITED: Final = -1


class StreamError(Exception):
    """What was sent does not fit its stream; the text is MediaPipe's."""


class TimestampMismatch(StreamError):
    """A packet came at a timestamp that its stream has already passed."""

    def __init__(self, stream: str, expected: Timestamp, received: Timestamp) -> None:
        super().__init__(
            "Packet timestamp mismatch on a calculator receiving from stream "
            f'"{stream}". Current minimum expected timestamp is {describe(expected)} '
            f"but received {describe(received)}."
        )


class BoundMismatch(StreamError):
    """A promise that takes an earlier one back."""

    def __init__(self, stream: str, expected: Timestamp, received: Timestamp) -> None:
        super().__init__(
            "SetNextTimestampBound must be called with a timestamp greater than or "
            f'equal to the current bound. In stream "{stream}". Current minimum '
            f"expected timestamp is {describe(expected)} but received "
            f"{describe(received)}."
        )


class IllegalTimestamp(StreamError):
    """A packet at a timestamp that no packet may have."""

    def __init__(self, stream: str, received: Timestamp) -> None:
        super().__init__(
            f'In stream "{stream}", timestamp not specified or set to illegal value: '
            f"{describe(received)}"
        )


class NotAlone(StreamError):
    """A packet at POSTSTREAM came after others."""

    def __init__(self, stream: str) -> None:
        super().__init__(
            f'In stream "{stream}", a packet at Timestamp::PostStream() must be the '
            "only Packet in an InputStream."
        )


class ClosedStream(StreamError):
    """A packet for a stream whose producer has closed it."""

    def __init__(self, stream: str) -> None:
        super().__init__(f'Packet sent to closed stream "{stream}".')


class InputStream:
    """The queue between one producer and one input of one node."""

    __slots__ = (
        "bound",
        "is_closed",
        "is_timed",
        "max_size",
        "name",
        "node",
        "packets",
        "sources",
        "was_fed",
    )

    node: Any
    """The NodeRun at the end of the queue: naming it would be a cycle."""

    def __init__(self, name: str, max_size: int, sources: tuple[int, ...]) -> None:
        self.name = name
        self.packets: deque[QueuedPacket] = deque()
        self.bound: Timestamp = PRESTREAM
        """No packet before this will come any more."""
        self.max_size = max_size
        """At this length the queue throttles `sources`; UNLIMITED does never."""
        self.sources = sources
        """Graph inputs and source nodes whose packets may end up here."""
        self.is_closed = False
        """The consumer has ended: packets are dropped."""
        self.is_timed = True
        """False where a policy takes packets in any order of timestamps."""
        self.was_fed = False

    def head_or_bound(self) -> Timestamp:
        """The timestamp of the first packet, or the bound if none waits."""
        return self.packets[0][0] if self.packets else self.bound

    def settled(self) -> Timestamp:
        """The timestamp of the empty packet that MediaPipe would show: no packet at or
        before it will be seen any more.
        """
        return previous_allowed(self.head_or_bound())

    def is_done(self) -> bool:
        """True if nothing waits and nothing will come."""
        return not self.packets and self.bound == DONE

    def is_full(self) -> bool:
        """True if the queue throttles its sources."""
        return 0 <= self.max_size <= len(self.packets)


class Tap:
    """A graph output, or an observed stream: its packets leave the run."""

    __slots__ = ("bound", "output", "settled", "wants_bounds", "wants_end", "was_fed")

    def __init__(
        self, output: int, *, wants_bounds: bool = False, wants_end: bool = False
    ) -> None:
        self.output = output
        self.wants_bounds = wants_bounds
        self.wants_end = wants_end
        """Among the bounds, that of a closed stream; MediaPipe's observers miss it."""
        self.bound: Timestamp = PRESTREAM
        self.settled: Timestamp = UNSTARTED
        """What was told last; never goes back."""
        self.was_fed = False


class Stream:
    """The producer's end, and who listens."""

    __slots__ = ("bound", "consumers", "name", "taps")

    def __init__(self, name: str) -> None:
        self.name = name
        self.bound: Timestamp = PRESTREAM
        """What the producer has promised so far (Outputs().NextTimestampBound())."""
        self.consumers: list[InputStream] = []
        self.taps: list[Tap] = []

    @property
    def is_closed(self) -> bool:
        """True if the producer sends no more."""
        return self.bound == DONE


def bound_after_special(timestamp: Timestamp, offset: int) -> Timestamp:
    """What a node with an offset has promised after a call at a timestamp that has no
    next one in the range.
    """
    if timestamp == PRESTREAM:
        return MIN
    if timestamp == POSTSTREAM:
        return ONE_OVER_POSTSTREAM
    return POSTSTREAM if offset >= 0 else next_allowed(MAX + offset)
