"""One execution of a graph: a strand around the scheduler that calls the calculators.

Whatever a calculator does, raise or exit, ends its own run and nothing else.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

from ovms_mp.core.errors import ServingError, Status
from ovms_mp.core.strand import Strand
from ovms_mp.core.threads import is_laden
from ovms_mp.core.timestamp import DONE
from ovms_mp.graph import failures
from ovms_mp.graph.delivery import Delivery
from ovms_mp.graph.ending import close_nodes
from ovms_mp.graph.growth import Growth
from ovms_mp.graph.lane import Lane
from ovms_mp.graph.listener import status_of
from ovms_mp.graph.payload import problem_on, problem_with
from ovms_mp.graph.scheduler import Scheduler
from ovms_mp.graph.stream import StreamError
from ovms_mp.graph.watching import watch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ovms_mp.calculator.context import Context
    from ovms_mp.core.happenings import Sink
    from ovms_mp.core.pace import Pace
    from ovms_mp.core.packet import Packet
    from ovms_mp.core.strand import Call, Submit
    from ovms_mp.core.timestamp import Timestamp
    from ovms_mp.graph.definition import GraphDefinition
    from ovms_mp.graph.listener import NodeStatus, RunListener
    from ovms_mp.graph.node import NodeRun, Timed

# Calls after which a run lets others have its thread, and hears whether it is wanted
# still: a source can go on for ever.
_MAX_CALLS: Final = 1000


class GraphRun:
    """Methods may be called from any thread unless they say otherwise.

    Life: `observe`, post `start`, then calls that `feed`, then `close_inputs`;
    `finished` comes when nothing is left to do. `cancel` ends it at any moment.
    """

    __slots__ = (
        "_definition",
        "_is_leaving",
        "_is_over",
        "_lane",
        "_listener",
        "_outputs",
        "_parked",
        "_room",
        "_scheduler",
        "_strand",
        "_waiting",
        "delivery",
        "errors",
        "is_held",
        "post",
    )

    def __init__(
        self,
        definition: GraphDefinition,
        listener: RunListener,
        submit: Submit,
        *,
        pace: Pace | None = None,
        tells_bounds: bool = False,
        is_patient: bool = False,
        timed: Timed | None = None,
    ) -> None:
        self._definition = definition
        self._listener = listener
        self._scheduler = Scheduler(definition, bounds=tells_bounds)
        for node in self._scheduler.nodes if is_patient else ():
            node.is_patient = True
        if timed is not None:
            for node in self._scheduler.nodes:
                node.process = timed(node.label, node.process)
        self.delivery: Final = Delivery(self._scheduler.flow, listener)
        self._strand = Strand(submit, self._turn, pace)
        self.post: Final = self._strand.post
        """Run a call on the strand, then whatever it makes possible."""
        self._outputs = len(definition.outputs)
        self._room = Growth(definition)
        self._waiting: set[Context] = set()
        self._parked: list[Context] = []
        self.errors: list[ServingError] = []
        self.is_held = False
        self._is_over = False
        self._is_leaving = False  # for other work: another thread goes on
        self._lane: Lane | None = None

    def observe(self, stream: str, *, bounds: bool = False) -> int:
        """Have the packets of any stream of the graph, and with `bounds` how far it is
        settled (the listener is a BoundListener then). Before `start`; returns the
        output number. Raises KeyError for a stream that the graph does not have.
        """
        output, self._outputs = self._outputs, self._outputs + 1
        number = self._definition.stream_number(stream)
        self._scheduler.tap(number, output, wants_bounds=bounds)
        return output

    def start(self, side_packets: Mapping[str, Any]) -> None:
        """Open all nodes. On the strand, as the first call posted.

        `side_packets` holds a value for every side packet that no node makes; what no
        node takes is ignored. One that a node makes, and a node that cannot be opened,
        fail the run.
        """
        known = self._definition
        problem = problem_with(
            known.side_inputs,
            known.optional_side_inputs,
            side_packets,
            self._scheduler.made,
        )
        if problem is not None:
            self.fail(ServingError(Status.MEDIAPIPE_GRAPH_START_ERROR, problem))
            return
        self._scheduler.side_packets.update(side_packets)
        self._open()

    def feed(self, stream: int, packet: Packet, *, is_last: bool = False) -> None:
        """A packet for a graph input. On the strand only. If no other follows it, no lane
        is made: that costs more than one packet saves.

        A timestamp that does not increase fails the run, as does a payload that its
        consumer does not take.
        """
        if self._is_over or self.errors:
            return
        known = self._definition.streams[stream]
        if known.expected and (problem := problem_on(known, packet.payload)):
            self.fail(failures.failed("INVALID_ARGUMENT", problem))
            return
        lane = self._lane
        if lane is None and not is_last and self._definition.way is not None:
            lane = self._lane = Lane(self._definition, self._scheduler, self)
        if lane is not None and lane.takes(packet):
            return
        self._turn_off()
        self._tell(self._scheduler.feed, stream, packet)

    def _turn_off(self) -> None:
        """From here on things go the scheduler's way."""
        packet = self._lane and self._lane.turn_off()
        if packet is not None:
            self._tell(self._scheduler.feed, self._definition.inputs[0][1], packet)

    def advance(self, stream: int, bound: Timestamp) -> None:
        """No packet before `bound` will come on a graph input: what an empty packet
        says. On the strand only.
        """
        if not (self._is_over or self.errors):
            self._turn_off()
            self._tell(self._scheduler.advance, stream, bound)

    def close_input(self, stream: int) -> None:
        """No more packets on one graph input. On the strand only."""
        if not (self._is_over or self.errors):
            self._turn_off()
            self._scheduler.close_input(stream)

    def close_inputs(self) -> None:
        """No more input: let every node finish and close. On the strand only."""
        for _, stream in self._definition.inputs:
            self.close_input(stream)

    def stop_sources(self) -> None:
        """Close the graph's sources. On the strand only."""
        self._scheduler.stop_sources()

    def fail(self, error: ServingError) -> None:
        """End the run with this error; a first one stays. On the strand only."""
        self.errors.append(error)

    def hold(self) -> None:
        """Make no more calls until `release`: the output cannot take more."""
        self.is_held = True

    def release(self) -> None:
        """Go on."""
        if self.is_held:
            self.is_held = False
            self.post(self._unpark)

    def _unpark(self) -> None:
        while self._parked and not self.is_held:
            self._resume(self._parked.pop())

    def cancel(self) -> None:
        """Drop everything: cancel what nodes wait for, close them, then `finished` with
        Status.CANCELLED.
        """
        self.is_held = True
        error = ServingError(Status.CANCELLED)
        self.post(lambda: self.fail(error))

    @property
    def is_idle(self) -> bool:
        """True if nothing happens without new input. On the strand only."""
        return self._strand.is_empty and self._scheduler.is_idle and not self.is_held

    @property
    def side_outputs(self) -> Mapping[str, Any]:
        """Side packets so far, by name; complete after `finished`."""
        return self._scheduler.side_packets

    def status(self) -> list[NodeStatus]:
        """What every node does now. From any thread: a view, not a snapshot."""
        return [status_of(node) for node in self._scheduler.nodes]

    def watch(self, sink: Sink | None, number: int) -> None:
        """Have `sink` told of each call that follows, as of the run of this number; None
        ends that. On the strand, or before anything is posted to it.
        """
        self._turn_off()
        self._lane = None  # the next one is bound to what is called from now on
        watch(self._scheduler.nodes, sink, number)

    def _turn(self, call: Call) -> None:
        if self._is_over:
            return
        call()
        lane = self._lane
        if lane is not None and lane.packet is not None:
            if self.errors or self.is_held:
                self._turn_off()
            elif lane.go():
                self._listener.settled(has_room=True)
                return
        self._drain()

    def _open(self) -> None:
        """Open the nodes that can be: all at the start, but for those whose side packets
        other nodes make later.
        """
        scheduler = self._scheduler
        while not self.errors:
            node = scheduler.next_to_open()
            if node is None:
                return
            context = scheduler.opening(node)
            self._call(node, "Open", partial(node.calculator.open, context))
            if context.pending is not None:
                context.pending.cancel()
                self.fail(failures.may_not_wait("Open", node.label))
            if self.errors:
                # Its open failed, so it is not closed.
                scheduler.abandon(node)
                return
            scheduler.side_packets.update(node.set_side_packets)
            self._tell(scheduler.opened, node, context)

    def _drain(self) -> None:  # every call of process is made here
        scheduler = self._scheduler
        for _ in range(_MAX_CALLS):
            ends = self.errors or self.is_held or self._is_leaving
            context = None if ends else scheduler.next()
            if context is None:
                break
            node: NodeRun = context.node  # pyright: ignore[reportAssignmentType]
            try:
                if context.timestamp == DONE:
                    node.calculator.close(context)
                else:
                    node.process(context)
                node.invocations += 1
                if context.pending is None:
                    scheduler.done(context)
                else:
                    self._wait(context)
            except StreamError as error:
                self.fail(failures.misfit(error))
            except BaseException as error:  # user code may raise SystemExit as well
                method = "Close" if context.timestamp == DONE else "Process"
                self.fail(failures.raised(error, method, node.label))
            if node.set_side_packets or scheduler.flow.produced:
                self.called(node)
        else:
            self.post(_nothing)
            return
        self._settle()

    def failed(self, error: BaseException, node: NodeRun) -> None:
        """See lane.Host."""
        self.fail(failures.raised(error, "Process", node.label))

    def called(self, node: NodeRun) -> None:
        """See lane.Host."""
        if node.set_side_packets:
            self._scheduler.side_packets.update(node.set_side_packets)
            self._open()
        if self._scheduler.flow.produced:
            self.delivery.deliver()

    def left(self, context: Context) -> None:
        """See lane.Host."""
        if context.pending is None:
            self._tell(self._scheduler.done, context)
        else:
            self._wait(context)
        self.called(_node(context))

    def _settle(self) -> None:
        scheduler = self._scheduler
        is_left, self._is_leaving = self._is_leaving, False
        if is_left and scheduler.has_next:
            self.post(_nothing)
            return
        if scheduler.flow.produced:
            self.delivery.deliver()
        if scheduler.throttle.full and not (self.errors or self.is_held):
            outcome = self._room.make_room(scheduler)
            if isinstance(outcome, ServingError):
                self.fail(outcome)
            elif outcome:
                self.post(_nothing)
        if not (scheduler.open_inputs or self.errors) and scheduler.is_stuck:
            self.fail(failures.failed("UNKNOWN", failures.STUCK_SOURCES))
        if self.errors or (not scheduler.open_inputs and scheduler.is_over):
            self._finish()
        else:
            throttle = scheduler.throttle
            is_full = throttle.full and throttle.holds_inputs
            self._listener.settled(has_room=not (self.is_held or is_full))

    def _wait(self, context: Context) -> None:
        """A call has returned and waits for something."""
        pending = context.pending
        assert pending is not None
        if context.timestamp == DONE:
            pending.cancel()
            self.fail(failures.may_not_wait("Close", _node(context).label))
        elif pending.is_settled and not context.is_partial:
            self._resume(context)
        else:
            if context.is_partial:
                self._tell(self._scheduler.flow.flush, context)
            self._waiting.add(context)
            pending.on_settled(lambda _: self.post(lambda: self._resume(context)))
            self._is_leaving = is_laden()

    def _resume(self, context: Context) -> None:
        if context.is_partial and self.is_held:
            self._parked.append(context)
            return
        context.is_partial = False
        self._waiting.discard(context)
        pending, then = context.pending, context.continuation
        context.pending = context.continuation = None
        if pending is None or then is None or self.errors:
            return
        self._call(_node(context), "Process", lambda: then(pending.value()))
        if self.errors:
            return
        if context.pending is not None:
            self._wait(context)
        else:
            self._tell(self._scheduler.done, context)

    def _call(self, node: NodeRun, method: str, call: Call) -> None:
        try:
            call()
        except BaseException as error:  # SystemExit, too
            self.fail(failures.raised(error, method, node.label))

    def _tell(self, call: Callable[..., object], *arguments: Any) -> None:
        """What was sent may turn out not to fit its stream."""
        try:
            call(*arguments)
        except StreamError as error:
            self.fail(failures.misfit(error))

    def _finish(self) -> None:
        for context in self._waiting:
            if context.pending is not None:
                context.pending.cancel()
        self._waiting.clear()
        error = self.errors[0] if self.errors else None
        close_nodes(self._scheduler, error)
        self._is_over = True
        self._listener.finished(error)


def _node(context: Context) -> NodeRun:
    return cast("NodeRun", context.node)


def _nothing() -> None:
    """What `release` posts: the turn itself is the point."""
