"""uvicorn's connection, which waits for no one longer than it should: not for the head of a
request, nor for who does not read an answer; and takes no head that is endless.

What is no HTTP is refused as everything else is, in JSON.
"""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any, Final, cast

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import (
    HttpToolsProtocol,
    RequestResponseCycle,
)
from uvicorn.server import ServerState

from ovms_mp.frontend.http.errors import JSON, Problem, error_body
from ovms_mp.frontend.http.offers import Parser
from ovms_mp.frontend.http.request import INTERFACE
from ovms_mp.telemetry import requests

if TYPE_CHECKING:
    from httptools import HttpRequestParser

HEAD_SECONDS: Final = 10.0
"""For a connection's first request to begin, and for any to have its head complete."""
WRITE_SECONDS: Final = 60.0
"""For a client to read some of 256 KiB that wait for it."""
MAX_HEAD_BYTES: Final = 1 << 16
"""Of a request's first line and headers. As much again may have been read with them."""
MAX_CONNECTIONS: Final = 4096
"""Of one process; others are answered with 503."""

FULL: Final = "is_full"
"""In the state of a scope: True if there are more connections than that."""


class LimitedProtocol(HttpToolsProtocol):
    """One connection."""

    head_seconds = HEAD_SECONDS
    write_seconds = WRITE_SECONDS
    max_connections = MAX_CONNECTIONS

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.parser = cast("HttpRequestParser", Parser(self))
        self._head: asyncio.TimerHandle | None = None
        self._writing: asyncio.TimerHandle | None = None
        self._head_bytes = self._begun = 0
        self._is_in_head = self._is_in_body = False

    def connection_made(  # pyright: ignore[reportIncompatibleMethodOverride]  # as above
        self, transport: asyncio.Transport
    ) -> None:
        """Somebody is there."""
        super().connection_made(transport)
        # An answer is written in pieces: the second would wait until the client has
        # acknowledged the first, which it puts off for 40 ms.
        connection: socket.socket = transport.get_extra_info("socket")
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nobody is there any more."""
        self._stop_waiting()
        self.resume_writing()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Some of a request, or several."""
        is_between = not (self._is_in_head or self._is_in_body)
        self._begun = 0
        super().data_received(data)
        if self.transport.is_closing() or self.transport.get_protocol() is not self:
            return  # it is over, or a WebSocket from here on
        if self._is_in_head:
            # What ends with a head, and began with other requests, is not all of it.
            if self._begun <= is_between:
                self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self._refuse(Problem.HEAD_TOO_LARGE)
                return
        if (self._is_in_head or not self._is_answering) and self._head is None:
            self._expect_head()

    def on_message_begin(self) -> None:
        """The parser's: the first byte of a request."""
        super().on_message_begin()
        self.scope["state"] = {FULL: len(self.connections) > self.max_connections}
        self._is_in_head, self._head_bytes = True, 0
        self._begun += 1

    def on_headers_complete(self) -> None:
        """The parser's: the head is over."""
        self._is_in_head, self._is_in_body = False, True
        self._stop_waiting()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The parser's: so is the body."""
        if cast("Parser", self.parser).leaves_body:
            return
        self._is_in_body = False
        self._stop_waiting()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """It is answered, whether or not it has come to its end."""
        super().on_response_complete()
        if self._is_in_body and not self.transport.is_closing():
            self._expect_head()

    def pause_writing(self) -> None:
        """The client reads more slowly than it is answered."""
        super().pause_writing()
        self._writing = self.loop.call_later(self.write_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """It has read."""
        if self._writing is not None:
            self._writing.cancel()
            self._writing = None
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        """uvicorn's, for what is no HTTP."""
        self._answer(400, msg)

    @property
    def is_offer_taken(self) -> bool:
        """True if the last head asks for a WebSocket."""
        return self._should_upgrade()

    @property
    def _is_answering(self) -> bool:
        cycle = cast("RequestResponseCycle | None", self.cycle)
        return cycle is not None and not cycle.response_complete

    def _expect_head(self) -> None:
        self._stop_waiting()
        self._head = self.loop.call_later(self.head_seconds, self._give_up)

    def _stop_waiting(self) -> None:
        if self._head is not None:
            self._head.cancel()
            self._head = None

    def _give_up(self) -> None:
        self._head = None
        if self.transport.is_closing():
            return
        if self._is_in_head:
            self._refuse(Problem.TOO_SLOW)
        else:
            self.transport.close()

    def _refuse(self, problem: Problem) -> None:
        self._answer(*problem.value)

    def _answer(self, code: int, text: str) -> None:
        self._stop_waiting()
        if self._is_answering and self.cycle.response_started:
            self.transport.close()  # the answer would stand within another
            return
        refuse(self.transport, code, text)


def refuse(transport: asyncio.Transport, code: int, text: str) -> None:
    """Answer what is no request, hang up, and tell the log."""
    requests.failed(INTERFACE, "request", "", str(code), text)
    body = error_body(text)
    transport.write(
        b"HTTP/1.1 %d \r\ncontent-type: %s\r\ncontent-length: %d\r\n"
        b"connection: close\r\n\r\n%s" % (code, JSON.encode(), len(body), body)
    )
    transport.close()
