"""A graph as a servable: a unary request is a run of one request, a stream is a run of
many, and both cross the same boundary.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from ovms_mp.core.errors import ServingError, Status
from ovms_mp.core.pace import SHORT, Pace
from ovms_mp.core.pending import Pending
from ovms_mp.core.stream_policy import NO_LIMITS, StreamPolicy
from ovms_mp.servable import boundary
from ovms_mp.servable.description import Description
from ovms_mp.servable.interface import GraphInterface
from ovms_mp.servable.parameters import side_packets_of, timestamp_of
from ovms_mp.servable.portrait import Portrait
from ovms_mp.servable.session import GraphSession
from ovms_mp.servable.statistics import Answers
from ovms_mp.servable.streams import Lifetime, Streams
from ovms_mp.servable.watching import Boundary, Watching, shape_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ovms_mp.core.messages import InferRequest, InferResponse, ServableMetadata
    from ovms_mp.core.packet import Packet
    from ovms_mp.core.strand import Submit
    from ovms_mp.library.graph import Graph
    from ovms_mp.library.hosting import GraphRun
    from ovms_mp.servable.base import StreamSession, StreamSink
    from ovms_mp.servable.condition import Condition
    from ovms_mp.servable.statistics import ModelStatistics
    from ovms_mp.servable.watching import Watched
    from ovms_mp.telemetry.metrics import Metrics

_METHOD: Final = "ModelInfer"


class GraphServable:
    """One graph, open to any number of runs. Thread-safe."""

    def __init__(
        self,
        name: str,
        graph: Graph,
        submit: Submit,
        metrics: Metrics,
        policy: StreamPolicy = NO_LIMITS,
        *,
        condition: Condition | None = None,
        watching: Watching | None = None,
    ) -> None:
        self._name = name
        self._condition = condition
        self._graph = graph
        self._shape = shape_of(name, graph.definition)
        self._portrait = Portrait(graph.definition, self._shape)
        self._watching = watching or Watching()
        self._streams = Streams(name, policy, metrics.streams(name))
        self._interface = GraphInterface(name, graph.definition)
        self._answers = Answers()
        self._submit = submit
        self._metrics = metrics
        self._pace = _pace() if graph.definition.is_short else None
        metrics.graph_loaded(name)
        self._watch = metrics.graph_nodes(
            name, [node.info.name for node in graph.definition.nodes]
        )

    @property
    def name(self) -> str:
        """What clients call it."""
        return self._name

    @property
    def trouble(self) -> str:
        """Why it can answer nobody now, whatever is asked; empty if it can."""
        return "" if self._condition is None else self._condition.trouble

    def metadata(self) -> ServableMetadata:
        """What ModelMetadata tells."""
        return self._interface.metadata()

    def describe(self) -> Description:
        """How it is set up."""
        return Description(
            self.metadata(),
            backend="mediapipe",
            is_decoupled=True,
            portrait=self._portrait,
        )

    def statistics(self) -> ModelStatistics:
        """What it has answered."""
        return self._answers.statistics()

    def infer(self, request: InferRequest) -> Pending[InferResponse]:
        """Run the graph for one request; the first packet of each output stream is the
        answer. Raises ServingError for parameters that cannot be side packets, and for
        outputs that there are not; the result fails with ServingError.
        """
        side_packets = side_packets_of(request)
        self._interface.check_wanted(request.outputs)
        unary = _UnaryRun(self._interface, request, self._metrics, self._answers)
        run = self._graph.open(unary, self._submit, pace=self._pace, watch=self._watch)
        return unary.start(run, side_packets, self._watching.asked(self._shape))

    def repeat(self, request: InferRequest) -> None:
        """See Servable: every request is a run of its own."""

    def open_stream(self, request: InferRequest, sink: StreamSink) -> StreamSession:
        """See Servable. Side packets and policy are those of the first request."""
        side_packets = side_packets_of(request)
        policy = self._streams.opened(request)
        lifetime = Lifetime(self._streams, policy)
        session = GraphSession(
            self._interface,
            sink,
            self._metrics,
            policy,
            lifetime,
            answers=self._answers,
        )
        try:
            run = self._graph.open(
                session,
                self._submit,
                pace=self._pace,
                tells_bounds=True,
                is_patient=True,
                watch=self._watch,
            )
        except BaseException:
            self._streams.closed()
            raise
        session.open(run, side_packets, request, self._watching, self._shape)
        return session

    def close(self) -> None:
        """Release what the graph's nodes share; after the last run."""
        self._graph.close()


