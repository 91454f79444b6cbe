"""Which node may run next, and with which packets. Nothing here waits, locks, logs or
knows what a calculator computes.

A run is driven from outside: feed packets and bounds in, take invocations out, hand
them back when they are done. All calls come from one thread at a time.
"""

from __future__ import annotations

import heapq
from collections import deque
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ovms_mp.calculator.context import EMPTY, Context
from ovms_mp.core.packet import Packet
from ovms_mp.core.timestamp import (
    DONE,
    PRESTREAM,
    UNSTARTED,
    is_allowed_in_stream,
    is_range_value,
    next_allowed,
)
from ovms_mp.graph.policy import POLICIES, Readiness
from ovms_mp.graph.stream import InputStream, TimestampMismatch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ovms_mp.calculator.base import Calculator
    from ovms_mp.core.timestamp import Timestamp
    from ovms_mp.graph.definition import GraphDefinition, NodeDefinition


class NodeState(Enum):
    """Where a node is in its life."""

    CREATED = auto()
    OPENED = auto()
    CLOSING = auto()
    CLOSED = auto()


class NodeEvent(Enum):
    """What happens to a node."""

    OPEN = auto()
    END = auto()
    CLOSE = auto()


TRANSITIONS: Final[Mapping[tuple[NodeState, NodeEvent], NodeState]] = {
    (NodeState.CREATED, NodeEvent.OPEN): NodeState.OPENED,
    # Inputs done, the calculator stopped, or the run failed: close is called next.
    (NodeState.OPENED, NodeEvent.END): NodeState.CLOSING,
    (NodeState.CLOSING, NodeEvent.CLOSE): NodeState.CLOSED,
    # A run that fails closes nodes wherever they are; one never opened is not closed.
    (NodeState.OPENED, NodeEvent.CLOSE): NodeState.CLOSED,
    (NodeState.CREATED, NodeEvent.CLOSE): NodeState.CLOSED,
}


class NodeRun:
    """One node's part of a run: its calculator, its queues, its calls in flight."""

    __slots__ = (
        "calculator",
        "definition",
        "in_flight",
        "inputs",
        "is_dirty",
        "is_stopped",
        "policy",
        "side_inputs",
        "side_outputs",
        "state",
    )

    def __init__(self, definition: NodeDefinition) -> None:
        self.definition = definition
        self.calculator: Calculator = definition.instantiate()
        self.inputs = [InputStream() for _ in definition.input_streams]
        self.policy = POLICIES[definition.input_policy](self.inputs)
        self.in_flight: deque[Invocation] = deque()
        self.side_inputs: list[Any] = []
        self.side_outputs: list[Any] = [EMPTY] * len(definition.side_outputs)
        self.state = NodeState.CREATED
        self.is_dirty = False
        self.is_stopped = False

    def on(self, event: NodeEvent) -> None:
        """Change state by the table; a pair that is not in it is a bug."""
        self.state = TRANSITIONS[self.state, event]

    def context(self, timestamp: Timestamp, inputs: list[Any]) -> Context:
        """A context for a call at `timestamp`."""
        return Context(timestamp, inputs, self.side_inputs, self.side_outputs)


class Invocation:
    """One call of process (or, at timestamp DONE, of close) and what came of it."""

    __slots__ = ("context", "is_done", "node")

    def __init__(self, node: NodeRun, context: Context) -> None:
        self.node = node
        self.context = context
        self.is_done = False

    @property
    def is_close(self) -> bool:
        """True for the call of close."""
        return self.context.timestamp == DONE


class Produced(NamedTuple):
    """A packet on an output stream of the graph."""

    output: int
    packet: Packet


