"""Both clients asked in one way, and a way to the server that can be cut."""

from __future__ import annotations

import inspect
import socket
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, Self

from ovms_mp_clients import AsyncClient, AsyncStream, Client, Stream

CHUNK = 1 << 16


async def done(result: Any) -> Any:
    """What a method gives, awaited if that is needed."""
    return await result if inspect.isawaitable(result) else result


@asynccontextmanager
async def opened(what: Any) -> AsyncIterator[Any]:
    """`with`, or `async with`."""
    if isinstance(what, AsyncClient | AsyncStream):
        async with what as inside:
            yield inside
    else:
        assert isinstance(what, Client | Stream)
        with what as inside:
            yield inside


async def following(stream: Any) -> Any:
    """The next answer, or stream; None at the end."""
    if hasattr(stream, "__anext__"):
        return await anext(stream, None)
    return next(stream, None)


async def everything(stream: Any) -> list[Any]:
    """All answers, or streams, until the end."""
    found: list[Any] = []
    while (answer := await following(stream)) is not None:
        found.append(answer)
    return found


async def each(streams: Any) -> AsyncIterator[Any]:
    """`for`, or `async for`."""
    while (stream := await following(streams)) is not None:
        yield stream


class Wire:
    """A port that passes everything on to a server, until it is told otherwise."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self._server = host, int(port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[tuple[socket.socket, socket.socket]] = []
        self._threads: list[threading.Thread] = []
        self._is_frozen = False
        self._start(self._accept)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # Wakes accept(), which close() does not.
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        for thread in self._threads:
            thread.join()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._listener.getsockname()[1]}"

    @property
    def connections(self) -> int:
        """How many there have been."""
        return len(self._sockets)

    def cut(self, number: int | None = None) -> None:
        """End a connection, by default all: both sides notice."""
        for pair in self._sockets if number is None else [self._sockets[number]]:
            for each in pair:
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)

    def freeze(self) -> None:
        """Pass nothing on any more: nobody notices."""
        self._is_frozen = True

    def _start(self, work: Any, *args: Any) -> None:
        thread = threading.Thread(target=work, args=args)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(self._server)
            self._sockets.append((client, server))
            self._start(self._pass, client, server)
            self._start(self._pass, server, client)

    def _pass(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(CHUNK):
                if not self._is_frozen:
                    target.sendall(data)
        for each in (source, target):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        source.close()
