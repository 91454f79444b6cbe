"""uvicorn's WebSocket with the limits of the connection that it was: not more of them,
and nobody waited for who does not read.

While a message waits for the session nothing is read, so that a client which has gone
could not be heard; then the kernel is asked.
"""

from __future__ import annotations

import asyncio
import socket
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.exceptions import InvalidMessage

from ovms_mp.frontend.http.errors import Problem
from ovms_mp.frontend.http.protocol import (
    FULL,
    MAX_CONNECTIONS,
    WRITE_SECONDS,
    refuse,
)
from ovms_mp.frontend.http.request import INTERFACE
from ovms_mp.telemetry import requests

if TYPE_CHECKING:
    from collections.abc import Sequence

    from uvicorn._types import ASGISendEvent
    from uvicorn.config import Config
    from uvicorn.server import ServerState
    from websockets.http11 import Request as WebSocketRequest

GONE: Final = "has_gone"
"""In the state of a scope: an asyncio.Event that is set when the client has gone."""

LOOK_SECONDS: Final = 0.25
"""Between two looks whether a client that is not read is still there."""

MAX_MESSAGE_BYTES: Final = 64 << 20
"""Of one message; another ends its stream (code 1009)."""

_TCP_ESTABLISHED: Final = 1
_METHOD: Final = "WebSocket"
_NO_HANDSHAKE: Final = "Invalid HTTP request received."
# Of RFC 6455: a text that is none.
_NO_TEXT: Final = 1007


class LimitedSocket(WebSocketsSansIOProtocol):
    """One connection."""

    write_seconds = WRITE_SECONDS
    max_connections = MAX_CONNECTIONS

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self._has_gone = asyncio.Event()
        super().__init__(config, server_state, {GONE: self._has_gone}, _loop)
        self._writing: asyncio.TimerHandle | None = None
        self._looking: asyncio.TimerHandle | None = None

    def connection_made(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, transport: asyncio.Transport
    ) -> None:
        """Somebody is there."""
        super().connection_made(transport)
        self.app_state[FULL] = len(self.connections) > self.max_connections

    def connection_lost(self, exc: Exception | None) -> None:
        """Nobody is there any more."""
        for timer in (self._writing, self._looking):
            if timer is not None:
                timer.cancel()
        self._has_gone.set()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """The head, and then frames."""
        super().data_received(data)
        error = self.conn.handshake_exc
        if self.handshake_initiated or error is None or self.transport.is_closing():
            return
        # The parser has given up, and uvicorn waits for what it will never say.
        if isinstance(error, InvalidMessage):
            refuse(self.transport, 400, _NO_HANDSHAKE)
        else:
            refuse(self.transport, *Problem.HEAD_TOO_LARGE.value)

    def handle_connect(self, event: WebSocketRequest) -> None:
        """The head is complete."""
        super().handle_connect(event)
        code = self.response.status_code
        if code != HTTPStatus.SWITCHING_PROTOCOLS:
            requests.failed(
                INTERFACE, _METHOD, "", str(code), str(self.conn.handshake_exc)
            )

    async def send(self, message: ASGISendEvent) -> None:
        """The application's. Raises ClientDisconnected if nothing can be sent any more."""
        await self.writable.wait()
        if self.close_sent and self.handshake_complete:
            raise ClientDisconnected
        await super().send(message)
        if self.close_sent:
            self.handshake_complete = True  # by a refusal

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

    def send_receive_event_to_app(self) -> None:
        """A message is complete."""
        is_text = self.curr_msg_data_type == "text" and not self.close_sent
        if is_text and not _is_utf8(self.frames):
            requests.failed(INTERFACE, _METHOD, "", str(_NO_TEXT), "text is UTF-8")
            self.frames = []
            self.conn.send_close(_NO_TEXT)
            self.handle_parser_exception()
            return
        super().send_receive_event_to_app()
        if self.read_paused and self._looking is None:
            self._looking = self.loop.call_later(LOOK_SECONDS, self._look)

    def _look(self) -> None:
        self._looking = None
        if not self.read_paused:
            return
        if _is_there(self.transport):
            self._looking = self.loop.call_later(LOOK_SECONDS, self._look)
        else:
            self.transport.abort()


def _is_utf8(frames: Sequence[bytes]) -> bool:
    try:
        b"".join(frames).decode()
    except UnicodeDecodeError:
        return False
    return True


def _is_there(transport: asyncio.Transport) -> bool:
    """False if the client has closed its end, whatever it sent before."""
    connection: socket.socket = transport.get_extra_info("socket")
    state: int = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
    return state == _TCP_ESTABLISHED
