"""One execution of a graph: a strand around the scheduler that calls the calculators.

Whatever a calculator does, raise or exit, ends its own run and nothing else.
"""

from __future__ import annotations

import logging
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final, cast

from ovms_mp.calculator.context import EMPTY
from ovms_mp.core.errors import ServingError, Status
from ovms_mp.core.packet import Packet
from ovms_mp.core.timestamp import DONE
from ovms_mp.graph import failures
from ovms_mp.graph.listener import status_of
from ovms_mp.graph.payload import fits, mismatch
from ovms_mp.graph.scheduler import Scheduler
from ovms_mp.graph.strand import Strand
from ovms_mp.graph.stream import StreamError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ovms_mp.calculator.context import Context
    from ovms_mp.core.pace import Pace
    from ovms_mp.core.timestamp import Timestamp
    from ovms_mp.graph.definition import GraphDefinition
    from ovms_mp.graph.listener import BoundListener, NodeStatus, RunListener
    from ovms_mp.graph.node import NodeRun
    from ovms_mp.graph.strand import Call, Submit

log = logging.getLogger(__name__)

# Times the queue may grow when a graph waits for one input while another is full.
# MediaPipe lets it grow for ever; here a client could fill the memory that way.
MAX_QUEUE_GROWTH: Final = 10

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
        "_errors",
        "_growth_left",
        "_is_held",
        "_is_measured",
        "_is_over",
        "_listener",
        "_outputs",
        "_parked",
        "_scheduler",
        "_strand",
        "_waiting",
    )

    def __init__(
        self,
        definition: GraphDefinition,
        listener: RunListener,
        submit: Submit,
        *,
        is_measured: bool = False,
        pace: Pace | None = None,
        tells_bounds: bool = False,
    ) -> None:
        self._definition = definition
        self._listener = listener
        self._scheduler = Scheduler(definition, bounds=tells_bounds)
        self._strand = Strand(submit, self._turn, pace)
        self._outputs = len(definition.outputs)
        self._growth_left = definition.max_queue_size * (MAX_QUEUE_GROWTH - 1)
        self._waiting: set[Context] = set()
        self._parked: list[Context] = []
        self._errors: list[ServingError] = []
        self._is_held = False
        self._is_measured = is_measured
        self._is_over = False

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

        `side_packets` holds a value for every side packet that no node makes; others
        are ignored. A node that cannot be opened fails the run.
        """
        for name, expected in self._definition.side_inputs.items():
            if name not in side_packets:
                problem = "is required but was not provided."
            elif not fits(expected, side_packets[name]):
                problem = f"failed validation: {mismatch(expected, side_packets[name])}"
            else:
                continue
            details = f'Side packet "{name}" {problem}'
            self.fail(ServingError(Status.MEDIAPIPE_GRAPH_START_ERROR, details))
            return
        self._scheduler.side_packets.update(side_packets)
        self._open()

    def post(self, call: Call, *, is_light: bool = True) -> None:
        """Run `call` on the strand, then whatever it makes possible."""
        self._strand.post(call, is_light=is_light)

    def feed(self, stream: int, packet: Packet) -> None:
        """A packet for a graph input. On the strand only.

        A timestamp that does not increase fails the run, as does a payload that its
        consumer does not take.
        """
        if self._is_over or self._errors:
            return
        definition = self._definition.streams[stream]
        for expected in definition.expected:
            if not fits(expected, packet.payload):
                message = (
                    "Packet type mismatch on a calculator receiving from stream "
                    f'"{definition.name}": {mismatch(expected, packet.payload)}'
                )
                self.fail(failures.failed("INVALID_ARGUMENT", message))
                return
        try:
            self._scheduler.feed(stream, packet)
        except StreamError as error:
            self._blame(error)

    def advance(self, stream: int, bound: Timestamp) -> None:
        """No packet before `bound` will come on a graph input: what an empty packet
        says. On the strand only.
        """
        if not (self._is_over or self._errors):
            self._tell(self._scheduler.advance, stream, bound)

    def close_input(self, stream: int) -> None:
        """No more packets on one graph input. On the strand only."""
        if not (self._is_over or self._errors):
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
        self._errors.append(error)

    def hold(self) -> None:
        """Make no more calls until `release`: the output cannot take more."""
        self._is_held = True

    def release(self) -> None:
        """Go on."""
        if self._is_held:
            self._is_held = False
            self.post(self._unpark)

    def _unpark(self) -> None:
        while self._parked and not self._is_held:
            self._resume(self._parked.pop())

    def cancel(self) -> None:
        """Drop everything: cancel what nodes wait for, close them, then `finished` with
        Status.CANCELLED.
        """
        self._is_held = True
        error = ServingError(Status.CANCELLED)
        self.post(lambda: self.fail(error))

    @property
    def is_idle(self) -> bool:
        """True if nothing happens without new input. On the strand only."""
        return self._strand.is_empty and self._scheduler.is_idle and not self._is_held

    @property
    def side_outputs(self) -> Mapping[str, Any]:
        """Side packets so far, by name; complete after `finished`."""
        return self._scheduler.side_packets

    def status(self) -> list[NodeStatus]:
        """What every node does now. From any thread: a view, not a snapshot."""
        return [status_of(node) for node in self._scheduler.nodes]

    def _turn(self, call: Call) -> None:
        if self._is_over:
            return
        call()
        self._drain()

    def _open(self) -> None:
        """Open the nodes that can be: all at the start, but for those whose side packets
        other nodes make later.
        """
        scheduler = self._scheduler
        while not self._errors:
            node = scheduler.next_to_open()
            if node is None:
                return
            context = scheduler.opening(node)
            self._call(node, "Open", partial(node.calculator.open, context))
            if context.pending is not None:
                context.pending.cancel()
                self.fail(failures.may_not_wait("Open", node.label))
            if self._errors:
                # Its open failed, so it is not closed.
                scheduler.abandon(node)
                return
            self._take_side_packets(node)
            self._tell(scheduler.opened, node, context)

    def _take_side_packets(self, node: NodeRun) -> bool:
        made = node.set_side_packets
        if not made:
            return False
        self._scheduler.side_packets.update(made)
        return True

    def _drain(self) -> None:  # noqa: C901  # every call of process is made here
        scheduler = self._scheduler
        measured = self._is_measured
        calls = 0
        while not self._errors and not self._is_held:
            context = scheduler.next()
            if context is None:
                break
            node: NodeRun = context.node  # pyright: ignore[reportAssignmentType]
            try:
                if context.timestamp == DONE:
                    node.calculator.close(context)
                elif measured:
                    started = perf_counter()
                    node.process(context)
                    node.seconds += perf_counter() - started
                else:
                    node.process(context)
                node.invocations += 1
                if context.pending is None:
                    scheduler.done(context)
                else:
                    self._wait(context)
            except StreamError as error:
                self._blame(error)
            except BaseException as error:  # user code may raise SystemExit as well
                method = "Close" if context.timestamp == DONE else "Process"
                self.fail(failures.raised(error, method, node.label))
            if node.set_side_packets and self._take_side_packets(node):
                self._open()
            if scheduler.flow.produced:
                self._deliver()
            calls += 1
            if calls == _MAX_CALLS:
                self.post(_nothing)
                return
        self._settle()

    def _settle(self) -> None:
        scheduler = self._scheduler
        if scheduler.flow.produced:
            self._deliver()
        if scheduler.throttle.full and not (self._errors or self._is_held):
            self._make_room()
        if not (scheduler.open_inputs or self._errors) and scheduler.is_stuck:
            self.fail(failures.failed("UNKNOWN", failures.STUCK_SOURCES))
        if self._errors or (not scheduler.open_inputs and scheduler.is_over):
            self._close_nodes()
            self._is_over = True
            self._listener.finished(self._errors[0] if self._errors else None)
        else:
            throttle = scheduler.throttle
            is_full = throttle.full and throttle.holds_inputs
            self._listener.settled(has_room=not (self._is_held or is_full))

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

    def _resume(self, context: Context) -> None:
        if context.is_partial and self._is_held:
            self._parked.append(context)
            return
        context.is_partial = False
        self._waiting.discard(context)
        pending, then = context.pending, context.continuation
        context.pending = context.continuation = None
        if pending is None or then is None or self._errors:
            return
        self._call(_node(context), "Process", lambda: then(pending.value()))
        if self._errors:
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
            self._blame(error)

    def _blame(self, error: StreamError) -> None:
        self.fail(failures.failed("INVALID_ARGUMENT", str(error)))

    def _deliver(self) -> None:
        flow, listener = self._scheduler.flow, self._listener
        produced, flow.produced = flow.produced, []
        for output, timestamp, payload in produced:
            if payload is EMPTY:
                cast("BoundListener", listener).bound(output, timestamp)
            else:
                listener.packet(output, Packet(timestamp, payload))

    def _make_room(self) -> None:
        """Make room if full queues wait, while nothing runs, for a packet of an input or
        a source that they hold back: MediaPipe's way out of that deadlock, but bounded.
        """
        scheduler, throttle = self._scheduler, self._scheduler.throttle
        if not (scheduler.is_idle and scheduler.is_held_back):
            return
        queue = throttle.full[0]
        is_exhausted = self._growth_left <= 0
        if is_exhausted and scheduler.open_inputs and not throttle.holds_inputs:
            # Sources wait, as they should, for a packet that may come from outside.
            return
        if self._definition.report_deadlock or is_exhausted:
            self.fail(failures.failed("UNAVAILABLE", failures.throttled(queue)))
            return
        self._growth_left -= 1
        throttle.grow()
        self.post(_nothing)

    def _close_nodes(self) -> None:
        """Close what is open, wait for nothing; what it sends is dropped."""
        for context in self._waiting:
            if context.pending is not None:
                context.pending.cancel()
        self._waiting.clear()
        error = self._errors[0] if self._errors else None
        scheduler = self._scheduler
        for node in scheduler.nodes:
            context = scheduler.closing(node)
            scheduler.abandon(node)
            if context is None:
                continue
            context.error = error
            try:
                node.calculator.close(context)
            except BaseException:  # the run has ended: nobody else is to know
                log.exception('Calculator::Close() for node "%s" failed', node.label)
            self._take_side_packets(node)


def _node(context: Context) -> NodeRun:
    return cast("NodeRun", context.node)


def _nothing() -> None:
    """What `release` posts: the turn itself is the point."""
