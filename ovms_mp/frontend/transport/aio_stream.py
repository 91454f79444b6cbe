"""One stream on grpc.aio: reading and writing never wait for each other, and nothing
that grpcio has under way is ever cancelled from here.

A reader and a writer task run beside the RPC's own task, which is the one that grpcio
cancels when the client goes. It must be only that one: a read whose task is cancelled
loses the message that arrives meanwhile, in native memory that is never freed (seen on
1.62.3 and 1.85.1), and a write that is cancelled leaves the client without a status.
After the end both tasks run on until grpcio has done what they asked for.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

import grpc.aio

from ovms_mp.frontend.transport.aio_call import STATUS, AioCall, Context
from ovms_mp.frontend.transport.aio_loop import LoopThread
from ovms_mp.frontend.transport.call import too_large
from ovms_mp.frontend.transport.outbox import Outbox
from ovms_mp.frontend.transport.seam import (
    INTERNAL,
    Code,
    Ending,
    Metadata,
    OnWritten,
    Session,
    Stream,
)

log = logging.getLogger(__name__)

# grpc.aio says end of stream for a cancelled call too, and mostly before it cancels the
# RPC's task. A further read costs a round trip through grpcio's queue, where the
# cancellation is already waiting, and a turn of the loop in which it is delivered.
# Cancelled streams that looked half-closed, on an idle and a busy machine, with 1.62.3,
# 1.76.0 and 1.85.1: 5654 of 6000 without a further read, 259 of 12000 with one, none of
# 12000 with two. The third is a margin; each delays on_half_close by some 50 us.
FURTHER_READS: Final = 3

# How long grpcio may take to cancel the task of a call on which a batch has failed. It
# takes a turn of the loop.
_CANCELLATION_SECONDS: Final = 1.0


class StreamCall(AioCall):
    """See `seam.StreamCall`."""

    def __init__(
        self,
        method: str,
        context: Context,
        loop: LoopThread,
        *,
        send_limit: int,
        max_send_bytes: int | None,
    ) -> None:
        super().__init__(method, context, loop)
        self._outbox = Outbox(send_limit)
        self._max_send_bytes = max_send_bytes
        self._session: Session | None = None
        self._is_overrun = False
        self._credit = 0
        self._may_read = asyncio.Event()
        self._may_write = asyncio.Event()
        self._all_sent: asyncio.Future[bool] = loop.loop.create_future()

    @property
    def send_limit(self) -> int:
        """See `seam.StreamCall`."""
        return self._outbox.limit

    @property
    def queued(self) -> int:
        """See `seam.StreamCall`."""
        return self._outbox.queued

    @property
    def queued_bytes(self) -> int:
        """See `seam.StreamCall`."""
        return self._outbox.queued_bytes

    def write(self, message: bytes, on_written: OnWritten | None = None) -> bool:
        """See `seam.StreamCall`."""
        if not isinstance(message, bytes):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"a message is bytes, not {type(message).__name__}")
        if (ending := too_large(message, self._max_send_bytes)) is None:
            is_taken = self._outbox.put(message, on_written)
        else:
            is_taken = False
            if self._outbox.is_open:
                self._is_overrun = True  # first: the loop may be quicker than this
                self._outbox.finish(self._failed(ending))
        self._loop.post(self._wake)
        return is_taken

    def request_next(self) -> None:
        """See `seam.StreamCall`."""
        self._loop.post(self._add_credit)

    def finish(
        self, code: Code = Code.OK, details: str = "", trailing_metadata: Metadata = ()
    ) -> bool:
        """See `seam.StreamCall`."""
        if not self._outbox.finish(Ending(code, details, trailing_metadata)):
            return False
        self._loop.post(self._wake)
        return True

    async def run(self, route: Stream) -> None:
        """Live until the status is settled and all is sent; grpcio sends the status."""
        self._open(route)
        self._loop.spawn(self._read_all())
        self._loop.spawn(self._write_all())
        try:
            is_sent = await self._all_sent
        except asyncio.CancelledError:
            self._lose()
            raise
        if not is_sent:
            self._lose()
            await asyncio.sleep(_CANCELLATION_SECONDS)
            await self._abort(INTERNAL)
        if self._is_overrun:
            self._drop()
        self._session = None
        self._is_over = True
        self._wake()
        self._set_status()

    def _open(self, route: Stream) -> None:
        refused = self._refused(route.admission)
        session = refused or self._attempt(route.factory)
        if isinstance(session, Ending):
            self._outbox.finish(session)
            return
        self._session = session
        self._tell(session.on_open, self)

    def _set_status(self) -> None:
        ending = self._outbox.ending or INTERNAL
        self._context.set_code(STATUS[ending.code])
        self._context.set_details(ending.details)
        self._context.set_trailing_metadata(
            self._trailing_metadata + ending.trailing_metadata
        )

    def _lose(self) -> None:
        """The client has gone, or was made to go."""
        self._is_lost = self._is_over = True
        self._drop()

    def _break_off(self, ending: Ending) -> None:
        """End with this status at once, unless the end is settled."""
        if self._outbox.finish(ending):
            self._drop()

    def _drop(self) -> None:
        for on_written in self._outbox.drop():
            self._tell(on_written, False)
        session, self._session = self._session, None
        if session is not None:
            self._tell(session.on_cancel)
        self._wake()

    def _tell(self, callback: Callable[..., object], *arguments: object) -> None:
        failure = self._attempt(callback, *arguments)
        if isinstance(failure, Ending):
            self._break_off(failure)

    def _wake(self) -> None:
        self._may_read.set()
        self._may_write.set()

    def _add_credit(self) -> None:
        self._credit += 1
        self._may_read.set()

    async def _read_all(self) -> None:
        try:
            while await self._take_credit():
                message = await self._context.read()
                if message is grpc.aio.EOF:
                    break
                if (session := self._listening()) is not None:
                    self._tell(session.on_message, message)
            else:
                return
            for _ in range(FURTHER_READS):
                if self._listening() is None:
                    return
                await self._context.read()
        except grpc.aio.BaseError:
            return  # the call has ended, and its own task knows
        except Exception:
            log.exception("%s: reading failed", self.method)
            self._break_off(INTERNAL)
        if (session := self._listening()) is not None:
            self._tell(session.on_half_close)

    def _listening(self) -> Session | None:
        """The session, if the client's messages still concern it."""
        is_open = self._outbox.is_open and not self._is_over
        return self._session if is_open else None

    async def _take_credit(self) -> bool:
        while self._listening() is not None:
            if self._credit:
                self._credit -= 1
                return True
            self._may_read.clear()
            await self._may_read.wait()
        return False

    async def _write_all(self) -> None:
        is_sent = False
        try:
            while (message := await self._next_message()) is not None:
                await self._send_initial_metadata()
                if self._is_over:
                    break
                await self._context.write(message)
                if (on_written := self._outbox.sent()) is not None:
                    self._tell(on_written, True)
            if not self._is_over:
                await self._send_initial_metadata()
            is_sent = True
        except grpc.aio.BaseError:
            pass  # the call is dead
        except Exception:
            log.exception("%s: writing failed", self.method)
        if not self._all_sent.done():
            self._all_sent.set_result(is_sent)

    async def _next_message(self) -> bytes | None:
        while True:
            if (message := self._outbox.take()) is not None:
                return message
            if not self._outbox.is_open:
                return None
            self._may_write.clear()
            await self._may_write.wait()
