"""One call on grpc.aio: whatever its handler does, it ends with a status, or in silence
because the client has gone.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from typing import Final, NoReturn, TypeAlias, TypeVar, cast

import grpc
import grpc.aio

from ovms_mp.core.pending import Pending
from ovms_mp.frontend.transport.aio_loop import LoopThread
from ovms_mp.frontend.transport.call import EXPIRED, NO_MESSAGE, ServedCall
from ovms_mp.frontend.transport.seam import Code, Ending, Unary

log = logging.getLogger(__name__)

R = TypeVar("R")

Context: TypeAlias = grpc.aio.ServicerContext[bytes, bytes]

STATUS: Final = {Code(code.value[0]): code for code in grpc.StatusCode}

# A client without a deadline: some versions say None, some say centuries.
_NEVER: Final = 1e8


class AioCall(ServedCall):
    """What calls of both kinds do.

    The context must not be used once the RPC's coroutine has ended: grpcio frees the
    call under it then (1.85.1 frees it at once, and the process would crash). So what
    it tells is read at the start, and whoever uses it later asks `_is_over` first.
    """

    def __init__(self, method: str, context: Context, loop: LoopThread) -> None:
        super().__init__(
            method,
            tuple(context.invocation_metadata() or ()),
            _deadline(cast("float | None", context.time_remaining())),
        )
        self.peer: str = context.peer()
        self._context = context
        self._loop = loop
        self._is_over = False

    async def _send_initial_metadata(self) -> None:
        """Once, before anything else is sent; without any, the first batch does it."""
        metadata, self._initial_metadata = self._initial_metadata, ()
        if metadata:
            await self._context.send_initial_metadata(metadata)

    async def _abort(self, ending: Ending) -> NoReturn:
        """End the RPC with `ending` and without a message."""
        trailing = self._trailing_metadata + ending.trailing_metadata
        try:
            await self._send_initial_metadata()
            await self._context.abort(STATUS[ending.code], ending.details, trailing)
        except grpc.aio.InternalError:
            leave()


def leave() -> NoReturn:
    """End the RPC's coroutine after a batch that failed.

    A failed batch is how grpc.aio says that the call is dead. Its exception must not
    leave the coroutine: grpcio logs it as an error if it has not seen the client go yet,
    and whoever keeps the log record keeps the traceback, its frames, and the call.
    """
    raise asyncio.CancelledError


class UnaryCall(AioCall):
    """One message for one message."""

    async def run(self, route: Unary, max_send_bytes: int | None) -> bytes:
        """The answer. Raises what ends the RPC otherwise."""
        refused = self._refused(route.admission)
        if refused is not None:
            await self._abort(refused)
        try:
            message = await self._message()
        except asyncio.CancelledError:  # how it is told here, mostly
            self._failed(NO_MESSAGE)
            raise
        if message is None:
            await self._abort(self._failed(NO_MESSAGE))
        if self.is_expired:
            await self._abort(self._failed(EXPIRED))
        answer = self._attempt(route.handler, message, self)
        if isinstance(answer, Pending):
            answer = await self._settled(answer)
        answer = self._sendable(answer, max_send_bytes)
        if isinstance(answer, Ending):
            await self._abort(answer)
        try:
            await self._send_initial_metadata()
        except grpc.aio.InternalError:
            leave()
        self._context.set_trailing_metadata(self._trailing_metadata)
        return answer

    async def _message(self) -> bytes | None:
        # In a task of its own: see `aio_stream` for what a cancelled read leaves behind.
        message: asyncio.Future[bytes | None] = self._loop.loop.create_future()

        async def read() -> None:
            received = None
            with suppress(grpc.aio.BaseError):
                received = await self._context.read()
            if not message.done():
                message.set_result(received if isinstance(received, bytes) else None)

        self._loop.spawn(read())
        return await message

    async def _settled(self, pending: Pending[bytes]) -> bytes | Ending:
        if not pending.is_settled:
            await self._wait(pending)
        return self._attempt(pending.value)

    async def _wait(self, pending: Pending[bytes]) -> None:
        settled: asyncio.Future[None] = self._loop.loop.create_future()

        def wake() -> None:
            if not settled.done():
                settled.set_result(None)

        pending.on_settled(lambda _: self._loop.post(wake))
        try:
            await settled
        except asyncio.CancelledError:
            self._is_lost = True
            self._attempt(pending.cancel)
            raise


def _deadline(remaining: float | None) -> float | None:
    if remaining is None or remaining > _NEVER:
        return None
    return time.monotonic() + remaining
