"""An ASGI app on sockets of its own, on an event loop in a thread of its own."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING, Final

import uvicorn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.applications import Starlette

# A request that is being answered when the server stops has this long to end.
_GRACE_SECONDS: Final = 5


class HttpServer:
    """Serves `app` between `start` and `stop`, each called once, from any thread.

    `hosts` are names or addresses to listen on, all on the same port; port 0 is a free
    one, which `port` tells after `start`.
    """

    def __init__(self, app: Starlette, hosts: Sequence[str], port: int) -> None:
        self._hosts = tuple(hosts)
        self._port = port
        self._server = _Server(
            uvicorn.Config(
                app,
                http="h11",
                ws="none",
                loop="asyncio",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_graceful_shutdown=_GRACE_SECONDS,
            )
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
        sockets = _listen(self._hosts, self._port)
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


class _Server(uvicorn.Server):
    """Tells when it has started, or will not."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.has_settled = threading.Event()

    def serve_on(self, sockets: list[socket.socket]) -> None:
        try:
            self.run(sockets)
        finally:
            self.has_settled.set()
            for each in sockets:
                each.close()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.has_settled.set()


def _listen(hosts: Sequence[str], port: int) -> list[socket.socket]:
    sockets: list[socket.socket] = []
    try:
        for host in hosts:
            for address in _addresses(host):
                sockets.append(_bound(host, address, port))
                port = sockets[0].getsockname()[1]
    except OSError:
        for each in sockets:
            each.close()
        raise
    return sockets


def _addresses(host: str) -> list[tuple[socket.AddressFamily, str]]:
    try:
        found = socket.getaddrinfo(
            host, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except OSError as error:
        raise OSError(
            error.errno, f"cannot listen on {host}: {error.strerror}"
        ) from error
    return [(family, str(address[0])) for family, _, _, _, address in found]


def _bound(
    host: str, address: tuple[socket.AddressFamily, str], port: int
) -> socket.socket:
    family, ip = address
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            # So that `0.0.0.0,::` is two listeners, not a conflict.
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind((ip, port))
        # Now, not in the thread: two may bind a port, but only one may listen on it.
        listener.listen()
    except OSError as error:
        listener.close()
        details = f"cannot listen on {host}:{port}: {error.strerror}"
        raise OSError(error.errno, details) from error
    return listener
