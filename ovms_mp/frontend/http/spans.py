"""A span for each inference over HTTP, in the trace that its head names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from ovms_mp.frontend.http.request import INTERFACE

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from ovms_mp.telemetry.spans import Spans

_INFERENCES: Final = ("/infer", "/infer_stream")


def traced(app: ASGIApp, spans: Spans) -> ASGIApp:
    """The application, whose inferences have spans."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["raw_path"].decode("latin-1")
        if not path.endswith(_INFERENCES):
            await app(scope, receive, send)
            return
        headers = {
            name.decode("latin-1"): value.decode("latin-1")
            for name, value in scope["headers"]
        }
        span = spans.begin(INTERFACE, path.rpartition("/")[2], headers)
        code = "499"

        async def hear(message: Message) -> None:
            nonlocal code
            if message["type"] == "websocket.accept":
                code = "101"
            elif message["type"].endswith("http.response.start"):
                code = str(message["status"])
            await send(message)

        try:
            with span.here():
                await app(scope, receive, hear)
        finally:
            span.over(unquote(scope.get("path_params", {}).get("name", "")), code)

    return answer
