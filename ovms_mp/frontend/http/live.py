"""A response that goes on: an event with what is seen now, again and again, until its
reader leaves or the server ends.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import orjson
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from starlette.types import Receive, Scope, Send

INTERVAL: Final = 0.5
"""Seconds between two looks."""


class Live(Response):
    """`seen` is asked in a thread of its own; `left` is called once, at the end."""

    media_type = "text/event-stream"

    def __init__(
        self,
        seen: Callable[[], Mapping[str, Any]],
        is_over: Callable[[], bool],
        left: Callable[[], object],
    ) -> None:
        super().__init__(headers={"cache-control": "no-store"})
        del self.headers["content-length"]
        self._seen = seen
        self._is_over = is_over
        self._left = left

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Tell, until there is nobody to tell."""
        telling = asyncio.create_task(self._tell(send))
        leaving = asyncio.create_task(_disconnected(receive))
        try:
            await asyncio.wait((telling, leaving), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in (telling, leaving):
                each.cancel()
            await asyncio.gather(telling, leaving, return_exceptions=True)
            self._left()

    async def _tell(self, send: Send) -> None:
        headers = self.raw_headers
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        while not self._is_over():
            seen = orjson.dumps(await run_in_threadpool(self._seen))
            event = b"data: " + seen + b"\n\n"
            await send({"type": "http.response.body", "body": event, "more_body": True})
            await asyncio.sleep(INTERVAL)
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
