"""Packets and bounds on their way from a producer to its consumers: checked, queued, and
noted at the nodes that may have become ready (MediaPipe, output_stream_manager.cc,
input_stream_manager.cc).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

from ovms_mp.calculator.context import EMPTY
from ovms_mp.core.timestamp import (
    DONE,
    MAX,
    MIN,
    POSTSTREAM,
    PRESTREAM,
    UNSET,
    Timestamp,
    is_allowed_in_stream,
    next_allowed,
    previous_allowed,
)
from ovms_mp.graph.stream import (
    BoundMismatch,
    ClosedStream,
    IllegalTimestamp,
    NotAlone,
    TimestampMismatch,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ovms_mp.calculator.context import Context
    from ovms_mp.graph.node import NodeRun
    from ovms_mp.graph.stream import InputStream, QueuedPacket, Stream, Tap
    from ovms_mp.graph.throttle import Throttle

Produced: TypeAlias = tuple[int, Timestamp, Any]
"""What left the graph: (tap, timestamp, payload); with payload EMPTY it says that the
tap is settled at the timestamp."""

Emission: TypeAlias = tuple[int, Timestamp, Any]
"""What a call did to its outputs: (slot, timestamp, payload); see Context.emissions."""


# Of nodes that are examined while another is: a chain of any length must not become a
# recursion of that depth. Beyond it they see together what came together.
_MAX_DEPTH: Final = 50


class Flow:
    """The moving parts of a run's streams."""

    __slots__ = (
        "_depth",
        "_look",
        "_throttle",
        "dirty",
        "is_ordered",
        "produced",
    )

    def __init__(self, throttle: Throttle, look: Callable[[NodeRun], object]) -> None:
        """`look` has a node do what it can."""
        self._throttle = throttle
        self._look = look
        self._depth = 0
        self.is_ordered = False
        """Some policy takes what comes, so that a node must see one thing after the
        other, as in MediaPipe: each is examined at once, and what follows from it."""
        self.dirty: list[NodeRun] = []
        """Nodes to be examined: something that their policies can see has changed."""
        self.produced: list[Produced] = []

    def mark(self, node: NodeRun) -> None:
        """Have the node examined. While it is in its only call it cannot take more, and
        is examined after that.
        """
        if node.is_dirty or (node.is_busy and node.is_serial):
            return
        if self.is_ordered and self._depth < _MAX_DEPTH:
            self._depth += 1
            self._look(node)
            self._depth -= 1
        else:
            node.is_dirty = True
            self.dirty.append(node)

    def settle(self) -> None:
        """Look at all nodes that are marked."""
        # A worklist, not recursion: bounds run down chains of any length.
        dirty = self.dirty
        while dirty:
            node = dirty.pop()
            node.is_dirty = False
            self._look(node)

    def emit(  # noqa: C901, PLR0912  # every packet passes here: calls would cost most
        self, streams: Sequence[Stream], emissions: Sequence[Emission]
    ) -> None:
        """What a call sent goes to the consumers, in the order of sending."""
        for slot, timestamp, payload in emissions:
            stream = streams[slot]
            if payload is EMPTY:
                if timestamp < stream.bound != DONE:
                    _check_promise(stream, slot, timestamp, emissions)
                self.promise(stream, timestamp)
                continue
            if stream.bound == DONE:
                raise ClosedStream(stream.name)
            if MIN <= timestamp < MAX:
                bound = timestamp + 1
            elif is_allowed_in_stream(timestamp):
                bound = next_allowed(timestamp)
            else:
                raise IllegalTimestamp(stream.name, timestamp)
            stream.bound = bound
            packet = (timestamp, payload)
            for queue in stream.consumers:
                if queue.is_closed:
                    continue
                if timestamp < queue.bound or timestamp == POSTSTREAM:
                    _check_packet(stream, queue, timestamp)
                queue.bound = bound
                queue.was_fed = True
                packets = queue.packets
                packets.append(packet)
                size = len(packets)
                if size <= 1 and not queue.node.is_dirty:  # 0: a policy dropped it
                    if self.is_ordered:
                        self.mark(queue.node)
                    else:
                        queue.node.is_dirty = True
                        self.dirty.append(queue.node)
                if size == queue.max_size:
                    self._throttle.fill(queue)
            if stream.taps:
                self.deliver(stream, timestamp, payload, bound)

    def pass_by(self, stream: Stream, bound: Timestamp) -> None:
        """No packet goes on; consumers know it at once."""
        stream.bound = bound
        for queue in stream.consumers:
            queue.bound = bound
        if stream.taps:
            self._raise_taps(stream, bound)

    def flush(self, context: Context) -> None:
        """What a call has sent so far leaves; the call goes on."""
        node: NodeRun = context.node  # pyright: ignore[reportAssignmentType]
        emissions, context.emissions = context.emissions, []
        for slot, stream in enumerate(node.outputs):
            self.propagate(stream, slot, emissions, UNSET)
        self.settle()

    def propagate(
        self,
        stream: Stream,
        slot: int,
        emissions: Sequence[Emission],
        bound: Timestamp,
    ) -> None:
        """Of what a call sent, that of one stream, and the bound that its offset gives:
        each consumer gets all packets at once, then the bound, before the next one gets
        any (OutputStreamManager::PropagateUpdatesToMirrors).
        """
        packets, bound = _sent(stream, slot, emissions, bound)
        stream.bound = max(stream.bound, bound)
        for queue in stream.consumers:
            if packets and not queue.is_closed:
                self._add(stream, queue, packets)
            if bound > queue.bound:
                self._raise(queue, bound)
        if stream.taps:
            for timestamp, payload in packets:
                self.deliver(stream, timestamp, payload, next_allowed(timestamp))
            self._raise_taps(stream, bound)

    def _add(
        self, stream: Stream, queue: InputStream, packets: Sequence[QueuedPacket]
    ) -> None:
        for timestamp, _ in packets:
            if timestamp < queue.bound or timestamp == POSTSTREAM:
                _check_packet(stream, queue, timestamp)
            is_usual = MIN <= timestamp < MAX
            queue.bound = timestamp + 1 if is_usual else next_allowed(timestamp)
            queue.was_fed = True
        waiting = queue.packets
        was_empty = not waiting
        waiting.extend(packets)
        if was_empty:
            self.mark(queue.node)
        if 0 <= queue.max_size <= len(waiting):
            self._throttle.fill(queue)

    def deliver(
        self, stream: Stream, timestamp: Timestamp, payload: Any, bound: Timestamp
    ) -> None:
        """A packet leaves the run, if anybody listens."""
        for tap in stream.taps:
            if timestamp < tap.bound:
                raise TimestampMismatch(stream.name, tap.bound, timestamp)
            if timestamp == POSTSTREAM and tap.was_fed:
                raise NotAlone(stream.name)
            tap.bound = bound
            tap.settled = timestamp
            tap.was_fed = True
            self.produced.append((tap.output, timestamp, payload))
            if tap.wants_bounds and timestamp == PRESTREAM:
                # Such a packet is the only one of its stream: the rest is settled.
                self._settle(tap, bound)

    def promise(self, stream: Stream, bound: Timestamp) -> None:
        """Nothing before `bound` follows on the stream; a lower bound says nothing."""
        if bound <= stream.bound:
            return
        stream.bound = bound
        for queue in stream.consumers:
            if bound > queue.bound:
                self._raise(queue, bound)
        if stream.taps:
            self._raise_taps(stream, bound)

    def _raise(self, queue: InputStream, bound: Timestamp) -> None:
        queue.bound = bound
        # Behind a packet a bound changes nothing that a policy could see.
        if not queue.packets:
            self.mark(queue.node)

    def _raise_taps(self, stream: Stream, bound: Timestamp) -> None:
        for tap in stream.taps:
            if bound > tap.bound:
                tap.bound = bound
                if tap.wants_bounds and (bound < DONE or tap.wants_end):
                    self._settle(tap, bound)

    def _settle(self, tap: Tap, bound: Timestamp) -> None:
        # As an observer of MediaPipe's hears it (graph_output_stream.cc).
        settled = POSTSTREAM if bound == POSTSTREAM else previous_allowed(bound)
        if settled > tap.settled:
            tap.settled = settled
            self.produced.append((tap.output, settled, EMPTY))


