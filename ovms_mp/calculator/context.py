"""What open, process and close may do: read packets, send packets, wait, stop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from ovms_mp.core.timestamp import DONE

if TYPE_CHECKING:
    from collections.abc import Callable, MutableSequence, Sequence

    from ovms_mp.calculator.ports import InputPort, OutputPort, SidePort
    from ovms_mp.core.pending import Pending
    from ovms_mp.core.timestamp import Timestamp

T = TypeVar("T")


class _Empty:
    """The type of EMPTY."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "EMPTY"

    def __bool__(self) -> bool:
        return False


EMPTY: Final[Any] = _Empty()
"""No packet: an input that has none at this timestamp, a side packet not yet set."""


class Emission(NamedTuple):
    """Something a calculator did to an output stream: a packet, or with payload EMPTY a
    promise that nothing before `timestamp` follows.
    """

    slot: int
    timestamp: Timestamp
    payload: Any


class Context:
    """One call of open, process or close.

    Valid during the call, and after `wait` until its continuation has returned. Used by
    one thread at a time: the one that runs the graph.
    """

    __slots__ = (
        "_inputs",
        "_side_inputs",
        "_side_outputs",
        "continuation",
        "emissions",
        "is_stopped",
        "pending",
        "timestamp",
    )

    def __init__(
        self,
        timestamp: Timestamp,
        inputs: Sequence[Any],
        side_inputs: Sequence[Any],
        side_outputs: MutableSequence[Any],
    ) -> None:
        self.timestamp = timestamp
        """Of the input packets; UNSTARTED in open, DONE in close."""
        self.emissions: list[Emission] = []
        self.is_stopped = False
        self.pending: Pending[Any] | None = None
        self.continuation: Callable[[Any], object] | None = None
        self._inputs = inputs
        self._side_inputs = side_inputs
        self._side_outputs = side_outputs

    def __getitem__(self, port: InputPort[T]) -> T:
        """The payload at this timestamp. Raises LookupError when there is none."""
        payload = self._inputs[port.slot]
        if payload is EMPTY:
            msg = f'input stream "{port.label}" has no packet at this timestamp'
            raise LookupError(msg)
        return payload

    def get(self, port: InputPort[T], default: T | None = None) -> T | None:
        """The payload at this timestamp, or `default` when there is none."""
        payload = self._inputs[port.slot]
        return default if payload is EMPTY else payload

    def has(self, port: InputPort[Any]) -> bool:
        """True if the stream has a packet at this timestamp."""
        return self._inputs[port.slot] is not EMPTY

    def send(
        self, port: OutputPort[T], payload: T, at: Timestamp | None = None
    ) -> None:
        """Send a packet, at the inputs' timestamp unless told otherwise.

        It leaves when the call returns; a timestamp that does not increase on its
        stream fails the node then.
        """
        timestamp = self.timestamp if at is None else at
        self.emissions.append(Emission(port.slot, timestamp, payload))

    def set_next_bound(self, port: OutputPort[Any], timestamp: Timestamp) -> None:
        """Promise that no packet before `timestamp` follows (SetNextTimestampBound)."""
        self.emissions.append(Emission(port.slot, timestamp, EMPTY))

    def close(self, port: OutputPort[Any]) -> None:
        """End an output stream before the node ends."""
        self.emissions.append(Emission(port.slot, DONE, EMPTY))

    def side(self, port: SidePort[T]) -> T:
        """The value of an input side packet. Raises LookupError if it has none."""
        value = self._side_inputs[port.slot]
        if value is EMPTY:
            msg = f'input side packet "{port.label}" is not set'
            raise LookupError(msg)
        return value

    def set_side(self, port: SidePort[T], value: T) -> None:
        """Set an output side packet; once per run. Raises ValueError the second time."""
        if self._side_outputs[port.slot] is not EMPTY:
            msg = f'output side packet "{port.label}" is already set'
            raise ValueError(msg)
        self._side_outputs[port.slot] = value

    def wait(self, pending: Pending[T], then: Callable[[T], object]) -> None:
        """Go on with `then(value)` when `pending` is there; once per process call.

        The node takes further input meanwhile, up to its `max_in_flight`; what the
        calls send leaves in the order of the calls. An error of `pending` is an error
        of this call.
        """
        if self.pending is not None:
            msg = "this call waits already"
            raise RuntimeError(msg)
        self.pending, self.continuation = pending, then

    def stop(self) -> None:
        """End this node without an error after this call (MediaPipe's StatusStop)."""
        self.is_stopped = True
