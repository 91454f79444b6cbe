"""One call on grpc.aio: whatever its handler does, it ends with a status, or in silence
because the client has gone.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final, NoReturn, TypeAlias, TypeVar, cast

import grpc
import grpc.aio

from ovms_mp.core.pending import Pending
from ovms_mp.frontend.transport.aio_loop import LoopThread
from ovms_mp.frontend.transport.seam import (
    INTERNAL,
    Abort,
    Code,
    Ending,
    Metadata,
    UnaryHandler,
    checked,
)

log = logging.getLogger(__name__)

R = TypeVar("R")

Context: TypeAlias = grpc.aio.ServicerContext[bytes, bytes]

STATUS: Final = {Code(code.value[0]): code for code in grpc.StatusCode}

# A client without a deadline: some versions say None, some say centuries.
_NEVER: Final = 1e8

_NO_MESSAGE: Final = Ending(
    Code.UNIMPLEMENTED, "the method takes exactly one message, and none came"
)


class AioCall:
    """What calls of both kinds know and do. See `seam.Call`.

    The context must not be used once the RPC's coroutine has ended: grpcio frees the
    call under it then (1.85.1 frees it at once, and the process would crash). So what
    it tells is read at the start, and whoever uses it later asks `_is_over` first.
    """

    def __init__(self, method: str, context: Context, loop: LoopThread) -> None:
        self.method = method
        self.peer: str = context.peer()
        self.invocation_metadata: Metadata = tuple(context.invocation_metadata() or ())
        remaining = cast("float | None", context.time_remaining())
        self.deadline: float | None = None
        if remaining is not None and remaining < _NEVER:
            self.deadline = time.monotonic() + remaining
        self.is_cancelled = False
        self._context = context
        self._loop = loop
        self._is_over = False
        self._initial_metadata: Metadata = ()
        self._trailing_metadata: Metadata = ()

    @property
    def time_remaining(self) -> float | None:
        """See `seam.Call`."""
        if self.deadline is None:
            return None
        return max(0.0, self.deadline - time.monotonic())

    @property
    def initial_metadata(self) -> Metadata:
        """See `seam.Call`."""
        return self._initial_metadata

    @initial_metadata.setter
    def initial_metadata(self, metadata: Iterable[tuple[str, str | bytes]]) -> None:
        self._initial_metadata = checked(metadata)

    @property
    def trailing_metadata(self) -> Metadata:
        """See `seam.Call`."""
        return self._trailing_metadata

    @trailing_metadata.setter
    def trailing_metadata(self, metadata: Iterable[tuple[str, str | bytes]]) -> None:
        self._trailing_metadata = checked(metadata)

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

    def _ending_of(self, error: BaseException) -> Ending:
        """The status that `error` stands for; what is not an Abort is logged."""
        if isinstance(error, Abort):
            return error.ending
        log.error("%s: the handler failed", self.method, exc_info=error)
        return INTERNAL

    def _attempt(self, callback: Callable[..., R], *arguments: object) -> R | Ending:
        """What `callback` returns, or the status that it ends the call with."""
        try:
            return callback(*arguments)
        # SystemExit or KeyboardInterrupt in an event loop would end the whole server.
        except BaseException as error:
            return self._ending_of(error)


def leave() -> NoReturn:
    """End the RPC's coroutine after a batch that failed.

    A failed batch is how grpc.aio says that the call is dead. Its exception must not
    leave the coroutine: grpcio logs it as an error if it has not seen the client go yet,
    and whoever keeps the log record keeps the traceback, its frames, and the call.
    """
    raise asyncio.CancelledError


class UnaryCall(AioCall):
    """One message for one message."""

    async def run(self, handler: UnaryHandler, max_send_bytes: int | None) -> bytes:
        """The answer. Raises what ends the RPC otherwise."""
        message = await self._message()
        if message is None:
            await self._abort(_NO_MESSAGE)
        answer = self._attempt(handler, message, self)
        if isinstance(answer, Pending):
            answer = await self._settled(answer)
        answer = self._checked(answer, max_send_bytes)
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
            self.is_cancelled = True
            self._attempt(pending.cancel)
            raise

    def _checked(self, answer: object, max_send_bytes: int | None) -> bytes | Ending:
        if isinstance(answer, bytes):
            return too_large(answer, max_send_bytes) or answer
        if isinstance(answer, Ending):
            return answer
        kind = type(answer).__name__
        log.error("%s: the handler's answer is %s, not bytes", self.method, kind)
        return INTERNAL


def too_large(message: bytes, max_send_bytes: int | None) -> Ending | None:
    """The status of a call whose answer is larger than the server may send."""
    if max_send_bytes is None or len(message) <= max_send_bytes:
        return None
    return Ending(
        Code.RESOURCE_EXHAUSTED,
        f"a response has {len(message)} bytes, and at most {max_send_bytes} may be sent",
    )
