"""Which node may run next, and with which packets. Nothing here waits, locks, logs or
knows what a calculator computes.

A run is driven from outside: feed packets and bounds in, take calls out, hand them back
when they are done. All methods are called by one thread at a time. The semantics are
MediaPipe's (framework/scheduler.cc, calculator_node.cc, output_stream_manager.cc).
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any

from ovms_mp.calculator.context import EMPTY
from ovms_mp.core.timestamp import (
    DONE,
    MAX,
    MIN,
    UNSET,
    UNSTARTED,
    is_range_value,
    next_allowed,
)
from ovms_mp.graph.flow import Flow
from ovms_mp.graph.node import NodeEvent, NodeRun, NodeState
from ovms_mp.graph.sources import Sources
from ovms_mp.graph.stream import InputStream, Stream, Tap
from ovms_mp.graph.throttle import Throttle

if TYPE_CHECKING:
    from ovms_mp.calculator.context import Context
    from ovms_mp.core.packet import Packet
    from ovms_mp.core.timestamp import Timestamp
    from ovms_mp.graph.definition import GraphDefinition, NodeDefinition


class Scheduler:
    """The state of one graph run, and all transitions of it.

    What does not fit its stream raises StreamError; the run must then be abandoned.
    """

    __slots__ = (
        "_by_rank",
        "_ready",
        "_sources",
        "_unopened",
        "flow",
        "made",
        "nodes",
        "open_inputs",
        "running",
        "side_packets",
        "streams",
        "throttle",
    )

    def __init__(self, definition: GraphDefinition, *, bounds: bool = False) -> None:
        self.streams = [Stream(each.name) for each in definition.streams]
        self.throttle = Throttle()
        self.flow = Flow(self.throttle, self._look)
        self.nodes = [self._node_run(definition, each) for each in definition.nodes]
        self.flow.is_ordered = any(node.policy.is_eager for node in self.nodes)
        self._by_rank = self.nodes[::-1]
        for number, (_, stream) in enumerate(definition.outputs):
            tap = Tap(number, wants_bounds=bounds, wants_end=bounds)
            self.streams[stream].taps.append(tap)
        self.open_inputs = {number for _, number in definition.inputs}
        """Graph inputs that are not closed."""
        self._ready: list[int] = []
        self._unopened = list(self.nodes)
        self.made = {name for node in definition.nodes for name in node.side_outputs}
        """Side packets that a node of the graph makes, sooner or later."""
        self._sources = Sources()
        self.running = 0
        """Calls taken with `next` and not handed back."""
        self.side_packets: dict[str, Any] = {}

    def _node_run(self, definition: GraphDefinition, node: NodeDefinition) -> NodeRun:
        streams = self.streams
        queues: list[InputStream] = []
        for number, sources in zip(node.input_streams, node.sources, strict=True):
            stream = streams[number]
            queue = InputStream(stream.name, definition.max_queue_size, sources)
            stream.consumers.append(queue)
            queues.append(queue)
        outputs = [streams[number] for number in node.output_streams]
        rank = len(definition.nodes) - 1 - node.index
        return NodeRun(node, rank, queues, outputs)

    @property
    def is_idle(self) -> bool:
        """True if nothing can happen without new input."""
        return not (self.running or self.has_next)

    @property
    def has_next(self) -> bool:
        """True if there is a call to make now."""
        return bool(self._ready or self._sources.has_next(self))

    @property
    def is_at_rest(self) -> bool:
        """True if all nodes are open, nothing is on its way, and no queue is full."""
        flow = self.flow
        is_busy = self.running or self._ready or flow.dirty or flow.produced
        return not (is_busy or self._unopened or self.throttle.full)

    @property
    def is_held_back(self) -> bool:
        """True if full queues matter: a graph input waits for room, or some source that
        is not closed may.
        """
        return self.throttle.holds_inputs or self._sources.are_active()

    @property
    def is_over(self) -> bool:
        """True if nothing can happen any more: inputs closed, sources done, no call left.
        What is open still, in a cycle for one, is closed without a chance to send.
        """
        return not (
            self.open_inputs or self._ready or self.running or self._sources.are_left()
        )

    @property
    def is_stuck(self) -> bool:
        """True if sources wait for one of a lower layer that nothing can open."""
        return bool(
            self._sources.are_known
            and not (self.open_inputs or self._ready or self.running)
            and self._sources.are_stuck(self)
        )

    def has_unopened_source(self, *, below: int) -> bool:
        """True if a source of a layer below this one has not been opened."""
        return any(
            node.definition.source_layer < below
            for node in self._unopened
            if node.outputs and not node.inputs
        )

    # Life cycle

    def next_to_open(self) -> NodeRun | None:
        """A node whose side packets are there and whose producers are open."""
        values = self.side_packets
        for node in self._unopened:
            definition = node.definition
            if all(
                name in values or (is_optional and name not in self.made)
                for name, is_optional in definition.side_inputs
            ) and all(
                self.nodes[producer].state is not NodeState.CREATED
                for producer in definition.producers
            ):
                return node
        return None

    def opening(self, node: NodeRun) -> Context:
        """The context for a node's open."""
        values = self.side_packets
        self._unopened.remove(node)
        node.side_inputs = [
            values.get(name, EMPTY) for name, _ in node.definition.side_inputs
        ]
        return node.out_of_turn(UNSTARTED)

    def opened(self, node: NodeRun, context: Context) -> None:
        """Open has returned."""
        node.on(NodeEvent.OPEN)
        node.offset = node.calculator.timestamp_offset
        node.carried = DONE if node.offset is None else UNSTARTED
        if node.inputs:
            self.flow.mark(node)
        elif node.outputs:
            self._sources.add(node)
        self._stop(node, context)
        self._emit(node, context)
        self.flow.settle()

    def next(self) -> Context | None:
        """The call to make now, or None: of process, or at timestamp DONE of close.

        Nodes near the outputs go first: what is in the graph leaves before more of it
        is made, as in MediaPipe's scheduler queue; sources go last.
        """
        if self._ready:
            node = self._by_rank[heappop(self._ready)]
            self.running += 1
            return node.context if node.is_serial else node.queued.popleft()  # pyright: ignore[reportOptionalMemberAccess]
        source = self._sources.next(self) if self._sources.are_known else None
        if source is None:
            return None
        if self._sources.are_stopped:
            self._end(source)
            return self.next()
        self.running += 1
        source.is_busy = True
        return source.call(0, ())

    def done(self, context: Context) -> None:
        """A call has returned, and is not waiting for anything."""
        self.running -= 1
        node: NodeRun = context.node  # pyright: ignore[reportAssignmentType]
        timestamp = context.timestamp
        if timestamp == DONE:
            self._emit(node, context)
            self._close(node)
        elif node.is_serial:
            context.inputs = ()
            if self.flow.is_ordered:
                self._release_by_stream(node, context)
            else:
                if context.emissions:
                    self.flow.emit(node.outputs, context.emissions)
                if node.offset is not None:
                    bound = node.carry(node.offset, timestamp)
                    for stream in node.outputs:
                        if bound > stream.bound:
                            self.flow.promise(stream, bound)
            context.emissions = []
            node.is_busy = False
            if context.is_stopped:
                self._stop(node, context)
            single = node.single
            if (
                single is None
                or single.packets
                or single.bound != timestamp + 1
                or timestamp >= MAX
            ):
                self.flow.mark(node)
        else:
            self._done_in_order(node, context)
        self.flow.settle()

    def _done_in_order(self, node: NodeRun, context: Context) -> None:
        context.is_finished = True
        in_flight = node.in_flight
        while in_flight and in_flight[0].is_finished:
            first = in_flight[0]
            self._release_by_stream(node, first)
            in_flight.popleft()
            self._stop(node, first)
            # After a call at PRESTREAM none is carried (InOrderOutputStreamHandler).
            if not in_flight and node.seen > next_allowed(first.timestamp):
                self._offset(node, node.seen)
        self.flow.mark(node)

    def _release_by_stream(self, node: NodeRun, context: Context) -> None:
        """One output after the other: a consumer may see the order."""
        offset, bound = node.offset, UNSET
        if offset is not None:
            bound = node.carry(offset, context.timestamp)
        flow, emissions = self.flow, context.emissions
        for slot, stream in enumerate(node.outputs):
            if emissions:
                flow.propagate(stream, slot, emissions, bound)
            elif bound > stream.bound:
                flow.promise(stream, bound)

    def _emit(self, node: NodeRun, context: Context) -> None:
        """What was sent in open and close, which have no timestamp to carry on."""
        if context.emissions:
            for slot, stream in enumerate(node.outputs):
                self.flow.propagate(stream, slot, context.emissions, UNSET)

    def _stop(self, node: NodeRun, context: Context) -> None:
        if context.is_stopped:
            context.is_stopped = False
            if node.inputs or not node.outputs:
                self._sources.stop()
            else:
                self._end(node)

    def stop_sources(self) -> None:
        """Close the sources instead of running them (CloseAllPacketSources)."""
        self._sources.stop()

    def closing(self, node: NodeRun) -> Context | None:
        """The context for a close when the run ends; None where there is none to be."""
        if node.state is NodeState.CREATED or node.state is NodeState.CLOSED:
            return None
        return node.out_of_turn(DONE)

    def abandon(self, node: NodeRun) -> None:
        """A close out of turn is over, or not needed. Nothing propagates."""
        if node.state is not NodeState.CLOSED:
            node.on(NodeEvent.CLOSE)

    # Streams

    def feed(self, stream: int, packet: Packet) -> None:
        """A packet on a graph input. Raises StreamError."""
        timestamp, payload = packet
        self.flow.emit((self.streams[stream],), ((0, timestamp, payload),))
        self.flow.settle()

    def advance(self, stream: int, bound: Timestamp) -> None:
        """No packet before `bound` will come on a graph input. Raises StreamError."""
        self.flow.emit((self.streams[stream],), ((0, bound, EMPTY),))
        self.flow.settle()

    def close_input(self, stream: int) -> None:
        """No more packets on a graph input."""
        self.open_inputs.discard(stream)
        self.flow.promise(self.streams[stream], DONE)
        self.flow.settle()

    def tap(self, stream: int, output: int, *, wants_bounds: bool) -> None:
        """Have a stream's packets leave as those of `output`."""
        self.streams[stream].taps.append(Tap(output, wants_bounds=wants_bounds))

    # Readiness

    def _look(self, node: NodeRun) -> None:
        """What a node that is marked may do now."""
        if not node.is_active or not node.inputs:
            return
        if not node.is_serial:
            self._examine(node)
            return
        if node.is_busy:
            return
        policy = node.policy
        inputs = policy.take()
        if inputs is not None:
            node.is_busy = True
            context = node.context
            context.timestamp = policy.timestamp
            context.inputs = inputs
            if policy.is_eager:
                context.bounds = [each.head_or_bound() for each in node.inputs]
            rank = node.rank if node.batched is None else self._rank(node)
            heappush(self._ready, rank)
        elif policy.is_over:
            self._end(node)
        elif policy.bound > node.carried:
            self._offset(node, policy.bound)
        if self.throttle.full:
            # A policy may drop packets without a call, too.
            self.throttle.relax(node)

    def _examine(self, node: NodeRun) -> None:
        """A node that may have several calls in flight."""
        policy, in_flight = node.policy, node.in_flight
        assert in_flight is not None
        assert node.queued is not None
        while len(in_flight) < node.definition.max_in_flight:
            inputs = policy.take()
            if self.throttle.full:
                self.throttle.relax(node)
            if inputs is not None:
                context = node.call(policy.timestamp, inputs)
                if policy.is_eager:
                    context.bounds = [each.head_or_bound() for each in node.inputs]
                in_flight.append(context)
                node.queued.append(context)
                heappush(self._ready, node.rank)
            elif policy.is_over:
                if not in_flight:
                    self._end(node)
                return
            else:
                # Kept for the end of the calls in flight: a close may come between.
                is_new, node.seen = node.seen != policy.bound, policy.bound
                if is_new and not in_flight:
                    self._offset(node, policy.bound)
                return

    def _offset(self, node: NodeRun, bound: Timestamp) -> None:
        """Carry the bound of the inputs to the outputs of a node with an offset."""
        if node.offset is not None and is_range_value(bound):
            node.carried = bound
            moved = min(max(bound + node.offset, MIN), MAX)
            for stream in node.outputs:
                if stream.bound != DONE:
                    self.flow.promise(stream, moved)

    def _end(self, node: NodeRun) -> None:
        """Have the node closed, in its turn."""
        node.on(NodeEvent.END)
        node.end()
        if self.throttle.full:
            self.throttle.relax(node)
        context = node.call(DONE, [EMPTY] * len(node.inputs))
        if node.queued is not None:
            node.queued.append(context)
        node.is_busy = True
        heappush(self._ready, self._rank(node))

    def _rank(self, node: NodeRun) -> int:
        """Within a batch a node goes before all others; as an index it is the same."""
        is_next = node.batched is not None and node.batched.is_within
        return node.rank - len(self.nodes) if is_next else node.rank

    def _close(self, node: NodeRun) -> None:
        node.on(NodeEvent.CLOSE)
        node.is_busy = False
        for stream in node.outputs:
            self.flow.promise(stream, DONE)
