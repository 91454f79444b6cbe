"""The far end of a stream on an event loop: what any thread gives to be sent leaves in
order, one message at a time, as fast as the client reads.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from ovms_mp.frontend.transport.seam import Code

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ovms_mp.frontend.transport.seam import Metadata, OnWritten

Send: TypeAlias = "Callable[[bytes], Awaitable[None]]"


class End(NamedTuple):
    """How the stream ends for its client."""

    code: Code
    details: str


class ClientLeft(Exception):
    """Nothing can be sent any more."""


class Line:
    """See `outlet.Line`, whose methods any thread may call; the coroutines are for the
    event loop that made it.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._outgoing: deque[tuple[bytes, OnWritten | None]] = deque()
        self._has_news = asyncio.Event()
        self._credits = asyncio.Semaphore(0)
        self._end: End | None = None
        self._is_lost = False

    def write(self, message: bytes, on_written: OnWritten | None = None) -> bool:
        """Send it after those before."""
        if self._is_lost:
            return False
        self._outgoing.append((message, on_written))
        self._tell(self._has_news.set)
        return True

    def request_next(self) -> None:
        """Let the client say one thing more."""
        self._tell(self._credits.release)

    def finish(
        self, code: Code = Code.OK, details: str = "", trailing_metadata: Metadata = ()
    ) -> bool:
        """End it after all that was written."""
        self._end = self._end or End(code, details)
        self._tell(self._has_news.set)
        return True

    async def credit(self) -> None:
        """Wait until the client may say one thing more."""
        await self._credits.acquire()

    async def carry(self, send: Send) -> End:
        """Send what there is until the end, which is told. Raises ClientLeft, as `send`
        does; then all that was not sent is told so.
        """
        try:
            while True:
                await self._has_news.wait()
                self._has_news.clear()
                while self._outgoing:
                    message, on_written = self._outgoing.popleft()
                    await send(message)
                    if on_written is not None:
                        on_written(True)
                if self._end is not None and not self._outgoing:
                    return self._end
        finally:
            self._is_lost = True
            while self._outgoing:
                _, on_written = self._outgoing.popleft()
                if on_written is not None:
                    on_written(False)

    def _tell(self, news: Callable[[], None]) -> None:
        with suppress(RuntimeError):  # the loop is over
            self._loop.call_soon_threadsafe(news)
