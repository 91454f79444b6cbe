"""When a node may run, and with which packets: input policies, pure.

They are MediaPipe's input stream handlers (framework/stream_handler/).
"""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING, Any, Final, Protocol

from ovms_mp.calculator.context import EMPTY
from ovms_mp.core.timestamp import DONE, ONE_OVER_POSTSTREAM

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ovms_mp.core.timestamp import Timestamp
    from ovms_mp.graph.stream import InputStream


class Readiness(Enum):
    """What a node can do now; the timestamp beside it says at which time."""

    NOT_READY = auto()
    READY_FOR_PROCESS = auto()
    READY_FOR_CLOSE = auto()


class InputPolicy(Protocol):
    """Decides for one node of one run."""

    @property
    def is_synchronised(self) -> bool:
        """True if all inputs share one timeline, so that an offset can carry bounds."""
        ...

    def readiness(self) -> tuple[Readiness, Timestamp]:
        """READY_FOR_PROCESS at the timestamp to process; NOT_READY with the bound
        before which all inputs are settled; READY_FOR_CLOSE with DONE.

        After READY_FOR_PROCESS the caller calls `take` before it asks again.
        """
        ...

    def take(self, timestamp: Timestamp) -> list[Any]:
        """The payload of each input for this call, EMPTY where there is none."""
        ...


class SynchronisedPolicy:
    """DefaultInputStreamHandler: a timestamp is processed when every input is settled
    at it, with all packets of exactly that timestamp.
    """

    __slots__ = ("_inputs",)

    is_synchronised = True

    def __init__(self, inputs: Sequence[InputStream]) -> None:
        self._inputs = inputs

    def readiness(self) -> tuple[Readiness, Timestamp]:
        """See InputPolicy."""
        packet: Timestamp = DONE
        bound: Timestamp = DONE
        for stream in self._inputs:
            if stream.packets:
                packet = min(packet, stream.packets[0].timestamp)
            elif stream.bound < bound:
                bound = stream.bound
        if bound > packet:
            return Readiness.READY_FOR_PROCESS, packet
        # Without a packet before it, a bound of ONE_OVER_POSTSTREAM means as much as
        # DONE: no packet can follow.
        if bound >= ONE_OVER_POSTSTREAM:
            return Readiness.READY_FOR_CLOSE, DONE
        return Readiness.NOT_READY, bound

    def take(self, timestamp: Timestamp) -> list[Any]:
        """See InputPolicy."""
        return [stream.take(timestamp) for stream in self._inputs]


class ImmediatePolicy:
    """ImmediateInputStreamHandler: every input is a timeline of its own, and a packet is
    processed as soon as it comes; packets of equal timestamps that wait together are
    processed together.

    An input that ends while others go on causes one call without packets, at the
    smallest bound: MediaPipe keeps that for old calculators, and so do we.
    """

    __slots__ = ("_ended", "_inputs")

    is_synchronised = False

    def __init__(self, inputs: Sequence[InputStream]) -> None:
        self._inputs = inputs
        self._ended = [False] * len(inputs)

    def readiness(self) -> tuple[Readiness, Timestamp]:
        """See InputPolicy."""
        packet: Timestamp = DONE
        bound: Timestamp = DONE
        has_newly_ended = False
        for number, stream in enumerate(self._inputs):
            if stream.packets:
                packet = min(packet, stream.packets[0].timestamp)
            elif stream.bound < ONE_OVER_POSTSTREAM:
                bound = min(bound, stream.bound)
            elif not self._ended[number]:
                self._ended[number] = has_newly_ended = True
        if packet < DONE:
            return Readiness.READY_FOR_PROCESS, packet
        if bound == DONE:
            return Readiness.READY_FOR_CLOSE, DONE
        if has_newly_ended:
            return Readiness.READY_FOR_PROCESS, bound
        return Readiness.NOT_READY, bound

    def take(self, timestamp: Timestamp) -> list[Any]:
        """See InputPolicy."""
        return [
            stream.take(timestamp) if stream.packets else EMPTY
            for stream in self._inputs
        ]


POLICIES: Final[dict[str, Callable[[Sequence[InputStream]], InputPolicy]]] = {
    "": SynchronisedPolicy,
    "DefaultInputStreamHandler": SynchronisedPolicy,
    "ImmediateInputStreamHandler": ImmediatePolicy,
}
"""By the name that a pbtxt uses."""

KNOWN_HANDLERS: Final = frozenset(
    {
        "BarrierInputStreamHandler",
        "EarlyCloseInputStreamHandler",
        "FixedSizeInputStreamHandler",
        "MuxInputStreamHandler",
        "SyncSetInputStreamHandler",
        "TimestampAlignInputStreamHandler",
    }
)
"""Handlers of MediaPipe that are not here yet: refused when a graph is loaded."""
