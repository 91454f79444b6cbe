"""The transport on public grpc.aio: one event loop in one thread carries every call."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Final, TypeAlias

import grpc
import grpc.aio

from ovms_mp.frontend.transport.aio_call import Context, UnaryCall
from ovms_mp.frontend.transport.aio_loop import LoopThread
from ovms_mp.frontend.transport.aio_stream import StreamCall
from ovms_mp.frontend.transport.call import (
    CATCH_UP_SECONDS,
    MAX_KEPT,
    late,
    unknown,
)
from ovms_mp.frontend.transport.credentials import credentials
from ovms_mp.frontend.transport.listening import (
    ensure_nobody_answers,
    listening_error,
)
from ovms_mp.frontend.transport.options import (
    RECEIVE_BYTES,
    SEND_LIMIT,
    channel_arguments,
)
from ovms_mp.frontend.transport.seam import (
    Abort,
    Admission,
    Call,
    Handler,
    Stream,
    Tls,
    Unary,
)

# Binding and starting are local.
_START_SECONDS: Final = 30.0
# Between two looks at whether anybody has come.
_LOOKS_EVERY: Final = 0.05

_GRPC_LOG: Final = logging.getLogger("grpc._cython.cygrpc")

_Method: TypeAlias = "grpc.RpcMethodHandler[bytes, bytes]"


class AioServer:
    """Serves `routes`, which map `/package.Service/Method` to handlers. See
    `seam.Server`; `is_reserved` means nothing here, where all share one thread.

    `addresses` are as gRPC writes them: `host:port`, `[v6]:port`, `unix:path`; port 0 is
    a free one. They are bound at once and answer from `start` on. `options` are gRPC's
    channel arguments and override what is set here, such as `grpc.so_reuseport`, which
    is off: a second server on a port would silently get half of the calls.

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
    ) -> None:
        self._max_send_bytes = max_send_bytes
        self._send_limit = send_limit
        self._methods = {
            path: self._method(path, handler) for path, handler in routes.items()
        }
        self._arguments = channel_arguments(max_receive_bytes, options)
        self._in_flight = 0
        self._came = 0
        self._lock = threading.Lock()
        self._is_started = False
        self._is_stopping = False
        self._kept = 0
        self._farewell = asyncio.Event()
        self._filter = _Departures()
        self._loop = LoopThread("grpc-aio")
        try:
            self._server, self._ports = self._loop.call(
                self._listen(addresses, tls), _START_SECONDS
            )
        except BaseException:
            self._loop.end_after(_nothing())
            self._loop.join(_START_SECONDS)
            raise

    @property
    def ports(self) -> tuple[int, ...]:
        """See `seam.Server`."""
        return self._ports

    @property
    def calls_in_flight(self) -> int:
        """See `seam.Server`."""
        return self._in_flight

    def start(self) -> None:
        """See `seam.Server`."""
        self._loop.call(self._start(), _START_SECONDS)

    def stop(self, grace: float = 0.0, patience: float = 10.0) -> bool:
        """See `seam.Server`."""
        if self._loop.is_here:
            raise RuntimeError("a callback cannot wait for the end of its own server")
        with self._lock:
            is_first, self._is_stopping = not self._is_stopping, True
        # Once: a second stop of grpcio's server, while the first waits, may use it after
        # it is freed (a segmentation fault on 1.62.3). And until all that runs is done:
        # grpcio's stop does not wait for the handlers that it cancels, and those that
        # the loop did not turn for any more would never be told.
        if is_first:
            self._loop.end_after(self._end(grace))
        return self._loop.join(grace + patience)

    async def _listen(
        self, addresses: Sequence[str], tls: Tls | None
    ) -> tuple[grpc.aio.Server, tuple[int, ...]]:
        server = grpc.aio.server(
            handlers=[_Router(self._methods)], options=list(self._arguments.items())
        )
        try:
            ports = tuple([_bind(server, address, tls) for address in addresses])
        except OSError:
            # Only a server that has started can stop, and free the other addresses.
            await server.start()
            await server.stop(0)
            raise
        return server, ports

    async def _start(self) -> None:
        if not self._is_started:
            self._is_started = True
            _GRPC_LOG.addFilter(self._filter)
            await self._server.start()

    async def _end(self, grace: float) -> None:
        await self._start()  # only a server that has started can stop
        end = time.monotonic() + grace
        await self._catch_up(min(grace, CATCH_UP_SECONDS))
        stopping = asyncio.ensure_future(
            self._server.stop(max(0.0, end - time.monotonic()))
        )
        await asyncio.sleep(0)  # connections are told at its first step
        self._farewell.set()
        await stopping
        _GRPC_LOG.removeFilter(self._filter)

    async def _catch_up(self, seconds: float) -> None:
        """Until nobody comes any more whom the core has kept, at most so long."""
        end = time.monotonic() + seconds
        came = -1
        while came != self._came and time.monotonic() < end:
            came = self._came
            await asyncio.sleep(_LOOKS_EVERY)

    async def _take_up(self) -> None:
        """Who comes late is not told so before connections know that the server goes."""
        self._came += 1
        if self._is_stopping and self._kept < MAX_KEPT:
            self._kept += 1
            try:
                await self._farewell.wait()
            finally:
                self._kept -= 1

    def _admit(self, admission: Admission | None, call: Call) -> None:
        if self._is_stopping:
            ending = late(call.method)
            raise Abort(ending.code, ending.details)
        if admission is not None:
            admission(call)

    def _method(self, path: str, handler: Handler) -> _Method:
        if isinstance(handler, Stream) or not handler.is_reserved:
            admission = partial(self._admit, handler.admission)
            handler = replace(handler, admission=admission)
        if isinstance(handler, Stream):
            return grpc.stream_stream_rpc_method_handler(self._stream(path, handler))
        # As a stream of requests: grpcio's unary methods never answer a client that
        # sends no message, and it waits for ever.
        return grpc.stream_unary_rpc_method_handler(self._unary(path, handler))

    def _unary(
        self, path: str, route: Unary
    ) -> Callable[[object, Context], Awaitable[bytes]]:
        async def serve(_: object, context: Context) -> bytes:
            call = UnaryCall(path, context, self._loop)
            self._in_flight += 1
            try:
                if not route.is_reserved:
                    await self._take_up()
                return await call.run(route, self._max_send_bytes)
            except grpc.aio.AbortError as aborted:
                # grpcio keeps it with the context. Its traceback would keep the frames,
                # they the call and the context, and all that only until the next
                # collection of garbage, which may be long in coming.
                del call, context
                raise aborted.with_traceback(None) from None
            finally:
                self._in_flight -= 1

        return serve

    def _stream(
        self, path: str, route: Stream
    ) -> Callable[[object, Context], Awaitable[None]]:
        async def serve(_: object, context: Context) -> None:
            call = StreamCall(
                path,
                context,
                self._loop,
                send_limit=self._send_limit,
                max_send_bytes=self._max_send_bytes,
            )
            self._in_flight += 1
            try:
                await self._take_up()
                await call.run(route)
            finally:
                self._in_flight -= 1

        return serve


class _Router(grpc.GenericRpcHandler):
    """Finds a path's method. What is not there, grpcio answers UNIMPLEMENTED."""

    def __init__(self, methods: Mapping[str, _Method]) -> None:
        self._methods = methods

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> _Method | None:
        path = handler_call_details.method
        found = self._methods.get(path)
        if found is None:
            unknown(path)
        return found


class _Departures(logging.Filter):
    """Drops what grpcio logs when a client goes while its status is being sent: an error
    with a traceback, for what any client may do as often as it likes.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        kind = record.exc_info[0] if record.exc_info else None
        return kind is None or not issubclass(kind, grpc.aio.InternalError)


def _bind(server: grpc.aio.Server, address: str, tls: Tls | None) -> int:
    ensure_nobody_answers(address)
    try:
        if tls is None:
            port = server.add_insecure_port(address)
        else:
            port = server.add_secure_port(address, credentials(tls))
    except RuntimeError:
        port = 0
    if not port:
        raise listening_error(address)
    return port


async def _nothing() -> None:
    """Nothing to wait for."""
