""".../infer_stream: ModelStreamInfer for the web, as a WebSocket, and for graphs that only
answer as server-sent events.

The session, its errors and its back-pressure are those of gRPC's streams; here is what
brings messages to it and away, on the event loop.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from contextlib import ExitStack, suppress
from functools import partial
from typing import TYPE_CHECKING, Final, TypeAlias

from starlette.requests import HTTPConnection
from starlette.responses import Response
from uvicorn.protocols.utils import ClientDisconnected

from ovms_mp.frontend.access import Access, Denied, Realm
from ovms_mp.frontend.grpc.streaming import ModelStream
from ovms_mp.frontend.http.endpoint import denied, named, servable_of
from ovms_mp.frontend.http.errors import (
    CODES,
    Problem,
    Refusal,
    error_response,
    outcome_of,
)
from ovms_mp.frontend.http.line import ClientLeft, End, Line
from ovms_mp.frontend.http.protocol import FULL
from ovms_mp.frontend.http.request import INTERFACE
from ovms_mp.frontend.http.web_messages import (
    HEAD_SIZE,
    EventWire,
    WebWire,
    error_document,
    error_event,
    is_text,
    sealed,
)
from ovms_mp.frontend.http.websocket import GONE
from ovms_mp.frontend.transport.seam import Code
from ovms_mp.telemetry import requests

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Sequence
    from contextlib import AbstractContextManager

    from starlette.requests import Request
    from starlette.types import Receive, Scope, Send

    from ovms_mp.frontend.grpc.places import Places
    from ovms_mp.frontend.grpc.quota import Quota
    from ovms_mp.frontend.http.catalog import Catalog
    from ovms_mp.frontend.http.cors import Cors
    from ovms_mp.frontend.http.inference import Inference

EVENTS: Final = "text/event-stream"
PROTOCOL: Final = "kserve.v2"
"""What a client may offer as the WebSocket's subprotocol, and is told then."""
BEARER: Final = "bearer."
"""Before a key in base64url, one more subprotocol: browsers let pages send no header."""

_CLOSED: Final = 1000
_FAILED: Final = 4000
"""The WebSocket's code of a failure, with gRPC's added: 4003 is INVALID_ARGUMENT."""
_MAX_REASON: Final = 123  # bytes, by RFC 6455
_SOCKET: Final = "WebSocket infer_stream"
_EVENTS: Final = "POST infer_stream"

Say: TypeAlias = "Callable[[bytes], Awaitable[None]]"
Listen: TypeAlias = "Callable[[Line], Coroutine[None, None, None]]"


class Socket:
    """The WebSocket, as an ASGI application."""

    realm: Final = Realm.INFERENCE

    def __init__(
        self,
        catalog: Catalog,
        places: Places,
        access: Access,
        cors: Cors,
        inference: Inference,
        *,
        quota: Quota,
    ) -> None:
        self._catalog = catalog
        self._places = places
        self._access = access
        self._cors = cors
        self._inference = inference
        self._quota = quota

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One stream."""
        asked = HTTPConnection(scope)
        try:
            if scope["state"][FULL]:
                raise Refusal(Problem.BUSY)
            self._access.check(self.realm, _authorizations(asked))
            if not self._cors.allows(asked.headers):
                raise Refusal(Problem.ORIGIN_DENIED)
            name, version = servable_of(asked)
            self._places.take()
        except Exception as error:
            response = _refused(asked, error)
            await response(scope, receive, send)
            return
        limits, quota = self._inference.limits, self._quota
        wire = WebWire(name, version, _SOCKET, limits, quota)
        stream = ModelStream(self._catalog, self._places.give_back, wire)

        async def listen(line: Line) -> None:
            await receive()  # the handshake
            chosen = PROTOCOL if PROTOCOL in scope["subprotocols"] else None
            await send({"type": "websocket.accept", "subprotocol": chosen})
            await self._listen(stream, line, receive)

        with suppress(ClientLeft, ClientDisconnected):
            end = await _converse(
                stream, partial(_say, send), listen, _set(scope["state"][GONE])
            )
            await _close(end, send)

    async def _listen(self, stream: ModelStream, line: Line, receive: Receive) -> None:
        while message := await _said(receive):
            await line.credit()
            size = int.from_bytes(message[:HEAD_SIZE])
            await self._inference.do(size, partial(stream.on_message, message))
        await line.credit()
        stream.on_half_close()
        await _said(receive)
        line.finish(Code.INVALID_ARGUMENT, "nothing may follow an empty message")


class Events:
    """The handler of server-sent events: one request, and all its answers."""

    def __init__(self, catalog: Catalog, places: Places, inference: Inference) -> None:
        self._catalog = catalog
        self._places = places
        self._inference = inference

    async def __call__(self, asked: Request) -> Response:
        """Raises Refusal, ServingError, ClientGone."""
        name, version = servable_of(asked)
        inference = self._inference
        wire = EventWire(name, version, _EVENTS, inference.limits)
        stream = ModelStream(self._catalog, self._places.give_back, wire)
        with ExitStack() as held:
            data, size = await inference.read(
                asked, held.enter_context(inference.share())
            )
            message = b"".join((size.to_bytes(HEAD_SIZE), data))
            self._places.take()

            async def ask(line: Line) -> None:
                await line.credit()
                await inference.do(size, partial(stream.on_message, message))
                await line.credit()
                stream.on_half_close()

            return _Events(stream, ask, held.pop_all())


class _Events(Response):
    media_type = EVENTS

    def __init__(
        self, stream: ModelStream, ask: Listen, held: AbstractContextManager[object]
    ) -> None:
        super().__init__(headers={"cache-control": "no-store"})
        del self.headers["content-length"]
        self._stream = stream
        self._ask = ask
        self._held = held
        self._is_begun = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send them as they come. What fails before the first is refused as any other
        request is.
        """
        say = partial(self._say, send)
        with self._held, suppress(ClientLeft):
            code, details = await _converse(
                self._stream, say, self._ask, _disconnected(receive), is_strict=True
            )
            if code is not Code.OK and not self._is_begun:
                refused = error_response(CODES[code], details)
                await refused(scope, receive, send)
                return
            if code is not Code.OK:
                await say(error_event(error_document(details, code.name)))
            await self._begin(send)
            end = {"type": "http.response.body", "body": b"", "more_body": False}
            await send(end)

    async def _say(self, send: Send, event: bytes) -> None:
        await self._begin(send)
        await send({"type": "http.response.body", "body": event, "more_body": True})

    async def _begin(self, send: Send) -> None:
        if not self._is_begun:
            self._is_begun = True
            headers = self.raw_headers
            start = {"type": "http.response.start", "status": 200, "headers": headers}
            await send(start)