class Scheduler:
    """The state of one graph run, and all transitions of it."""

    __slots__ = (
        "_bounds",
        "_definition",
        "_dirty",
        "_order",
        "_ready",
        "nodes",
        "open_nodes",
        "produced",
        "running",
    )

    def __init__(self, definition: GraphDefinition) -> None:
        self._definition = definition
        self._bounds: list[Timestamp] = [PRESTREAM] * len(definition.streams)
        self._dirty: deque[NodeRun] = deque()
        self._ready: list[tuple[int, int, Invocation]] = []
        self._order = 0
        self.nodes = [NodeRun(node) for node in definition.nodes]
        self.open_nodes = len(self.nodes)
        self.running = 0
        """Invocations taken with `next` and not handed back."""
        self.produced: list[Produced] = []
        """Packets on the graph's output streams, for the driver to take."""

    @property
    def is_idle(self) -> bool:
        """True if nothing can happen without new input."""
        return not self._ready and not self.running

    @property
    def is_done(self) -> bool:
        """True if every node is closed."""
        return not self.open_nodes

    def queued(self, stream: int) -> int:
        """The longest queue of packets that wait behind a stream."""
        nodes = self.nodes
        return max(
            (
                len(nodes[node].inputs[slot].packets)
                for node, slot in self._definition.streams[stream].consumers
            ),
            default=0,
        )

    # Life cycle

    def opening(self, node: NodeRun) -> Context:
        """The context for a node's open. Its side packets must be there."""
        return node.context(UNSTARTED, [EMPTY] * len(node.inputs))

    def opened(self, node: NodeRun, context: Context) -> None:
        """Open has returned."""
        node.on(NodeEvent.OPEN)
        self._emit(node, context)
        if context.is_stopped or not node.inputs:
            self._end(node)
        self._mark(node)
        self._settle()

    def next(self) -> Invocation | None:
        """The call to make now, or None.

        Nodes near the outputs go first: what is in the graph leaves before more of it
        is made, as in MediaPipe's scheduler queue.
        """
        if not self._ready:
            return None
        self.running += 1
        return heapq.heappop(self._ready)[2]

    def done(self, invocation: Invocation) -> None:
        """A call has returned, and is not waiting for anything."""
        self.running -= 1
        invocation.is_done = True
        node = invocation.node
        if invocation.is_close:
            self._emit(node, invocation.context)
            self._close(node)
        else:
            self._flush(node)
        self._settle()

    def closing(self, node: NodeRun) -> Context | None:
        """The context for a close out of turn, when the run has failed; None if the
        node was never opened or is closed already.
        """
        if node.state is NodeState.CREATED or node.state is NodeState.CLOSED:
            return None
        return node.context(DONE, [EMPTY] * len(node.inputs))

    def abandon(self, node: NodeRun) -> None:
        """A close out of turn has returned, or is not needed. Nothing propagates."""
        if node.state is not NodeState.CLOSED:
            node.on(NodeEvent.CLOSE)
            node.in_flight.clear()
            self.open_nodes -= 1

    # Streams

    def feed(self, stream: int, packet: Packet) -> None:
        """A packet on a graph input. Raises TimestampMismatch."""
        self._send(stream, packet)
        self._settle()

    def close_input(self, stream: int) -> None:
        """No more packets on a graph input."""
        self._advance(stream, DONE)
        self._settle()

    def _send(self, stream: int, packet: Packet) -> None:
        bounds = self._bounds
        timestamp = packet.timestamp
        if timestamp < bounds[stream] or not is_allowed_in_stream(timestamp):
            name = self._definition.streams[stream].name
            raise TimestampMismatch(name, bounds[stream], timestamp)
        definition = self._definition.streams[stream]
        bound = bounds[stream] = next_allowed(timestamp)
        for node_index, slot in definition.consumers:
            node = self.nodes[node_index]
            # Spelt out, for a set of enum members is slow; a node that ends drops it.
            if node.state is NodeState.OPENED or node.state is NodeState.CREATED:
                queue = node.inputs[slot]
                queue.packets.append(packet)
                queue.bound = bound
                self._mark(node)
        for output in definition.outputs:
            self.produced.append(Produced(output, packet))

    def _advance(self, stream: int, bound: Timestamp) -> None:
        if bound <= self._bounds[stream]:
            return
        self._bounds[stream] = bound
        for node_index, slot in self._definition.streams[stream].consumers:
            node = self.nodes[node_index]
            node.inputs[slot].bound = bound
            self._mark(node)

    def _emit(self, node: NodeRun, context: Context) -> None:
        streams = node.definition.output_streams
        for slot, timestamp, payload in context.emissions:
            if payload is EMPTY:
                self._advance(streams[slot], timestamp)
            else:
                self._send(streams[slot], Packet(timestamp, payload))

    # Readiness

    def _mark(self, node: NodeRun) -> None:
        if not node.is_dirty:
            node.is_dirty = True
            self._dirty.append(node)

    def _settle(self) -> None:
        # A worklist, not recursion: bounds run down chains of any length.
        dirty = self._dirty
        while dirty:
            node = dirty.popleft()
            node.is_dirty = False
            self._examine(node)

    def _examine(self, node: NodeRun) -> None:
        if node.state is not NodeState.OPENED or node.is_stopped:
            return
        while len(node.in_flight) < node.definition.max_in_flight:
            readiness, timestamp = node.policy.readiness()
            if readiness is Readiness.READY_FOR_PROCESS:
                inputs = node.policy.take(timestamp)
                self._schedule(node, node.context(timestamp, inputs))
            elif readiness is Readiness.READY_FOR_CLOSE:
                if not node.in_flight:
                    self._end(node)
                return
            else:
                if not node.in_flight:
                    self._offset(node, timestamp)
                return

    def _offset(self, node: NodeRun, bound: Timestamp) -> None:
        """Carry the bound of the inputs to the outputs of a node with an offset."""
        offset = node.definition.timestamp_offset
        if offset is None or not node.policy.is_synchronised:
            return
        if is_range_value(bound):
            bound = bound + offset
        for stream in node.definition.output_streams:
            self._advance(stream, bound)

    def _schedule(self, node: NodeRun, context: Context) -> None:
        invocation = Invocation(node, context)
        node.in_flight.append(invocation)
        self._order += 1
        entry = (-node.definition.index, self._order, invocation)
        heapq.heappush(self._ready, entry)

    def _flush(self, node: NodeRun) -> None:
        """Let out, in order, what the first finished calls have sent."""
        in_flight = node.in_flight
        while in_flight and in_flight[0].is_done:
            context = in_flight.popleft().context
            self._emit(node, context)
            self._offset(node, next_allowed(context.timestamp))
            node.is_stopped = node.is_stopped or context.is_stopped
        if node.is_stopped and not in_flight:
            self._end(node)
        self._mark(node)

    def _end(self, node: NodeRun) -> None:
        node.on(NodeEvent.END)
        self._schedule(node, node.context(DONE, [EMPTY] * len(node.inputs)))

    def _close(self, node: NodeRun) -> None:
        self.abandon(node)
        for queue in node.inputs:
            queue.packets.clear()
        for stream in node.definition.output_streams:
            self._advance(stream, DONE)