def _sent(
    stream: Stream, slot: int, emissions: Sequence[Emission], bound: Timestamp
) -> tuple[list[QueuedPacket], Timestamp]:
    """The packets of one stream, which knows of them, and the bound with its promises."""
    packets: list[QueuedPacket] = []
    for number, timestamp, payload in emissions:
        if number != slot:
            continue
        if payload is EMPTY:
            if timestamp < stream.bound != DONE:
                _check_promise(stream, slot, timestamp, emissions)
            bound = max(bound, timestamp)
            continue
        if stream.bound == DONE:
            raise ClosedStream(stream.name)
        if MIN <= timestamp < MAX:
            stream.bound = timestamp + 1
        elif is_allowed_in_stream(timestamp):
            stream.bound = next_allowed(timestamp)
        else:
            raise IllegalTimestamp(stream.name, timestamp)
        packets.append((timestamp, payload))
    return packets, bound


def _check_packet(stream: Stream, queue: InputStream, timestamp: Timestamp) -> None:
    if queue.is_timed:
        if timestamp < queue.bound:
            raise TimestampMismatch(stream.name, queue.bound, timestamp)
        if timestamp == POSTSTREAM and queue.was_fed:
            raise NotAlone(stream.name)


def _check_promise(
    stream: Stream, slot: int, bound: Timestamp, emissions: Sequence[Emission]
) -> None:
    # What the same call has sent on the stream outdoes the promise silently.
    if any(each[0] == slot and each[2] is not EMPTY for each in emissions):
        return
    # Consumers take offence, not the stream (input_stream_manager.cc): without one that
    # is open the promise says nothing.
    for queue in stream.consumers:
        if bound < queue.bound and queue.is_timed and not queue.is_closed:
            raise BoundMismatch(stream.name, queue.bound, bound)
    for tap in stream.taps:
        if bound < tap.bound:
            raise BoundMismatch(stream.name, tap.bound, bound)
