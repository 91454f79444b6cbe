"""The transport on grpcio's C core: a polling thread of our own with a completion queue,
and no hand-over between threads for what is answered at once.

It stands on the private module `grpc._cython.cygrpc`: see `core_call` for the rules that
are kept, and `core_check` for how it is found out that they still hold.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final

from grpc._cython import cygrpc

from ovms_mp.frontend.transport.call import CATCH_UP_SECONDS, late, unknown
from ovms_mp.frontend.transport.core_call import Keeper
from ovms_mp.frontend.transport.core_poller import MakeCall, Poller
from ovms_mp.frontend.transport.core_stream import Limits, StreamCall
from ovms_mp.frontend.transport.core_unary import UnaryCall
from ovms_mp.frontend.transport.credentials import configuration, fetching
from ovms_mp.frontend.transport.listening import (
    ensure_nobody_answers,
    listening_error,
)
from ovms_mp.frontend.transport.options import (
    RECEIVE_BYTES,
    SEND_LIMIT,
    channel_arguments,
)
from ovms_mp.frontend.transport.seam import Handler, Tls, Unary

log = logging.getLogger(__name__)

# A second one fights the first for the interpreter: with 16 requests in flight to a model
# that is short, each cost 1.25 times the processor that it costs with one.
POLLERS: Final = 1
"""Polling threads, unless told otherwise."""

SLOTS: Final = 16
"""Calls that a poller lets the core hand over at once."""

HAS_RESERVED: Final = hasattr(cygrpc.Server, "request_registered_call")
"""Whether methods can have a queue of their own: grpcio 1.70 and later."""


class CoreServer:
    """Serves `routes`, which map `/package.Service/Method` to handlers. See
    `seam.Server`.

    `is_reserved` methods have a queue and a thread of their own, so that no other
    handler delays them; where grpcio is older than 1.70 they share, and the log says so.

    `addresses`, `options` and `tls` are as in `aio.AioServer`. A handler holds one of
    `pollers` threads while it runs, and the calls that the core has given to that thread
    wait for it.

    Raises OSError naming the address that cannot be listened on.
    """

    def __init__(
        self,
        routes: Mapping[str, Handler],
        addresses: Sequence[str],
        *,
        max_receive_bytes: int = RECEIVE_BYTES,
        max_send_bytes: int | None = None,
        send_limit: int = SEND_LIMIT,
        options: Sequence[tuple[str, str | int]] = (),
        tls: Tls | None = None,
        pollers: int = POLLERS,
    ) -> None:
        arguments = channel_arguments(max_receive_bytes, options)
        self._core = cygrpc.Server(
            [(name.encode(), _encoded(value)) for name, value in arguments.items()],
            False,
        )
        self._pollers = self._made(routes, pollers, send_limit, max_send_bytes)
        for poller in self._pollers:
            self._core.register_completion_queue(poller.queue)
        self._lock = threading.Lock()
        self._is_started = False
        self._is_shut_down = threading.Event()
        self._stopping: threading.Thread | None = None
        try:
            self._ports = tuple([self._listen(address, tls) for address in addresses])
        except OSError:
            self.stop()
            raise

    @property
    def ports(self) -> tuple[int, ...]:
        """See `seam.Server`."""
        return self._ports

    @property
    def calls_in_flight(self) -> int:
        """See `seam.Server`."""
        return sum(poller.open_calls for poller in self._pollers)

    def start(self) -> None:
        """See `seam.Server`."""
        with self._lock:
            if self._is_started:
                return
            self._is_started = True
            self._core.start()
            for poller in self._pollers:
                poller.start(self._core)

    def stop(self, grace: float = 0.0, patience: float = 10.0) -> bool:
        """See `seam.Server`."""
        if any(poller.is_here for poller in self._pollers):
            raise RuntimeError("a callback cannot wait for the end of its own server")
        self.start()  # the core can only shut down what it has started
        with self._lock:
            if self._stopping is None:
                for poller in self._pollers:
                    if not poller.is_reserved:
                        poller.turn_away(_late)
                self._stopping = threading.Thread(
                    target=self._end, args=(grace,), name="grpc-stop", daemon=True
                )
                self._stopping.start()
        self._stopping.join(grace + patience)
        return not self._stopping.is_alive()

    def _end(self, grace: float) -> None:
        """In a thread of its own: a callback may hold a poller for as long as it likes,
        and who stops the server need not wait for that.
        """
        end = time.monotonic() + grace
        for poller in self._pollers:
            if not poller.is_reserved:
                poller.catch_up(min(grace, CATCH_UP_SECONDS))
        for poller in self._pollers:
            poller.stop()
        self._core.shutdown(self._pollers[0].queue, lambda _: self._is_shut_down.set())
        for poller in self._pollers:
            poller.said_goodbye()
        if not self._is_shut_down.wait(max(0.0, end - time.monotonic())):
            self._core.cancel_all_calls()
            self._is_shut_down.wait()
        for poller in self._pollers:
            poller.is_quiet.wait()
        for poller in self._pollers:
            poller.end()
        self._core.destroy()

    def _made(
        self,
        routes: Mapping[str, Handler],
        count: int,
        send_limit: int,
        max_send_bytes: int | None,
    ) -> list[Poller]:
        limits = Limits(send_limit, max_send_bytes)
        methods: dict[bytes, MakeCall] = {
            path.encode(): partial(UnaryCall, path, route, max_send_bytes)
            if isinstance(route, Unary)
            else partial(StreamCall, path, route, limits)
            for path, route in routes.items()
        }
        reserved = [
            path
            for path, handler in routes.items()
            if isinstance(handler, Unary) and handler.is_reserved
        ]
        if reserved and not HAS_RESERVED:
            log.warning(
                "this grpcio has no registered methods (1.70 has): health and metadata"
                " wait while handlers compute"
            )
            reserved = []
        pollers = [
            Poller(f"grpc-poll-{number}", methods, _unknown, slots=SLOTS)
            for number in range(count)
        ]
        if reserved:
            for path in reserved:
                self._core.register_method(path)
            pollers.append(
                Poller(
                    "grpc-poll-reserved",
                    methods,
                    _unknown,
                    slots=1,
                    reserved=reserved,
                )
            )
        return pollers

    def _listen(self, address: str, tls: Tls | None) -> int:
        ensure_nobody_answers(address)
        try:
            port = (
                self._core.add_http2_port(address.encode())
                if tls is None
                else self._core.add_http2_port(address.encode(), _credentials(tls))
            )
        except RuntimeError:
            port = 0
        if not port:
            raise listening_error(address)
        return port


def _unknown(keeper: Keeper, event: cygrpc.RequestCallEvent) -> UnaryCall:
    """The call of a method that is not there."""
    method = event.call_details.method.decode(errors="replace")
    return UnaryCall(method, unknown(method), None, keeper, event)


def _late(keeper: Keeper, event: cygrpc.RequestCallEvent) -> UnaryCall:
    """The call of who comes when the server goes."""
    method = event.call_details.method.decode(errors="replace")
    return UnaryCall(method, late(method), None, keeper, event)


def _encoded(value: str | int) -> bytes | int:
    return value.encode() if isinstance(value, str) else value


def _credentials(tls: Tls) -> cygrpc.ServerCredentials:
    wants_client = tls.client_roots is not None
    if tls.renewed is not None:
        return cygrpc.server_credentials_ssl_dynamic_cert_config(
            configuration(tls), fetching(tls.renewed), wants_client
        )
    pairs = [cygrpc.SslPemKeyCertPair(tls.key, tls.certificate)]
    return cygrpc.server_credentials_ssl(tls.client_roots, pairs, wants_client)