def _pace() -> Pace:
    """Of turns. An inference in one is short, or it would not be in it; the rest is
    Python, which keeps the interpreter from all threads in whichever it runs, up to the
    5 ms after which it changes hands. So a third of that is short: what goes to a thread
    of the pool and back is two fifths more, on a busy machine. One turn that was long
    says more than one that was not: processor time is not disturbed.
    """
    return Pace(faster=1 / 8, slower=1 / 4, most=32 * SHORT, short=8 * SHORT)


class _UnaryRun:
    """One unary request; a RunListener, so its methods run on the strand."""

    def __init__(
        self,
        interface: GraphInterface,
        request: InferRequest,
        metrics: Metrics,
        answers: Answers,
    ) -> None:
        self._name = interface.name
        self._answers = answers
        self._interface = interface
        self._request = request
        self._metrics = metrics
        self._started = time.perf_counter()
        self._is_accepted = False
        self._boundary: Boundary | None = None
        self._first: dict[int, Packet] = {}

    def start(
        self,
        run: GraphRun,
        side_packets: Mapping[str, object],
        watched: Watched | None,
    ) -> Pending[InferResponse]:
        """Post the whole life of the run."""
        self._run = run
        self._watched = watched
        if watched is not None:
            run.watch(watched.sink, watched.number)
            self._boundary = Boundary(watched.sink, watched.number)
        pending: Pending[InferResponse] = Pending(run.cancel)
        self._pending = pending
        self._metrics.graph_opened(self._name)
        is_light = boundary.is_light(self._request)
        run.post(lambda: self._live(side_packets), is_light=is_light)
        return pending

    def _live(self, side_packets: Mapping[str, object]) -> None:
        """Open the nodes, feed what there is, and say that it is all."""
        self._run.start(side_packets)
        if not self._run.errors:
            self._feed()

    def _feed(self) -> None:
        request, begun = self._request, time.perf_counter_ns()
        try:
            timestamp = timestamp_of(request) or 0
            count = 0
            for stream, packet in self._interface.packets(request, timestamp):
                self._run.feed(stream, packet, is_last=True)
                count += 1
            if count < self._interface.input_count:
                details = "Not all input packets created"
                raise ServingError(Status.INVALID_NO_OF_INPUTS, details)
        except ServingError as error:
            self._run.fail(error)
            return
        self._is_accepted = True
        if self._boundary is not None:
            self._boundary.entered(timestamp, self._started, begun)
        self._metrics.graph_requests_accepted(self._name, request.interface, _METHOD)
        self._run.close_inputs()

    def packet(self, output: int, packet: Packet) -> None:
        """RunListener: later packets of a stream are dropped, as in OVMS."""
        self._first.setdefault(output, packet)

    def settled(self, *, has_room: bool) -> None:
        """RunListener."""

    def finished(self, error: ServingError | None) -> None:
        """RunListener."""
        self._metrics.graph_closed(self._name)
        if self._watched is not None:
            self._watched.over(self._watched.number)
        pending = self._pending
        try:
            response = self._response(error)
        except ServingError as refusal:
            self._count_failure(refusal)
            pending.fail(refusal)
            return
        finally:
            # The run and this know each other, and are rubbish that is found some time
            # later; what was asked and answered may be large.
            self._request = self._request._replace(inputs=())
            self._first = {}
            del self._pending
        seconds = time.perf_counter() - self._started
        self._metrics.graph_responses(self._name, self._request.interface, _METHOD)
        self._metrics.graph_processing_time(self._name, _METHOD, seconds)
        self._answers.answered(self._started)
        pending.complete(response)

    def _response(self, error: ServingError | None) -> InferResponse:
        if error is not None:
            raise error
        names = self._interface.output_names
        missing = [name for n, name in enumerate(names) if n not in self._first]
        if missing:
            details = (
                "Unknown error during mediapipe execution: no packet on output stream "
                + ", ".join(f'"{name}"' for name in missing)
            )
            raise ServingError(Status.MEDIAPIPE_EXECUTION_ERROR, details)
        request, packets = self._request, sorted(self._first.items())
        response = self._interface.response(packets, request.id)
        return self._interface.chosen(response, request.outputs)

    def _count_failure(self, error: ServingError) -> None:
        labels = (self._name, self._request.interface, _METHOD)
        if error.status is not Status.CANCELLED:
            self._answers.refused(self._started)
        else:
            self._metrics.graph_cancelled(*labels)
        if not self._is_accepted:
            self._metrics.graph_requests_rejected(*labels)
        elif error.status is not Status.CANCELLED:
            self._metrics.graph_error(*labels)
