"""One stream on a graph: requests become packets, packets become responses, and what
one side cannot take holds the other back.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from ovms_mp.core.errors import ServingError, Status
from ovms_mp.core.timestamp import is_range_value
from ovms_mp.servable.interface import VERSION
from ovms_mp.servable.parameters import timestamp_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ovms_mp.core.messages import InferRequest
    from ovms_mp.core.packet import Packet
    from ovms_mp.core.timestamp import Timestamp
    from ovms_mp.graph.run import GraphRun
    from ovms_mp.servable.base import StreamSink
    from ovms_mp.servable.interface import GraphInterface
    from ovms_mp.telemetry.metrics import Metrics

METHOD: Final = "ModelInferStream"
"""OVMS's label for ModelStreamInfer in metrics, spelt unlike the RPC."""

# Requests that are remembered at a time: more than any graph has in it, and few enough
# to cost nothing where a graph answers only some.
_MAX_ARRIVALS: Final = 1024

_FIRST: Final = "partial deserialization of first request"
_SUBSEQUENT: Final = "partial deserialization of subsequent requests"
_VALIDATE: Final = "validate subsequent requests"


class GraphSession:
    """A StreamSession, and the RunListener of its run.

    What the client sends is judged on the run's strand, in order. A request that does
    not fit is reported and the stream lives on; inputs of it that came before the fault
    stay in the graph (`ovms_mp` and OVMS alike).
    """

    def __init__(
        self, name: str, interface: GraphInterface, sink: StreamSink, metrics: Metrics
    ) -> None:
        self._name = name
        self._interface = interface
        self._sink = sink
        self._metrics = metrics
        self._started = time.perf_counter()
        self._asked = _Asked(name, metrics)
        self._next_timestamp = 0
        self._owes_room = False
        self._is_cancelled = False

    def open(
        self, run: GraphRun, side_packets: Mapping[str, object], request: InferRequest
    ) -> None:
        """Start the run and feed it the first request."""
        self._run = run
        self._label = request.interface
        self._metrics.graph_opened(self._name)
        run.post(lambda: run.start(side_packets))
        run.post(lambda: self._accept(request, _FIRST, self._started))

    def feed(self, request: InferRequest) -> None:
        """See StreamSession."""
        arrival = time.perf_counter()
        self._run.post(lambda: self._accept_subsequent(request, arrival))

    def half_close(self) -> None:
        """See StreamSession."""
        self._run.post(self._close_inputs)

    def cancel(self) -> None:
        """See StreamSession."""
        self._is_cancelled = True
        self._run.cancel()

    def hold(self) -> None:
        """See StreamSession."""
        self._run.hold()

    def release(self) -> None:
        """See StreamSession."""
        self._run.release()

    def _close_inputs(self) -> None:
        self._owes_room = False
        self._run.close_inputs()

    def _accept_subsequent(self, request: InferRequest, arrival: float) -> None:
        if request.model_name != self._name:
            status = Status.MEDIAPIPE_INCORRECT_SERVABLE_NAME
            self._refuse(request, ServingError(status, note=_VALIDATE))
        elif request.model_version not in {"", "0", VERSION}:
            status = Status.MEDIAPIPE_INCORRECT_SERVABLE_VERSION
            self._refuse(request, ServingError(status, note=_VALIDATE))
        else:
            self._accept(request, _SUBSEQUENT, arrival)

    def _accept(self, request: InferRequest, note: str, arrival: float) -> None:
        self._owes_room = True
        try:
            timestamp = self._timestamp(request)
            for stream, packet in self._interface.packets(request, timestamp):
                # Once a part is in the graph the timestamp is used up, even if the rest
                # is refused: the next request would be out of order.
                self._next_timestamp = timestamp + 1
                self._run.feed(stream, packet)
        except ServingError as error:
            refusal = ServingError(error.status, error.details, note=note)
            self._refuse(request, refusal)
            return
        self._next_timestamp = timestamp + 1
        self._asked.arrived(timestamp, request.id, arrival)
        self._metrics.graph_requests_accepted(self._name, self._label, METHOD)

    def _timestamp(self, request: InferRequest) -> int:
        """The client's timestamp, or the next of 0, 1, 2, … (a client's re-bases it)."""
        chosen = timestamp_of(request)
        if chosen is not None:
            return chosen
        if not is_range_value(self._next_timestamp):
            details = "the automatic timestamp has reached the end of time"
            raise ServingError(Status.MEDIAPIPE_INVALID_TIMESTAMP, details)
        return self._next_timestamp

    def _refuse(self, request: InferRequest, error: ServingError) -> None:
        self._owes_room = True
        self._metrics.graph_requests_rejected(self._name, self._label, METHOD)
        self._sink.error(error, request)

    def packet(self, output: int, packet: Packet) -> None:
        """RunListener: each packet is a response of its own, as in OVMS."""
        if self._is_cancelled:
            return
        try:
            asked = self._asked.id_of(packet.timestamp)
            response = self._interface.response([(output, packet)], asked)
        except ServingError as error:
            self._run.fail(error)
            return
        self._metrics.graph_responses(self._name, self._label, METHOD)
        self._asked.answered(packet.timestamp)
        self._sink.response(response)

    def settled(self, *, has_room: bool) -> None:
        """RunListener: one request may come for each that was taken."""
        if self._owes_room and has_room and not self._is_cancelled:
            self._owes_room = False
            self._sink.room()

    def finished(self, error: ServingError | None) -> None:
        """RunListener."""
        self._metrics.graph_closed(self._name)
        if self._is_cancelled:
            return
        if error is None:
            seconds = time.perf_counter() - self._started
            self._metrics.graph_processing_time(self._name, METHOD, seconds)
        else:
            self._metrics.graph_error(self._name, self._label, METHOD)
        self._sink.finished(error)


class _Asked:
    """What is remembered of a request for its answers, which have its timestamp: the id,
    if it has one, and when it arrived, if anybody wants to know how long they take.
    """

    def __init__(self, name: str, metrics: Metrics) -> None:
        self._name = name
        self._metrics = metrics
        self._requests: dict[Timestamp, tuple[str, float]] = {}

    def arrived(self, timestamp: Timestamp, request_id: str, arrival: float) -> None:
        if not request_id and not self._metrics.measures_latency:
            return
        self._requests[timestamp] = request_id, arrival
        if len(self._requests) > _MAX_ARRIVALS:
            del self._requests[next(iter(self._requests))]

    def id_of(self, timestamp: Timestamp) -> str:
        """The id of the request at this timestamp; empty if there was none."""
        request = self._requests.get(timestamp)
        return request[0] if request is not None else ""

    def answered(self, timestamp: Timestamp) -> None:
        request = self._requests.get(timestamp)
        if request is not None and self._metrics.measures_latency:
            seconds = time.perf_counter() - request[1]
            self._metrics.graph_request_latency(self._name, METHOD, seconds)