async def _converse(
    stream: ModelStream,
    say: Say,
    listen: Listen,
    gone: Coroutine[None, None, None],
    *,
    is_strict: bool = False,
) -> End:
    """A stream between its session and its client, until it ends, or the client leaves:
    ClientLeft. With `is_strict` the first refusal ends it.
    """
    line = Line()
    stream.open(line, is_strict=is_strict)
    carrying = asyncio.create_task(line.carry(say))
    tasks: list[asyncio.Task[None]] = [
        asyncio.create_task(listen(line)),
        asyncio.create_task(gone),
    ]
    try:
        waiting: set[asyncio.Task[None] | asyncio.Task[End]] = {carrying, *tasks}
        while not carrying.done():
            done, waiting = await asyncio.wait(
                waiting, return_when=asyncio.FIRST_COMPLETED
            )
            for each in done:
                each.result()
        return carrying.result()
    finally:
        for each in (carrying, *tasks):
            each.cancel()
        await asyncio.gather(carrying, *tasks, return_exceptions=True)
        stream.on_cancel()  # what has come to its end heeds it no more


async def _said(receive: Receive) -> bytes:
    """The client's next message, with its head. Raises ClientLeft."""
    message = await receive()
    if message["type"] != "websocket.receive":
        raise ClientLeft
    text: str | None = message.get("text")
    if text is None:
        return message["bytes"]
    return sealed(text.encode()) if text else b""


async def _say(send: Send, message: bytes) -> None:
    if is_text(message):
        await send({"type": "websocket.send", "text": message.decode()})
    else:
        await send({"type": "websocket.send", "bytes": message})


async def _close(end: End, send: Send) -> None:
    code, details = end
    if code is Code.OK:
        await send({"type": "websocket.close", "code": _CLOSED})
        return
    text = error_document(details, code.name).decode()
    await send({"type": "websocket.send", "text": text})
    reason = details.encode(errors="replace")[:_MAX_REASON].decode(errors="ignore")
    closed = {"type": "websocket.close", "code": _FAILED + code, "reason": reason}
    await send(closed)


async def _set(gone: asyncio.Event) -> None:
    await gone.wait()
    raise ClientLeft


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    raise ClientLeft


def _authorizations(asked: HTTPConnection) -> Sequence[str]:
    """Headers, and what stands for one in a subprotocol."""
    found = asked.headers.getlist("authorization")
    for each in asked.scope["subprotocols"]:
        if each.startswith(BEARER):
            code = each.removeprefix(BEARER)
            with suppress(binascii.Error, UnicodeDecodeError):
                key = base64.urlsafe_b64decode(code + "=" * (-len(code) % 4))
                found = [*found, f"Bearer {key.decode()}"]
    return found


def _refused(asked: HTTPConnection, error: Exception) -> Response:
    if isinstance(error, Denied):
        response, text = denied(error), str(error)
    else:
        code, text = outcome_of(error)
        response = error_response(code, text)
    requests.failed(INTERFACE, _SOCKET, named(asked), str(response.status_code), text)
    return response
