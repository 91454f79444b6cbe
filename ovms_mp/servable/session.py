"""One stream on a graph: requests become packets, packets become responses, and what
one side cannot take holds the other back.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from ovms_mp.core.errors import ServingError
from ovms_mp.core.tuples import make
from ovms_mp.servable import boundary
from ovms_mp.servable.admission import Admission
from ovms_mp.servable.description import VERSION
from ovms_mp.servable.flights import Collected, Flights
from ovms_mp.servable.stream_rules import FIRST, SUBSEQUENT, Clock, check_subsequent
from ovms_mp.servable.watching import Boundary, Progress
from ovms_mp.telemetry.values import MICROSECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ovms_mp.core.happenings import Shape
    from ovms_mp.core.messages import InferRequest, InferResponse
    from ovms_mp.core.packet import Packet
    from ovms_mp.core.stream_policy import StreamPolicy
    from ovms_mp.core.timestamp import Timestamp
    from ovms_mp.library.hosting import GraphRun
    from ovms_mp.servable.base import StreamSink
    from ovms_mp.servable.interface import GraphInterface
    from ovms_mp.servable.statistics import Answers
    from ovms_mp.servable.streams import Lifetime
    from ovms_mp.servable.watching import Watching
    from ovms_mp.telemetry.metrics import Metrics

METHOD: Final = "ModelInferStream"
"""OVMS's label for ModelStreamInfer in metrics, spelt unlike the RPC."""


class _Arrival(NamedTuple):
    request: InferRequest
    note: str
    """What is said of it if it does not fit."""
    at: float


