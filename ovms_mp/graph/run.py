"""One execution of a graph: a strand around the scheduler that calls the calculators.

Whatever a calculator does, raise or exit, ends its own run and nothing else.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final, Protocol

from ovms_mp.calculator.context import EMPTY
from ovms_mp.core.errors import ServingError, Status, public_text
from ovms_mp.core.packet import Packet
from ovms_mp.graph.scheduler import Invocation, NodeRun, Scheduler
from ovms_mp.graph.strand import Strand
from ovms_mp.graph.stream import TimestampMismatch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ovms_mp.calculator.context import Context
    from ovms_mp.graph.definition import GraphDefinition
    from ovms_mp.graph.strand import Call, Submit

log = logging.getLogger(__name__)

# Times the queue may grow when a graph waits for one input while another is full.
# MediaPipe lets it grow for ever; here a client could fill the memory that way.
MAX_QUEUE_GROWTH: Final = 10


class RunListener(Protocol):
    """What a run tells, on its strand; the calls must not block."""

    def packet(self, output: int, packet: Packet) -> None:
        """A packet on the `output`-th output stream of the graph."""
        ...

    def settled(self, *, has_room: bool) -> None:
        """The run has done what it can with what was posted so far; `has_room` says
        whether its inputs can take more now.
        """
        ...

    def finished(self, error: ServingError | None) -> None:
        """All nodes are closed: because they were done, or for this error. Once, and
        the last call.
        """
        ...


class GraphRun:
    """Methods may be called from any thread unless they say otherwise.

    Life: post `start`, then calls that `feed`, then `close_inputs`; `finished` comes
    when every node is closed. `cancel` ends it at any moment.
    """

    __slots__ = (
        "_definition",
        "_error",
        "_is_held",
        "_is_over",
        "_listener",
        "_max_queue_size",
        "_scheduler",
        "_strand",
        "_waiting",
    )

    def __init__(
        self, definition: GraphDefinition, listener: RunListener, submit: Submit
    ) -> None:
        self._definition = definition
        self._listener = listener
        self._scheduler = Scheduler(definition)
        self._strand = Strand(submit)
        self._max_queue_size = definition.max_queue_size
        self._waiting: set[Invocation] = set()
        self._error: ServingError | None = None
        self._is_held = False
        self._is_over = False

    def start(self, side_packets: Mapping[str, Any]) -> None:
        """Open all nodes. On the strand, as the first call posted.

        `side_packets` holds a value for every input side packet that the graph
        declares; others are ignored. A node that cannot be opened fails the run.
        """
        values = dict(side_packets)
        for name in self._definition.side_inputs:
            if name not in values:
                details = f'Side packet "{name}" is required but was not provided.'
                self.fail(ServingError(Status.MEDIAPIPE_GRAPH_START_ERROR, details))
                return
        for node in self._scheduler.nodes:
            node.side_inputs = [
                values.get(name, EMPTY) for name in node.definition.side_inputs
            ]
            context = self._scheduler.opening(node)
            self._call(node, "Open", node.calculator.open, context)
            if self._error is None:
                self._hand_back(lambda n=node, c=context: self._scheduler.opened(n, c))
            if self._error is not None:
                return
            names = node.definition.side_outputs
            values.update(zip(names, node.side_outputs, strict=True))

    def post(self, call: Call) -> None:
        """Run `call` on the strand, then whatever it makes possible."""
        self._strand.post(lambda: self._turn(call))

    def feed(self, stream: int, packet: Packet) -> None:
        """A packet for a graph input. On the strand only.

        A timestamp that does not increase fails the run.
        """
        if self._is_over or self._error is not None:
            return
        try:
            self._scheduler.feed(stream, packet)
        except TimestampMismatch as error:
            self.fail(_execution_error("INVALID_ARGUMENT", str(error)))

    def close_inputs(self) -> None:
        """No more input: let every node finish and close. On the strand only."""
        if self._is_over or self._error is not None:
            return
        for _, stream in self._definition.inputs:
            self._scheduler.close_input(stream)

    @property
    def _has_room(self) -> bool:
        limit = self._max_queue_size
        if limit < 0:
            return True
        return all(
            self._scheduler.queued(stream) < limit
            for _, stream in self._definition.inputs
        )

    def fail(self, error: ServingError) -> None:
        """End the run with this error unless it has one. On the strand only."""
        if self._error is None:
            self._error = error

    def hold(self) -> None:
        """Make no more calls until `release`: the output cannot take more."""
        self._is_held = True

    def release(self) -> None:
        """Go on."""
        if self._is_held:
            self._is_held = False
            self.post(_nothing)

    def cancel(self) -> None:
        """Drop everything: cancel what nodes wait for, close them, then `finished` with
        Status.CANCELLED.
        """
        self._is_held = True
        error = ServingError(Status.CANCELLED)
        self.post(lambda: self.fail(error))

    def _turn(self, call: Call) -> None:
        if self._is_over:
            return
        call()
        self._drain()

    def _drain(self) -> None:
        scheduler = self._scheduler
        while self._error is None and not self._is_held:
            invocation = scheduler.next()
            if invocation is None:
                break
            self._invoke(invocation)
            self._deliver()
        self._deliver()
        has_room = self._has_room or self._grow()
        if self._error is not None:
            self._abandon()
            self._finish()
        elif scheduler.is_done:
            self._finish()
        else:
            self._listener.settled(has_room=has_room and not self._is_held)

    def _invoke(self, invocation: Invocation) -> None:
        node = invocation.node
        context = invocation.context
        if invocation.is_close:
            self._call(node, "Close", node.calculator.close, context)
        else:
            self._call(node, "Process", node.calculator.process, context)
        self._continue(invocation)

    def _continue(self, invocation: Invocation) -> None:
        """A call has returned: it is done, or it waits for something."""
        if self._error is not None:
            return
        pending = invocation.context.pending
        if pending is None:
            self._hand_back(lambda: self._scheduler.done(invocation))
            return
        if invocation.is_close:
            pending.cancel()
            label = _label(invocation.node)
            message = f"Calculator::Close() for node {label} may not wait"
            self.fail(_execution_error("INTERNAL", message))
            return
        if pending.is_settled:
            self._resume(invocation)
            return
        self._waiting.add(invocation)
        pending.on_settled(lambda _: self.post(lambda: self._resume(invocation)))

    def _resume(self, invocation: Invocation) -> None:
        self._waiting.discard(invocation)
        context = invocation.context
        pending, then = context.pending, context.continuation
        context.pending = context.continuation = None
        if pending is not None and then is not None:
            self._call(
                invocation.node, "Process", lambda _: then(pending.value()), context
            )
        self._continue(invocation)

    def _call(
        self,
        node: NodeRun,
        method: str,
        call: Callable[[Context], object],
        context: Context,
    ) -> None:
        try:
            call(context)
        except BaseException as error:  # user code may raise SystemExit as well
            text = _reason(error)
            label = _label(node)
            if not isinstance(error, ServingError):
                log.exception("Calculator::%s() for node %s failed", method, label)
            message = f"Calculator::{method}() for node {label} failed: {text}"
            self.fail(_execution_error("INTERNAL", message))

    def _hand_back(self, call: Call) -> None:
        """Tell the scheduler; what was sent may turn out not to fit its stream."""
        try:
            call()
        except TimestampMismatch as error:
            self.fail(_execution_error("INVALID_ARGUMENT", str(error)))

    def _deliver(self) -> None:
        produced = self._scheduler.produced
        if produced:
            self._scheduler.produced = []
            for output, packet in produced:
                self._listener.packet(output, packet)

    def _grow(self) -> bool:
        """Make room if a full queue waits, while nothing runs, for another input that
        may never come: MediaPipe's way out of that deadlock, but bounded.
        """
        if not self._scheduler.is_idle or self._is_held:
            return False
        definition = self._definition
        limit = definition.max_queue_size * MAX_QUEUE_GROWTH
        if definition.report_deadlock or self._max_queue_size >= limit:
            message = (
                "Detected a deadlock due to input throttling: a graph input stream "
                f"holds {self._max_queue_size} packets that wait for another input"
            )
            self.fail(_execution_error("UNAVAILABLE", message))
            return False
        self._max_queue_size += definition.max_queue_size
        return True

    def _abandon(self) -> None:
        """Close what is open, wait for nothing."""
        for invocation in self._waiting:
            pending = invocation.context.pending
            if pending is not None:
                pending.cancel()
        self._waiting.clear()
        for node in self._scheduler.nodes:
            context = self._scheduler.closing(node)
            self._scheduler.abandon(node)
            if context is not None:
                self._call(node, "Close", node.calculator.close, context)

    def _finish(self) -> None:
        self._is_over = True
        self._listener.finished(self._error)


def _nothing() -> None:
    """What `release` posts: the turn itself is the point."""


def _label(node: NodeRun) -> str:
    return f'"{node.definition.info.name}"'


def _reason(error: BaseException) -> str:
    if isinstance(error, ServingError):
        return error.text
    name = type(error).__name__
    try:
        text = public_text(str(error))
    except BaseException:  # an exception of user code, with a __str__ of its own
        text = ""
    return f"{name}: {text}" if text else name


def _execution_error(code: str, message: str) -> ServingError:
    details = f"{code}: CalculatorGraph::Run() failed: {message}"
    return ServingError(Status.MEDIAPIPE_EXECUTION_ERROR, details)
