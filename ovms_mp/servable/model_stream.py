"""One stream on a model: requests are inferred as far as there is room, and answered in
their order. OVMS has streams for graphs only.
"""

from __future__ import annotations

import logging
from collections import deque
from time import perf_counter
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from ovms_mp.core.errors import ServingError, Status
from ovms_mp.core.strand import Strand, inline
from ovms_mp.servable.admission import Admission
from ovms_mp.servable.parameters import TIMESTAMP
from ovms_mp.servable.stream_rules import FIRST, SUBSEQUENT, Clock, check_subsequent
from ovms_mp.servable.watching import Boundary, Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ovms_mp.core.happenings import Shape
    from ovms_mp.core.messages import InferRequest, InferResponse
    from ovms_mp.core.pending import Pending
    from ovms_mp.core.stream_policy import StreamPolicy
    from ovms_mp.core.timestamp import Timestamp
    from ovms_mp.servable.base import StreamSink
    from ovms_mp.servable.streams import Lifetime
    from ovms_mp.servable.watching import Watching

log: Final = logging.getLogger(__name__)

Infer: TypeAlias = "Callable[[InferRequest], Pending[InferResponse]]"


class _Arrival(NamedTuple):
    request: InferRequest
    note: str
    at: float


class _Flight(NamedTuple):
    request: InferRequest
    timestamp: Timestamp
    answer: Pending[InferResponse]
    since: float