class GraphSession:
    """A StreamSession and an OpenStream, and the BoundListener of its run.

    What the client sends becomes packets on the run's strand, in order. A request that
    does not fit is reported and the stream lives on; inputs of it that came before the
    fault stay in the graph (`ovms_mp` and OVMS alike).
    """

    def __init__(
        self,
        interface: GraphInterface,
        sink: StreamSink,
        metrics: Metrics,
        policy: StreamPolicy,
        lifetime: Lifetime,
        *,
        answers: Answers,
    ) -> None:
        self._answers = answers
        self._name = interface.name
        self._interface = interface
        self._sink = sink
        self._send: Callable[[InferResponse], object] = self._send_first
        self._enter = self._accept
        self._answer = self._respond
        self._metrics = metrics
        self._started = time.perf_counter()
        self._clock = Clock()
        self._flights = Flights(len(interface.output_names))
        self._collected = Collected() if policy.coalesce else None
        self._admission: Admission[_Arrival] = Admission(policy)
        self._lifetime = lifetime
        self._lock = threading.Lock()
        """Of what waits: clients are read while the run works."""
        self._is_entering = False
        self._owes_room = False
        self._has_room = True
        self._is_closing = False
        self._is_cancelled = False
        self._too_old: ServingError | None = None

    def open(
        self,
        run: GraphRun,
        side_packets: Mapping[str, object],
        request: InferRequest,
        watching: Watching,
        shape: Shape,
    ) -> None:
        """Start the run and feed it the first request."""
        self._run = run
        self._watching = watching
        self._number = watching.opened(shape, self)
        if watching.sink(self._name) is not None:
            self.watched()
        self._label = request.interface
        self._meter = self._metrics.graph(self._name, self._label, METHOD)
        self._metrics.graph_opened(self._name)
        run.post(lambda: run.start(side_packets))
        first = _Arrival(request, FIRST, self._started)
        self._arrive(first)
        self._lifetime.begin(
            lambda: run.post(self._check_idle),
            lambda error: run.post(lambda: self._grow_old(error)),
        )

    def feed(self, request: InferRequest) -> None:
        """See StreamSession. A request that cannot be is refused here, and one that has
        to give way gives way, whatever the graph is busy with.
        """
        arrival = make(_Arrival, (request, SUBSEQUENT, time.perf_counter()))
        try:
            check_subsequent(request, self._name, ("", "0", VERSION))
        except ServingError as error:
            self._lifetime.touch()
            self._refuse(request, error)
            self._make_room(is_light=True)
        else:
            self._arrive(arrival)

    def half_close(self) -> None:
        """See StreamSession."""
        self._run.post(self._close_inputs)

    def cancel(self) -> None:
        """See StreamSession."""
        self._is_cancelled = True
        self._lifetime.cancelled()
        self._run.cancel()

    def hold(self) -> None:
        """See StreamSession."""
        self._run.hold()

    def release(self) -> None:
        """See StreamSession."""
        self._run.release()

    def progress(self) -> Progress:
        """See OpenStream."""
        flights = self._flights
        return Progress(len(self._admission.waiting), len(flights), flights.oldest)

    def queues(self) -> Sequence[Mapping[str, int]]:
        """See OpenStream."""
        return [node.queues for node in self._run.status()]

    def watched(self) -> None:
        """See OpenStream."""
        self._run.post(self._watch)

    def _watch(self) -> None:
        sink, number = self._watching.sink(self._name), self._number
        self._run.watch(sink, number)
        if sink is None:
            self._enter, self._answer = self._accept, self._respond
            return
        boundary = Boundary(sink, number)

        def enter(request: InferRequest, note: str, arrival: float) -> Timestamp | None:
            begun = time.perf_counter_ns()
            timestamp = self._accept(request, note, arrival)
            if timestamp is not None:
                boundary.entered(timestamp, arrival, begun)
            return timestamp

        def answer(packets: Sequence[tuple[int, Packet]]) -> None:
            at = packets[0][1].timestamp
            boundary.responds(at, lambda: self._respond(packets))

        self._enter, self._answer = enter, answer

    def _close_inputs(self) -> None:
        """When those that wait have entered."""
        self._is_closing = True
        self._owes_room = False
        if not self._admission.waiting:
            self._run.close_inputs()

    def _arrive(self, arrival: _Arrival) -> None:
        self._lifetime.touch()
        if self._admission.is_patient:
            self._admission.waiting.append(arrival)
        else:
            self._arrive_among(arrival)
        self._make_room(is_light=boundary.is_light(arrival.request))

    def _arrive_among(self, arrival: _Arrival) -> None:
        """Somebody may have to give way."""
        admission = self._admission
        given_up: list[_Arrival] = []
        with self._lock:
            admission.waiting.append(arrival)
            while (one := admission.overflow(self._under_way())) is not None:
                given_up.append(one)
        for each in given_up:
            self._lifetime.dropped()
            self._refuse(each.request, admission.refusal)

    def _make_room(self, *, is_light: bool) -> None:
        """Where clients do not wait they are read on, whatever the graph is busy with;
        where they do, the run says when.
        """
        if self._admission.is_patient:
            self._owes_room = True
        else:
            self._sink.room()
        self._run.post(self._admit, is_light=is_light)

    def _under_way(self) -> int:
        return len(self._flights) + self._is_entering

    def _may_enter(self) -> bool:
        return self._has_room and self._admission.may_enter(len(self._flights))

    def _admit(self) -> None:
        """Let the first that waits in. One at a time: the run says after each whether it
        has room for another.
        """
        waiting = self._admission.waiting
        with self._lock:
            if not waiting or not self._may_enter():
                return
            arrival = waiting.popleft()
            self._is_entering = True
        if self._too_old is None:
            self._enter(*arrival)
        else:
            self._refuse(arrival.request, self._too_old)
        self._is_entering = False
        if self._is_closing and not waiting:
            self._run.close_inputs()

    def _accept(
        self, request: InferRequest, note: str, arrival: float
    ) -> Timestamp | None:
        """At which timestamp it is in the graph; None if it is refused."""
        try:
            timestamp = self._clock.timestamp(request)
            for stream, packet in self._interface.packets(request, timestamp):
                # Once a part is in the graph the timestamp is used up, even if the rest
                # is refused: the next request would be out of order.
                self._clock.used(timestamp)
                self._run.feed(stream, packet)
        except ServingError as error:
            self._refuse(request, ServingError(error.status, error.details, note=note))
            return None
        self._clock.used(timestamp)
        self._flights.depart(timestamp, request.id, arrival)
        self._meter.accepted.inc()
        return timestamp

    def _refuse(self, request: InferRequest, error: ServingError) -> None:
        self._answers.refused()
        self._metrics.graph_requests_rejected(self._name, self._label, METHOD)
        self._sink.error(error, request)

    def packet(self, output: int, packet: Packet) -> None:
        """RunListener: each packet is a response of its own, as in OVMS, unless those
        of a timestamp are to be one.
        """
        if self._is_cancelled:
            return
        has_landed = self._flights.settled(output, packet.timestamp)
        if self._collected is None:
            self._answer([(output, packet)])
        else:
            self._collected.add(output, packet)
        if has_landed:
            self._land()

    def bound(self, output: int, timestamp: Timestamp) -> None:
        """BoundListener."""
        if self._flights.settled(output, timestamp):
            self._land()

    def _land(self) -> None:
        flights = self._flights
        self._complete(flights.through)
        flights.land()

    def _complete(self, through: Timestamp | None) -> None:
        """Send what is collected."""
        if self._collected is not None and not self._is_cancelled:
            for packets in self._collected.take(through):
                self._answer(packets)

    def _respond(self, packets: Sequence[tuple[int, Packet]]) -> None:
        self._lifetime.touch()
        timestamp = packets[0][1].timestamp
        request_id, arrival = self._flights.at(timestamp)
        try:
            response = self._interface.response(packets, request_id)
        except ServingError as error:
            self._run.fail(error)
            return
        self._meter.responses.inc()
        self._answers.answered(arrival)
        latency = self._meter.latency
        if arrival is not None and latency is not None:
            latency.observe((time.perf_counter() - arrival) * MICROSECONDS)
        self._send(response)

    def _send_first(self, response: InferResponse) -> None:
        self._lifetime.answered()
        self._send = self._sink.response
        self._send(response)

    def settled(self, *, has_room: bool) -> None:
        """RunListener: one request may come for each that was taken or refused."""
        if self._is_cancelled:
            return
        self._has_room = has_room
        flights, admission = self._flights, self._admission
        if flights and self._run.is_idle:
            flights.rest()
        may_enter = has_room and admission.may_enter(len(flights))
        if may_enter and admission.waiting:
            self._run.post(self._admit)
        elif self._owes_room and admission.has_room(may_enter=may_enter):
            self._owes_room = False
            self._sink.room()

    def _check_idle(self) -> None:
        # A generation goes on when what it began with has been answered.
        is_at_work = not (self._run.is_idle or self._run.is_held)
        is_busy = len(self._flights) > 0 or bool(self._admission.waiting)
        error = self._lifetime.check(is_busy=is_busy or is_at_work)
        if error is not None:
            self._run.fail(error)

    def _grow_old(self, error: ServingError) -> None:
        """Take no more, and let out what is in the graph, for a while."""
        self._too_old = error
        self._lifetime.last_orders(
            lambda: self._run.post(lambda: self._run.fail(error))
        )
        with self._lock:
            waiting = [*self._admission.waiting]
            self._admission.waiting.clear()
        for arrival in waiting:
            self._refuse(arrival.request, error)
        self._close_inputs()

    def finished(self, error: ServingError | None) -> None:
        """RunListener."""
        self._metrics.graph_closed(self._name)
        self._lifetime.end()
        self._watching.closed(self._number)
        if self._is_cancelled:
            return
        self._complete(None)
        error = error or self._too_old
        if error is None:
            seconds = time.perf_counter() - self._started
            self._metrics.graph_processing_time(self._name, METHOD, seconds)
        else:
            self._metrics.graph_error(self._name, self._label, METHOD)
        self._sink.finished(error)
