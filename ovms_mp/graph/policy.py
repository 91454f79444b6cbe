"""When a node may run, and with which packets: input policies, pure.

They are MediaPipe's input stream handlers (framework/stream_handler/): here the default
one, in the shapes that it takes; the others build on `SyncSet`.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final, Protocol

from ovms_mp.calculator.context import EMPTY
from ovms_mp.core.timestamp import (
    DONE,
    MAX,
    ONE_OVER_POSTSTREAM,
    POSTSTREAM,
    UNSET,
    UNSTARTED,
    previous_allowed,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ovms_mp.core.timestamp import Timestamp
    from ovms_mp.graph.stream import InputStream

NOT_READY: Final = 0
READY_FOR_PROCESS: Final = 1
READY_FOR_CLOSE: Final = 2


class InputPolicy(Protocol):
    """Decides for one node of one run."""

    @property
    def is_eager(self) -> bool:
        """True if it matters to the policy in which order inputs change that change at
        the same time; one that waits for all of them does not care.
        """
        ...

    timestamp: Timestamp
    """Of the packets that `take` has returned."""

    bound: Timestamp
    """After a `take` in vain: no input has a packet before this."""

    is_over: bool
    """After a `take` in vain: no packets will ever come, the node is to be closed."""

    def take(self) -> list[Any] | None:
        """The payload of each input for the next call, EMPTY where there is none, taken
        off the queues; None when the node cannot run. Raises StreamError.
        """
        ...


def pop_at(queue: InputStream, timestamp: Timestamp) -> Any:
    """The payload at `timestamp`, taken off the queue, or EMPTY."""
    packets = queue.packets
    if packets and packets[0][0] == timestamp:
        return packets.popleft()[1]
    return EMPTY


class OneInputPolicy:
    """DefaultInputStreamHandler of a node with one input: what comes is processed."""

    is_eager = False

    __slots__ = ("_queue", "bound", "is_over", "timestamp")

    def __init__(self, inputs: Sequence[InputStream]) -> None:
        (self._queue,) = inputs
        self.timestamp: Timestamp = UNSET
        self.bound: Timestamp = UNSET
        self.is_over = False

    def take(self) -> list[Any] | None:
        """See InputPolicy."""
        queue = self._queue
        if queue.packets:
            self.timestamp, payload = queue.packets.popleft()
            return [payload]
        self.bound = queue.bound
        self.is_over = queue.bound >= ONE_OVER_POSTSTREAM
        return None


class SynchronisedPolicy:
    """DefaultInputStreamHandler: a timestamp is processed when every input is settled
    at it, with all packets of exactly that timestamp.
    """

    is_eager = False

    __slots__ = ("_inputs", "bound", "is_over", "timestamp")

    def __init__(self, inputs: Sequence[InputStream]) -> None:
        self._inputs = inputs
        self.timestamp: Timestamp = UNSET
        self.bound: Timestamp = UNSET
        self.is_over = False

    def take(self) -> list[Any] | None:
        """See InputPolicy."""
        packet: Timestamp = DONE
        bound: Timestamp = DONE
        for queue in self._inputs:
            packets = queue.packets
            if packets:
                timestamp = packets[0][0]
                if timestamp < packet:  # noqa: PLR1730  # a call of min costs more
                    packet = timestamp
            elif queue.bound < bound:
                bound = queue.bound
        if bound > packet:
            self.timestamp = packet
            return [pop_at(queue, packet) for queue in self._inputs]
        # A bound of ONE_OVER_POSTSTREAM says as much as DONE: no packet can follow.
        self.is_over = bound >= ONE_OVER_POSTSTREAM
        self.bound = bound
        return None


class SyncSet:
    """Inputs that share a timeline (InputStreamHandler::SyncSet)."""

    __slots__ = ("inputs", "last_processed", "processes_bounds", "timestamp")

    def __init__(
        self, inputs: Sequence[InputStream], *, processes_bounds: bool
    ) -> None:
        self.inputs = inputs
        self.processes_bounds = processes_bounds
        self.last_processed: Timestamp = UNSET
        self.timestamp: Timestamp = UNSET
        """What `readiness` spoke of: the time to process, or the bound."""

    def readiness(self) -> int:
        """Whether the set can be processed at `timestamp`; the caller then does it."""
        packet: Timestamp = DONE
        bound: Timestamp = DONE
        for queue in self.inputs:
            if queue.packets:
                packet = min(packet, queue.packets[0][0])
            elif queue.bound < bound:
                bound = queue.bound
        self.timestamp = min(packet, bound)
        if self.timestamp >= ONE_OVER_POSTSTREAM:
            self.timestamp = DONE
            self.last_processed = MAX
            return READY_FOR_CLOSE
        if not self.processes_bounds:
            if bound > packet:
                self.last_processed = packet
                return READY_FOR_PROCESS
            return NOT_READY
        # POSTSTREAM has no predecessor among the timestamps that a bound can name.
        is_last = packet == POSTSTREAM and bound > packet
        settled = min(packet, packet if is_last else previous_allowed(bound))
        if settled > max(self.last_processed, UNSTARTED):
            self.timestamp = self.last_processed = settled
            return READY_FOR_PROCESS
        return NOT_READY


class SettledPolicy:
    """DefaultInputStreamHandler of a node that processes timestamp bounds: every
    timestamp that becomes settled is a call, with packets or without.
    """

    is_eager = True

    __slots__ = ("_set", "bound", "is_over", "timestamp")

    def __init__(self, inputs: Sequence[InputStream]) -> None:
        self._set = SyncSet(inputs, processes_bounds=True)
        self.timestamp: Timestamp = UNSET
        self.bound: Timestamp = UNSET
        self.is_over = False

    def take(self) -> list[Any] | None:
        """See InputPolicy."""
        readiness = self._set.readiness()
        if readiness == READY_FOR_PROCESS:
            self.timestamp = timestamp = self._set.timestamp
            return [pop_at(queue, timestamp) for queue in self._set.inputs]
        self.is_over = readiness == READY_FOR_CLOSE
        self.bound = self._set.timestamp
        return None


class BatchedPolicy:
    """DefaultInputStreamHandler with a `batch_size`: sets of packets are held back until
    there are so many, or no more come; the bound stays at the first of them meanwhile.
    The calls of a batch follow each other without any of another node between them.
    """

    __slots__ = (
        "_batch",
        "_inner",
        "_is_flushed",
        "_ready",
        "_size",
        "bound",
        "is_eager",
        "is_over",
        "is_within",
        "timestamp",
    )

    def __init__(self, inner: InputPolicy, size: int) -> None:
        self.is_eager = inner.is_eager
        self.is_within = False
        """What comes follows another call of its batch: a close as well, if it was the
        end of the inputs that ended the batch."""
        self._is_flushed = False
        self._inner = inner
        self._size = size
        self._batch: list[tuple[Timestamp, list[Any]]] = []
        self._ready: deque[tuple[Timestamp, list[Any]]] = deque()
        self.timestamp: Timestamp = UNSET
        self.bound: Timestamp = UNSET
        self.is_over = False

    def take(self) -> list[Any] | None:
        """See InputPolicy."""
        inner, batch = self._inner, self._batch
        self.is_within = bool(self._ready) or self._is_flushed
        while not self._ready:
            inputs = inner.take()
            if inputs is not None:
                batch.append((inner.timestamp, inputs))
                if len(batch) < self._size:
                    continue
            elif not (inner.is_over and batch):
                self.is_over = inner.is_over
                self.bound = batch[0][0] if batch else inner.bound
                return None
            else:
                self._is_flushed = True
            self._ready.extend(batch)
            batch.clear()
        self.timestamp, inputs = self._ready.popleft()
        return inputs
