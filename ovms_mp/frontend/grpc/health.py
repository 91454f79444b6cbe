"""grpc.health.v1 tells what the catalog says at the moment of asking."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Final

from ovms_mp_protos import kserve

from ovms_mp.core.errors import ServingError
from ovms_mp.frontend.grpc.catalog import Catalog
from ovms_mp.frontend.grpc.codec import parse
from ovms_mp.frontend.grpc.inference import guarded
from ovms_mp.frontend.grpc.status import outcome_of
from ovms_mp.frontend.grpc.wire import MalformedMessage
from ovms_mp.frontend.transport.seam import (
    Abort,
    Call,
    Code,
    Session,
    StreamCall,
    UnaryHandler,
)

_SERVING: Final = kserve.HealthCheckResponse.SERVING
_NOT_SERVING: Final = kserve.HealthCheckResponse.NOT_SERVING
_SERVICE_UNKNOWN: Final = kserve.HealthCheckResponse.SERVICE_UNKNOWN


class HealthService:
    """Health of the server, by the empty name or that of a gRPC service, and of each
    servable by its own.

    Watchers learn of a change when `notify` is called.
    """

    def __init__(self, catalog: Catalog, services: tuple[str, ...]) -> None:
        self._catalog = catalog
        self._names_of_server = frozenset(("", *services))
        self._lock = threading.Lock()
        self._watches: set[HealthWatch] = set()
        self._is_closed = False

    def handlers(self) -> Mapping[str, UnaryHandler]:
        """The unary methods by their paths."""
        return {
            kserve.HEALTH_CHECK: guarded(self.check),
            kserve.HEALTH_LIST: guarded(self.list),
        }

    def check(self, message: bytes, call: Call) -> bytes:
        """One status. Aborts with NOT_FOUND for a name that nothing has."""
        name = parse(kserve.HealthCheckRequest, message).service
        status = self.status_of(name)
        if status is None:
            raise Abort(Code.NOT_FOUND, "unknown service")
        return kserve.HealthCheckResponse(status=status).SerializeToString()

    def list(self, message: bytes, call: Call) -> bytes:
        """The server's status, and that of every servable."""
        parse(kserve.HealthListRequest, message)
        response = kserve.HealthListResponse()
        for name in ("", *self._catalog.names()):
            status = self.status_of(name)
            if status is not None:
                response.statuses[name].status = status
        return response.SerializeToString()

    def watch(self) -> HealthWatch:
        """The session of one Watch call."""
        return HealthWatch(self)

    def notify(self) -> None:
        """Something in the catalog may have changed. From any thread; does not block
        longer than the catalog takes to answer.
        """
        with self._lock:
            watches = tuple(self._watches)
        for each in watches:
            each.look()

    def close(self) -> None:
        """The server stops: from now on nothing is SERVING, and every Watch ends. One
        that went on would keep the server for as long as it gives its calls.
        """
        self._is_closed = True
        self.notify()
        with self._lock:
            watches = tuple(self._watches)
        for each in watches:
            each.end()

    def status_of(self, name: str) -> int | None:
        """SERVING or NOT_SERVING, or None for a name that nothing has."""
        if self._is_closed:
            return _NOT_SERVING
        if name in self._names_of_server:
            return _SERVING if self._catalog.is_ready else _NOT_SERVING
        try:
            is_ready = self._catalog.is_servable_ready(name, "")
        except ServingError as error:
            is_unknown = outcome_of(error).code is Code.NOT_FOUND
            return None if is_unknown else _NOT_SERVING
        return _SERVING if is_ready else _NOT_SERVING

    def add(self, watch: HealthWatch) -> None:
        """Let `notify` reach `watch`."""
        with self._lock:
            self._watches.add(watch)

    def discard(self, watch: HealthWatch) -> None:
        """The opposite of `add`; nothing if `watch` is not there."""
        with self._lock:
            self._watches.discard(watch)


class HealthWatch(Session):
    """One Watch call: the status now, and then each other one.

    While one is being written no other is: a client that reads slowly misses what did
    not last.
    """

    def __init__(self, service: HealthService) -> None:
        self._service = service
        self._name: str | None = None
        self._lock = threading.Lock()
        self._must_look = False
        self._is_busy = False
        self._is_ending = False
        self._told: int | None = None

    def on_open(self, call: StreamCall) -> None:
        """Read the request."""
        self._call = call
        call.request_next()

    def on_message(self, message: bytes) -> None:
        """Watch what the request names."""
        try:
            self._name = parse(kserve.HealthCheckRequest, message).service
        except MalformedMessage as error:
            self._call.finish(*outcome_of(error))
            return
        self._service.add(self)
        self.look()

    def on_half_close(self) -> None:
        """A Watch outlives its request, but not the lack of one."""
        if self._name is None:
            self._call.finish(Code.INVALID_ARGUMENT, "no request")

    def on_cancel(self) -> None:
        """Nobody listens any more."""
        self._service.discard(self)

    def end(self) -> None:
        """End the call once the last status is told."""
        with self._lock:
            self._is_ending = True
            if self._is_busy:
                return  # who tells it ends the call
        self._finish()

    def look(self) -> None:
        """Tell the status if it is another one than before."""
        with self._lock:
            self._must_look = True
            if self._is_busy:
                return
            self._is_busy = True
        self._tell()

    def _tell(self) -> None:
        while True:
            with self._lock:
                if not self._must_look:
                    self._is_busy = False
                    is_ending = self._is_ending
                    break
                self._must_look = False
            status = self._service.status_of(self._name or "")
            if status is None:
                status = _SERVICE_UNKNOWN
            if status != self._told:
                self._told = status
                response = kserve.HealthCheckResponse(status=status)
                self._call.write(response.SerializeToString(), self._written)
                return  # busy until it is written, or for ever if it cannot be
        if is_ending:
            self._finish()

    def _finish(self) -> None:
        self._call.finish(Code.UNAVAILABLE, "the server stops")

    def _written(self, is_sent: bool) -> None:
        if is_sent:
            self._tell()
