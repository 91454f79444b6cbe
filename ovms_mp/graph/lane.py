"""A packet that finds its graph at rest goes straight through, where each node waits for
the one before it: from call to call, without queues to put it in and policies to ask.

Only what is ordinary goes this way. A call that waits, stops, or sends at another time
than its input's leaves the graph as the scheduler would have it at that moment, and the
scheduler goes on. The way itself is written out for each graph: see `lane_source`.

A pass-through costs 6 us a node by the scheduler and 1.2 this way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

from ovms_mp.calculator.context import EMPTY, Context
from ovms_mp.core.timestamp import MAX, MIN, PRESTREAM, UNSTARTED
from ovms_mp.graph.lane_source import MAX_STEPS, Step, Way, way
from ovms_mp.graph.policy import OneInputPolicy, SynchronisedPolicy

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ovms_mp.core.errors import ServingError
    from ovms_mp.core.packet import Packet
    from ovms_mp.core.timestamp import Timestamp
    from ovms_mp.graph.definition import GraphDefinition, NodeDefinition
    from ovms_mp.graph.delivery import Delivery
    from ovms_mp.graph.flow import Emission
    from ovms_mp.graph.node import NodeRun
    from ovms_mp.graph.scheduler import Scheduler


def way_through(nodes: Sequence[NodeDefinition], inputs: Sequence[int]) -> Way | None:
    """The straight way, if there is one graph input, and each node that has inputs has one
    from the node before: then there is but one order in which they can be called.
    """
    if len(inputs) != 1:
        return None
    known, latest = set(inputs), set(inputs)
    steps: list[Step] = []
    for node in nodes:
        taken, made = set(node.input_streams), set(node.output_streams)
        if not taken:
            if made:
                return None
            continue
        if not taken <= known or not taken & latest:
            return None
        known |= made
        latest = made
        steps.append(
            Step(
                node.input_streams,
                node.output_streams,
                is_serial=node.max_in_flight == 1,
                sets_side_packets=bool(node.side_outputs),
            )
        )
    return way(inputs[0], tuple(steps)) if len(steps) <= MAX_STEPS else None


class Host(Protocol):
    """The run, as its lane sees it."""

    delivery: Delivery
    errors: list[ServingError]
    """With any, no more calls are made."""
    is_held: bool
    """No call may be made now."""

    def failed(self, error: BaseException, node: NodeRun) -> None:
        """A call of process has raised."""
        ...

    def called(self, node: NodeRun) -> None:
        """A call of process has returned, and what it sent has gone on."""
        ...

    def left(self, context: Context) -> None:
        """A call has returned and is out of the ordinary: it may be `done` or wait."""
        ...


def _is_plain(node: NodeRun) -> bool:
    is_usual = type(node.policy) in {OneInputPolicy, SynchronisedPolicy}
    return is_usual and (node.offset == 0 or not node.outputs)


def _are_plain(emissions: list[Emission], timestamp: Timestamp, node: NodeRun) -> bool:
    """At most one packet for each output at the time of the inputs, and nothing else; in
    the order in which they are to go on.
    """
    for _, at, value in emissions:
        if at != timestamp or value is EMPTY:
            return False
    if len({slot for slot, *_ in emissions}) < len(emissions):
        return False
    if not node.is_serial and len(node.outputs) > 1:
        # Its outputs have their turns, whatever the order of sending.
        emissions.sort(key=_slot)
        return len(emissions) == len(node.outputs)
    return True


def _slot(emission: Emission) -> int:
    return emission[0]


class Lane:
    """The way through one run. `level` is the bound of all its streams while it is at
    rest; None when that is not known.
    """

    __slots__ = (
        "_nodes",
        "_scheduler",
        "_source",
        "flow",
        "go",
        "is_open",
        "level",
        "packet",
        "run",
    )

    def __init__(
        self, definition: GraphDefinition, scheduler: Scheduler, run: Host
    ) -> None:
        assert definition.way is not None
        self._scheduler = scheduler
        self._source = definition.inputs[0][1]
        self._nodes = [node for node in scheduler.nodes if node.inputs]
        self.run = run
        self.flow = scheduler.flow
        self.is_open = all(map(_is_plain, self._nodes))
        """False if some node is none of those that can go this way."""
        self.level: Timestamp | None = None
        self.packet: Packet | None = None
        """What is to go through when the call that feeds it has returned."""
        self.go: Final = definition.way.bind(self, self._nodes, scheduler.streams)
        """Take the packet that waits through. True if that was all there is to do."""

    def takes(self, packet: Packet) -> bool:
        """True if a packet on the graph input can go through; then it waits for `go`."""
        if self.packet is not None:
            return False
        level = self.level
        if level is None:
            level = self.level = self._find_level()
        if level is None or not level <= packet[0] < MAX or packet[0] < MIN:
            return False
        self.packet = packet
        return True

    def turn_off(self) -> Packet | None:
        """Something else happens: the packet that waits, if there is one, goes the
        scheduler's way.
        """
        packet, self.packet = self.packet, None
        self.level = None
        return packet

    def _find_level(self) -> Timestamp | None:
        scheduler = self._scheduler
        if not (self.is_open and scheduler.is_at_rest):
            return None
        level = scheduler.streams[self._source].bound
        if level != PRESTREAM and not MIN <= level <= MAX:
            return None
        for node in self._nodes:
            if not node.is_active or node.in_flight or node.is_busy:
                return None
            for queue in node.inputs:
                if queue.packets or queue.bound != level:
                    return None
            definition = node.definition
            for number in (*definition.output_streams, *definition.input_streams):
                stream = scheduler.streams[number]
                if stream.bound != level or any(t.bound != level for t in stream.taps):
                    return None
        return level

    # What `go` does not do itself. `index` is that of the node that was called, `values`
    # what later nodes are to get, by stream.

    are_plain = staticmethod(_are_plain)

    def leave(self, index: int, values: Mapping[int, Any]) -> bool:
        """The call is the scheduler's."""
        context = self._fly(index, values)
        self.run.left(context)
        return False

    def fail(self, index: int, error: BaseException, values: Mapping[int, Any]) -> bool:
        """The call has raised."""
        self._fly(index, values)
        self.run.failed(error, self._nodes[index])
        return False

    def _fly(self, index: int, values: Mapping[int, Any]) -> Context:
        """The call is in flight, as if the scheduler had made it."""
        node = self._nodes[index]
        context = node.context
        if node.in_flight is None:
            node.is_busy = True
        else:
            # Whoever waits keeps the context.
            node.in_flight.append(context)
            node.context = Context(node, UNSTARTED, ())
        self._scheduler.running += 1
        self.spill(index, context.timestamp, values)
        return context

    def spill(
        self, index: int, timestamp: Timestamp, values: Mapping[int, Any]
    ) -> bool:
        """What the nodes after this one are to get waits for them in their queues."""
        scheduler = self._scheduler
        for node in self._nodes[index + 1 :]:
            for queue, number in zip(
                node.inputs, node.definition.input_streams, strict=True
            ):
                value = values.get(number, EMPTY)
                if value is not EMPTY:
                    queue.packets.append((timestamp, value))
                    scheduler.throttle.fill(queue)
            scheduler.flow.mark(node)
        scheduler.flow.settle()
        return False
