"""An ASGI app on sockets of its own, on an event loop in a thread of its own."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import threading
from typing import TYPE_CHECKING, Final

import uvicorn

from ovms_mp.core import addresses
from ovms_mp.frontend.http.handshakes import HandshakeLoop, ToldHandshake
from ovms_mp.frontend.http.protocol import LimitedProtocol
from ovms_mp.frontend.http.websocket import MAX_MESSAGE_BYTES, LimitedSocket

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from starlette.types import ASGIApp

# A request that is being answered when the server stops has this long to end.
_GRACE_SECONDS: Final = 5

IDLE_SECONDS: Final = 75
"""For the next request on a connection."""


class HttpServer:
    """Serves `app` between `start` and `stop`, each called once, from any thread.

    `hosts` are names or addresses to listen on, all on the same port; port 0 is a free
    one, which `port` tells after `start`. With `shares_port`, other processes may
    listen on the same one, and the kernel deals connections out.
    """

    def __init__(
        self,
        app: ASGIApp,
        hosts: Sequence[str],
        port: int,
        *,
        shares_port: bool = False,
        protocol: type[LimitedProtocol] = LimitedProtocol,
        web_socket: type[LimitedSocket] = LimitedSocket,
        loop: type[HandshakeLoop] = HandshakeLoop,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._hosts = tuple(hosts)
        self._port = port
        self._shares_port = shares_port
        self._server = _Server(
            uvicorn.Config(
                app,
                http=protocol,
                ws=web_socket,
                ws_max_size=MAX_MESSAGE_BYTES,
                # While a session has no room nothing is read, pongs neither.
                ws_ping_interval=None,
                ws_per_message_deflate=False,  # some bytes would become many
                lifespan="off",
                log_config=None,
                log_level=logging.ERROR,  # what clients do wrong is no warning
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_keep_alive=IDLE_SECONDS,
                timeout_graceful_shutdown=_GRACE_SECONDS,
                ssl_context_factory=None if tls is None else _always(tls),
            ),
            loop,
        )
        self._thread: threading.Thread | None = None

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return self._port

    def start(self) -> None:
        """Listen and serve; connections are accepted when this returns.

        Raises OSError naming the address that cannot be listened on.
        """
        sockets = _listen(self._hosts, self._port, is_shared=self._shares_port)
        self._port = sockets[0].getsockname()[1]
        self._thread = threading.Thread(
            target=self._server.serve_on, args=(sockets,), name="http"
        )
        self._thread.start()
        self._server.has_settled.wait()
        if not self._server.started:
            self.stop()
            raise RuntimeError("the HTTP server did not start; its thread says why")

    def stop(self) -> None:
        """Accept no more, let requests end within 5 seconds, and release the port."""
        if self._thread is not None:
            self._server.should_exit = True
            self._thread.join()
            self._thread = None


def _always(
    context: ssl.SSLContext,
) -> Callable[[uvicorn.Config, Callable[[], ssl.SSLContext]], ssl.SSLContext]:
    context.sslobject_class = ToldHandshake

    def make(_: uvicorn.Config, __: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
        return context

    return make


class _Server(uvicorn.Server):
    """Tells when it has started, or will not."""

    def __init__(self, config: uvicorn.Config, loop: type[HandshakeLoop]) -> None:
        super().__init__(config)
        self._loop = loop
        self.has_settled = threading.Event()

    def serve_on(self, sockets: list[socket.socket]) -> None:
        try:
            with asyncio.Runner(loop_factory=self._loop) as runner:
                runner.run(self.serve(sockets))
        finally:
            self.has_settled.set()
            for each in sockets:
                each.close()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.has_settled.set()


def _listen(hosts: Sequence[str], port: int, *, is_shared: bool) -> list[socket.socket]:
    sockets: list[socket.socket] = []
    try:
        for host in hosts:
            for address in addresses.resolved(host):
                listener = addresses.bound(host, address, port, is_shared=is_shared)
                sockets.append(listener)
                # Now, not in the thread: two may bind a port, but only one listen on it.
                addresses.listen(listener, host, port)
                port = listener.getsockname()[1]
    except OSError:
        for each in sockets:
            each.close()
        raise
    return sockets
