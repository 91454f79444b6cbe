"""Every route is an Endpoint: what it raises becomes its answer here, and nowhere else.
Who may ask is judged here, too, before the handler and the body: no request passes by.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import TYPE_CHECKING, Final, TypeAlias
from urllib.parse import unquote

from starlette.requests import HTTPConnection, Request

from ovms_mp.core.errors import ServingError, Status
from ovms_mp.frontend.access import Access, Denied, Realm
from ovms_mp.frontend.http import body
from ovms_mp.frontend.http.body import ClientGone
from ovms_mp.frontend.http.errors import (
    CODES,
    Problem,
    Refusal,
    error_response,
    outcome_of,
)
from ovms_mp.frontend.http.request import INTERFACE
from ovms_mp.frontend.pace import Pace
from ovms_mp.frontend.transport.seam import Code
from ovms_mp.telemetry import requests

if TYPE_CHECKING:
    from starlette.responses import Response
    from starlette.types import Message, Receive, Scope, Send

Handler: TypeAlias = Callable[[Request], Awaitable["Response"]]

# Of an int64, which is what a version is.
_MAX_DIGITS: Final = 19


class Endpoint:
    """A handler as an ASGI application, for those who may come to its realm."""

    def __init__(
        self,
        handler: Handler,
        access: Access,
        realm: Realm,
        method: str = "",
        *,
        pace: Pace | None = None,
    ) -> None:
        """`method` is what the log calls it. Who is refused for want of room is told at
        the `pace` of all that share it.
        """
        self._handler = handler
        self._pace = pace or Pace()
        self._method = method
        self._access = access
        self.realm: Final = realm

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        taken = _Taken(receive, has_body=_may_have_a_body(scope))
        request = Request(scope, taken)
        try:
            self._access.check(self.realm, request.headers.getlist("authorization"))
            response = await self._handler(request)
        except ClientGone:
            return
        except Denied as error:
            self._tell(request, 403 if error.is_known else 401, str(error))
            response = denied(error)
        except Exception as error:
            code, text = outcome_of(error)
            self._tell(request, code, text)
            response = error_response(code, text)
        if response.status_code == CODES[Code.RESOURCE_EXHAUSTED]:
            now = monotonic()
            await asyncio.sleep(self._pace.due(now) - now)
        if not taken.is_complete:
            # What follows on this connection is a body that nobody reads.
            response.headers["connection"] = "close"
            send = _Lingering(taken, send)
        await response(scope, taken, send)

    def _tell(self, request: Request, code: int, text: str) -> None:
        requests.failed(INTERFACE, self._method, named(request), str(code), text)


def named(request: HTTPConnection) -> str:
    """The servable in the path, "" if there is none, as it is for people."""
    return unquote(request.path_params.get("name", ""))


def denied(error: Denied) -> Response:
    """The answer to who may not."""
    response = error_response(403 if error.is_known else 401, str(error))
    if not error.is_known:
        response.headers["www-authenticate"] = "Bearer"
    return response


def servable_of(request: HTTPConnection) -> tuple[str, str]:
    """Name and version in the path; "" is no version. Raises Refusal, ServingError."""
    try:
        name = unquote(request.path_params["name"], errors="strict")
    except UnicodeDecodeError:
        raise Refusal(Problem.INVALID_URL) from None
    if ".." in name.split("/"):
        raise Refusal(Problem.PATH_INVALID)  # OVMS's, though here no name is a path
    version: str = request.path_params.get("version", "")
    if version and not (version.isascii() and version.isdigit()):
        raise Refusal(Problem.INVALID_URL)
    if len(version) > _MAX_DIGITS or (version and int(version) >= 2**63):
        raise ServingError(Status.MODEL_VERSION_MISSING)
    return name, version


def _may_have_a_body(scope: Scope) -> bool:
    return any(
        name == b"transfer-encoding" or (name == b"content-length" and value != b"0")
        for name, value in scope["headers"]
    )


class _Taken:
    """Receives, and knows if that was all."""

    def __init__(self, receive: Receive, *, has_body: bool) -> None:
        self._receive = receive
        self.is_complete = not has_body

    async def __call__(self) -> Message:
        message = await self._receive()
        if not message.get("more_body"):
            self.is_complete = True
        return message


class _Lingering:
    """Sends a response, and leaves its client a moment to read it."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.body" and not message.get("more_body"):
            await self._send({**message, "more_body": True})
            await body.linger(self._receive)
            message = {"type": "http.response.body", "body": b"", "more_body": False}
        await self._send(message)