class ModelStream:
    """A StreamSession and an OpenStream. A request that does not fit, and an inference
    that fails, is an error of that request alone.

    `infer` is asked in the order of requests; with a state it keeps that order itself.
    What happens is one after the other, in whichever thread comes with it.
    """

    def __init__(
        self,
        version: str,
        infer: Infer,
        sink: StreamSink,
        *,
        policy: StreamPolicy,
        lifetime: Lifetime,
    ) -> None:
        self._versions = ("", "0", version)
        self._infer = infer
        self._sink = sink
        self._send: Callable[[InferResponse], object] = self._send_first
        self._lifetime = lifetime
        self._clock = Clock()
        self._admission: Admission[_Arrival] = Admission(policy)
        self._flights: deque[_Flight] = deque()
        self._strand = Strand(inline, self._turn)
        self._owes_room = False
        self._is_held = False
        self._is_closing = False
        self._is_over = False
        self._too_old: ServingError | None = None
        self._boundary: Boundary | None = None

    def open(self, first: InferRequest, watching: Watching, shape: Shape) -> None:
        """Take the first request."""
        self._name = shape.graph
        self._watching = watching
        number = self._number = watching.opened(shape, self)
        self._lifetime.when_over(lambda: watching.closed(number))
        if watching.is_watched(self._name):
            self.watched()
        arrival = _Arrival(first, FIRST, perf_counter())
        self._strand.post(lambda: self._arrive(arrival))
        self._lifetime.begin(
            lambda: self._strand.post(self._check_idle),
            lambda error: self._strand.post(lambda: self._grow_old(error)),
        )

    def feed(self, request: InferRequest) -> None:
        """See StreamSession."""
        arrival = _Arrival(request, SUBSEQUENT, perf_counter())
        self._strand.post(lambda: self._arrive(arrival))

    def half_close(self) -> None:
        """See StreamSession."""
        self._strand.post(self._close)

    def cancel(self) -> None:
        """See StreamSession."""
        self._lifetime.cancelled()
        self._strand.post(self._drop)

    def hold(self) -> None:
        """See StreamSession."""
        self._is_held = True

    def release(self) -> None:
        """See StreamSession."""
        self._is_held = False
        self._strand.post(_nothing)

    def progress(self) -> Progress:
        """See OpenStream."""
        flights = tuple(self._flights)
        oldest = flights[0].since if flights else None
        return Progress(len(self._admission.waiting), len(flights), oldest)

    def queues(self) -> Sequence[Mapping[str, int]]:
        """See OpenStream."""
        return ()

    def watched(self) -> None:
        """See OpenStream."""
        self._strand.post(self._watch)

    def _watch(self) -> None:
        sink = self._watching.sink(self._name)
        self._boundary = None if sink is None else Boundary(sink, self._number)

    def _turn(self, call: Callable[[], object]) -> None:
        if self._is_over:
            return
        try:
            call()
            self._go_on()
        except Exception:
            log.exception("a stream on model %s failed", self._name)
            self._drop()
            self._sink.finished(ServingError(Status.INTERNAL_ERROR))

    def _go_on(self) -> None:
        """Answer what is inferred, infer what waits, say what there is room for."""
        flights, waiting = self._flights, self._admission.waiting
        while flights and flights[0].answer.is_settled and not self._is_over:
            self._answer(flights.popleft())
        while waiting and self._may_enter():
            self._start(waiting.popleft())
        while (given_up := self._admission.overflow(len(flights))) is not None:
            self._lifetime.dropped()
            self._sink.error(self._admission.refusal, given_up.request)
        if self._is_closing:
            if not (flights or waiting or self._is_over):
                self._finish(self._too_old)
        elif self._owes_room and self._admission.has_room(may_enter=self._may_enter()):
            self._owes_room = False
            self._sink.room()

    def _may_enter(self) -> bool:
        return not self._is_held and self._admission.may_enter(len(self._flights))

    def _arrive(self, arrival: _Arrival) -> None:
        self._lifetime.touch()
        self._owes_room = True
        try:
            if arrival.note is SUBSEQUENT:
                check_subsequent(arrival.request, self._name, self._versions)
            if self._too_old is not None:
                raise self._too_old
        except ServingError as error:
            self._sink.error(error, arrival.request)
        else:
            self._admission.waiting.append(arrival)

    def _start(self, arrival: _Arrival) -> None:
        request = arrival.request
        try:
            timestamp = self._clock.timestamp(request)
            answer = self._ask(request, timestamp, arrival.at)
        except ServingError as error:
            refusal = ServingError(error.status, error.details, note=arrival.note)
            self._sink.error(refusal, request)
            return
        self._clock.used(timestamp)
        self._flights.append(_Flight(request, timestamp, answer, perf_counter()))
        answer.on_settled(lambda _: self._strand.post(_nothing))

    def _ask(
        self, request: InferRequest, timestamp: Timestamp, arrival: float
    ) -> Pending[InferResponse]:
        if self._boundary is None:
            return self._infer(request)
        return self._boundary.asks(timestamp, arrival, lambda: self._infer(request))

    def _answer(self, flight: _Flight) -> None:
        self._lifetime.touch()
        error = flight.answer.error
        if error is None:
            response = flight.answer.value()
            parameters = {**response.parameters, TIMESTAMP: flight.timestamp}
            self._respond(response._replace(parameters=parameters), flight.timestamp)
        elif isinstance(error, ServingError):
            self._sink.error(error, flight.request)
        else:
            self._sink.error(ServingError(Status.CANCELLED), flight.request)

    def _respond(self, response: InferResponse, timestamp: Timestamp) -> None:
        if self._boundary is None:
            self._send(response)
        else:
            self._boundary.responds(timestamp, lambda: self._send(response))

    def _send_first(self, response: InferResponse) -> None:
        self._lifetime.answered()
        self._send = self._sink.response
        self._send(response)

    def _close(self) -> None:
        self._is_closing = True

    def _check_idle(self) -> None:
        is_busy = bool(self._flights or self._admission.waiting)
        error = self._lifetime.check(is_busy=is_busy)
        if error is not None:
            self._drop()
            self._sink.finished(error)

    def _grow_old(self, error: ServingError) -> None:
        """Take no more; what is being inferred is answered."""
        self._too_old = error
        for arrival in self._admission.waiting:
            self._sink.error(error, arrival.request)
        self._admission.waiting.clear()
        self._is_closing = True

    def _drop(self) -> None:
        self._is_over = True
        for flight in self._flights:
            flight.answer.cancel()
        self._flights.clear()
        self._admission.waiting.clear()
        self._lifetime.end()

    def _finish(self, error: ServingError | None) -> None:
        self._is_over = True
        self._lifetime.end()
        self._sink.finished(error)


def _nothing() -> None:
    """What is posted when something has changed: the turn itself is the point."""
