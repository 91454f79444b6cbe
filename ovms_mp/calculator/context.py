"""What open, process and close may do: read packets, send packets, wait, stop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from ovms_mp.core.timestamp import DONE, previous_allowed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ovms_mp.calculator.ports import InputPort, OutputPort, SidePort
    from ovms_mp.core.errors import ServingError
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


class Host(Protocol):
    """The node of a run, as its contexts see it."""

    side_inputs: Sequence[Any]
    is_patient: bool
    """Of the run: what cannot be had at once is waited for."""

    def input_bound(self, slot: int) -> Timestamp:
        """The timestamp of an input's next packet, or its bound."""
        ...

    def next_bound(self, slot: int) -> Timestamp:
        """The earliest timestamp that an output may still send."""
        ...

    def set_side(self, slot: int, value: Any) -> None:
        """Set an output side packet. Raises ValueError when it is set already."""
        ...


class Context:
    """One call of open, process or close.

    Valid during the call, and after `wait` until its continuation has returned: a node
    that takes one call at a time has one context for all of them. Used by one thread at
    a time: the one that runs the graph.
    """

    __slots__ = (
        "bounds",
        "continuation",
        "emissions",
        "error",
        "inputs",
        "is_finished",
        "is_partial",
        "is_stopped",
        "node",
        "pending",
        "timestamp",
    )

    def __init__(self, node: Host, timestamp: Timestamp, inputs: Sequence[Any]) -> None:
        self.node = node
        self.timestamp = timestamp
        """Of the input packets; UNSTARTED in open, DONE in close, 0 in the process of a
        source."""
        self.inputs = inputs
        """The payload of each input, EMPTY where there is none."""
        self.bounds: Sequence[Timestamp] | None = None
        """How far each input was when the call was decided on, where that matters: the
        timestamp of its next packet, or its bound."""
        self.emissions: list[tuple[int, Timestamp, Any]] = []
        """What the call sent: (slot of the output, timestamp, payload), or with payload
        EMPTY a promise that nothing before the timestamp follows."""
        self.error: ServingError | None = None
        """In close: why the run ends; None when it ends well (GraphStatus)."""
        self.is_stopped = False
        self.is_finished = False
        self.is_partial = False
        self.pending: Pending[Any] | None = None
        self.continuation: Callable[[Any], object] | None = None

    def __getitem__(self, port: InputPort[T]) -> T:
        """The payload at this timestamp. Raises LookupError when there is none."""
        payload = self.inputs[port.slot]
        if payload is EMPTY:
            msg = f'input stream "{port.label}" has no packet at this timestamp'
            raise LookupError(msg)
        return payload

    def get(self, port: InputPort[T], default: T | None = None) -> T | None:
        """The payload at this timestamp, or `default` when there is none."""
        payload = self.inputs[port.slot]
        return default if payload is EMPTY else payload

    def has(self, port: InputPort[Any]) -> bool:
        """True if the stream has a packet at this timestamp."""
        return self.inputs[port.slot] is not EMPTY

    def send(
        self, port: OutputPort[T], payload: T, at: Timestamp | None = None
    ) -> None:
        """Send a packet, at the inputs' timestamp unless told otherwise.

        It leaves when the call returns; a timestamp that does not increase on its
        stream fails the node then.
        """
        self.emissions.append(
            (port.slot, self.timestamp if at is None else at, payload)
        )

    def set_next_bound(self, port: OutputPort[Any], timestamp: Timestamp) -> None:
        """Promise that no packet before `timestamp` follows (SetNextTimestampBound).

        A promise that takes an earlier one back fails the node.
        """
        self._promise(port.slot, timestamp)

    def close(self, port: OutputPort[Any]) -> None:
        """End an output stream before the node ends."""
        self._promise(port.slot, DONE)

    def _promise(self, slot: int, bound: Timestamp) -> None:
        emissions = self.emissions
        if emissions and emissions[-1][0] == slot and emissions[-1][2] is EMPTY:
            # Nobody sees but the last bound of a call.
            bound = max(bound, emissions.pop()[1])
        emissions.append((slot, bound, EMPTY))

    def settled(self, port: InputPort[Any]) -> Timestamp:
        """The timestamp of the input's packet; without one, the timestamp up to which
        no packet will come any more, which is that of MediaPipe's empty packet.
        """
        if self.inputs[port.slot] is not EMPTY:
            return self.timestamp
        return previous_allowed(self._bound(port.slot))

    def is_done(self, port: InputPort[Any]) -> bool:
        """True if nothing waits on the input and nothing will come (IsDone)."""
        return self._bound(port.slot) == DONE

    def _bound(self, slot: int) -> Timestamp:
        if self.bounds is None:
            return self.node.input_bound(slot)
        return self.bounds[slot]

    def next_bound(self, port: OutputPort[Any]) -> Timestamp:
        """The earliest timestamp that may still be sent (NextTimestampBound), by what
        was sent before this call.
        """
        return self.node.next_bound(port.slot)

    @property
    def is_patient(self) -> bool:
        """True in a run that waits for what cannot be had at once, as a stream's does:
        its client is not read meanwhile. Others are to hear that there is no room.
        """
        return self.node.is_patient

    def side(self, port: SidePort[T]) -> T:
        """The value of an input side packet. Raises LookupError if it has none."""
        value = self.node.side_inputs[port.slot]
        if value is EMPTY:
            msg = f'input side packet "{port.label}" is not set'
            raise LookupError(msg)
        return value

    def has_side(self, port: SidePort[Any]) -> bool:
        """True if the input side packet has a value; an optional one may have none."""
        return self.node.side_inputs[port.slot] is not EMPTY

    def set_side(self, port: SidePort[T], value: T) -> None:
        """Set an output side packet; once per run. Raises ValueError the second time."""
        try:
            self.node.set_side(port.slot, value)
        except ValueError as error:
            msg = f'output side packet "{port.label}" {error}'
            raise ValueError(msg) from None

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

    def flush(self) -> None:
        """What was sent so far leaves when the call returns to `wait`, instead of when
        it is over, and without waiting for earlier calls in flight.

        Such a call goes on in a turn of its own, and not before the outputs of the run
        can take more: a call may flush and wait any number of times.
        """
        self.is_partial = True

    def stop(self) -> None:
        """End without an error after this call (StatusStop): a source ends itself; any
        other node ends the sources of the graph and goes on with what is in it.
        """
        self.is_stopped = True
