"""A packet that finds its graph at rest goes straight through, where each node waits for
the one before it: from call to call, without queues to put it in and policies to ask.

Only what is ordinary goes this way. A call that waits, stops, or sends at another time
than its input's leaves the graph as the scheduler would have it at that moment, and the
scheduler goes on.

A pass-through costs 6 us a node by the scheduler and 2 this way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from ovms_mp.calculator.context import EMPTY, Context
from ovms_mp.core.timestamp import MAX, MIN, PRESTREAM, UNSTARTED
from ovms_mp.graph.policy import OneInputPolicy, SynchronisedPolicy

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ovms_mp.core.errors import ServingError
    from ovms_mp.core.packet import Packet
    from ovms_mp.core.timestamp import Timestamp
    from ovms_mp.graph.definition import GraphDefinition, NodeDefinition
    from ovms_mp.graph.flow import Emission
    from ovms_mp.graph.node import NodeRun
    from ovms_mp.graph.scheduler import Scheduler
    from ovms_mp.graph.stream import Stream


def is_straight(nodes: Iterable[NodeDefinition], inputs: Sequence[int]) -> bool:
    """True if there is one graph input, and each node that has inputs has one from the
    node before: then there is but one order in which they can be called.
    """
    if len(inputs) != 1:
        return False
    known, latest = set(inputs), set(inputs)
    for node in nodes:
        taken, made = set(node.input_streams), set(node.output_streams)
        if not taken:
            if made:
                return False
            continue
        if not taken <= known or not taken & latest:
            return False
        known |= made
        latest = made
    return True


class Host(Protocol):
    """The run, as its lane sees it."""

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


class _Step(NamedTuple):
    node: NodeRun
    takes: tuple[int, ...]
    """Numbers of streams."""
    makes: tuple[tuple[int, Stream], ...]


class Lane:
    """The way through one run. `level` is the bound of all its streams while it is at
    rest; None when that is not known.
    """

    __slots__ = (
        "_count",
        "_scheduler",
        "_source",
        "_steps",
        "is_open",
        "level",
        "packet",
    )

    def __init__(self, definition: GraphDefinition, scheduler: Scheduler) -> None:
        streams = scheduler.streams
        self._scheduler = scheduler
        self._count = len(streams)
        self._source = definition.inputs[0][1]
        self._steps = [
            _Step(
                node,
                node.definition.input_streams,
                tuple((n, streams[n]) for n in node.definition.output_streams),
            )
            for node in scheduler.nodes
            if node.inputs
        ]
        self.is_open = all(_is_plain(step.node) for step in self._steps)
        """False if some node, once it is open, is none of those that can go this way."""
        self.level: Timestamp | None = None
        self.packet: Packet | None = None
        """What is to go through when the call that feeds it has returned."""

    def takes(self, packet: Packet) -> bool:
        """True if a packet on the graph input can go through; then it waits for `run`."""
        if self.packet is not None:
            return False
        level = self.level
        if level is None:
            level = self.level = self._find_level()
        timestamp = packet[0]
        if level is None or not level <= timestamp < MAX or timestamp < MIN:
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
        for node, takes, makes in self._steps:
            if not node.is_active or node.in_flight or node.is_busy:
                return None
            for queue in node.inputs:
                if queue.packets or queue.bound != level:
                    return None
            streams = [stream for _, stream in makes]
            streams += [scheduler.streams[number] for number in takes]
            for stream in streams:
                if stream.bound != level or any(t.bound != level for t in stream.taps):
                    return None
        return level

    def run(  # noqa: C901, PLR0912, PLR0915  # every packet passes here: calls would cost most
        self, host: Host
    ) -> Context | None:
        """Take the packet that waits through. Returns a call that has returned and is out of the
        ordinary, which is the scheduler's; it may be `done` or wait.
        """
        assert self.packet is not None
        timestamp, payload = self.packet
        flow = self._scheduler.flow
        bound = timestamp + 1
        values: list[Any] = [EMPTY] * self._count
        values[self._source] = payload
        self.level = self.packet = None
        flow.pass_on(self._scheduler.streams[self._source], timestamp, payload, bound)
        for index, (node, takes, makes) in enumerate(self._steps):
            if len(takes) == 1:
                inputs = [values[takes[0]]]
                is_empty = inputs[0] is EMPTY
            else:
                inputs = [values[number] for number in takes]
                is_empty = all(each is EMPTY for each in inputs)
            if is_empty:
                for _, stream in makes:
                    flow.pass_by(stream, bound)
            else:
                context = node.context
                context.timestamp = timestamp
                context.inputs = inputs
                try:
                    node.process(context)
                except BaseException as error:  # user code may raise SystemExit as well
                    self._leave(index, context, values)
                    host.failed(error, node)
                    return None
                node.invocations += 1
                emissions = context.emissions
                is_one = (
                    len(emissions) == 1 == len(makes)
                    and emissions[0][1] == timestamp
                    and emissions[0][2] is not EMPTY
                )
                if (
                    context.pending is not None
                    or context.is_stopped
                    or not (is_one or _are_plain(emissions, timestamp, node))
                ):
                    return self._leave(index, context, values)
                for slot, _, value in emissions:
                    number, stream = makes[slot]
                    values[number] = value
                    stream.bound = bound
                    for queue in stream.consumers:
                        queue.bound = bound
                        queue.was_fed = True
                    if stream.taps:
                        flow.deliver(stream, timestamp, value, bound)
                if len(makes) > len(emissions):
                    for _, stream in makes:
                        if stream.bound != bound:
                            flow.pass_by(stream, bound)
                emissions.clear()
                context.inputs = ()
            if flow.produced or node.set_side_packets:
                host.called(node)
            if host.errors or host.is_held:
                self._spill(index, timestamp, values)
                return None
        self.level = bound
        return None

    def _leave(self, index: int, context: Context, values: Sequence[Any]) -> Context:
        """The call of a step is in flight, as if the scheduler had made it."""
        node = self._steps[index].node
        if node.in_flight is None:
            node.is_busy = True
        else:
            # Whoever waits keeps the context.
            node.in_flight.append(context)
            node.context = Context(node, UNSTARTED, ())
        self._scheduler.running += 1
        self._spill(index, context.timestamp, values)
        return context

    def _spill(self, index: int, timestamp: Timestamp, values: Sequence[Any]) -> None:
        """What the steps after this one are to get waits for them in their queues."""
        scheduler = self._scheduler
        for node, takes, _ in self._steps[index + 1 :]:
            for queue, number in zip(node.inputs, takes, strict=True):
                if values[number] is not EMPTY:
                    queue.packets.append((timestamp, values[number]))
                    scheduler.throttle.fill(queue)
            scheduler.flow.mark(node)
        scheduler.settle()


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
