"""The stream for asyncio: what waits is awaited, the rest is shared.

Everything here belongs to one event loop: make it, use it and close it there.
"""

# ruff: noqa: ASYNC109 # timeouts are as the other stream has them
from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from types import TracebackType
from typing import Self, TypeVar

import grpc
import grpc.aio
from ovms_mp_protos import kserve

from ovms_mp_clients.errors import (
    ClientError,
    ConnectionLost,
    RequestRefused,
    TimedOut,
    from_rpc,
    from_status,
)
from ovms_mp_clients.exchange import Exchange, read
from ovms_mp_clients.tensors import Parameter, Result, TensorLike

E = TypeVar("E", bound=ClientError | None)


class AsyncStream:
    """See `Stream`. One task may send while another iterates.

        async with client.stream("people") as stream:
            await stream.send({"frame": frame})
            stream.half_close()
            async for result in stream:
                show(result["annotated"])

    Cancelling the task that iterates ends the stream.
    """

    def __init__(self, channel: grpc.aio.Channel, name: str, *, window: int) -> None:
        self._exchange = Exchange(name, window)
        self._changed = asyncio.Event()
        self._requests: asyncio.Queue[bytes | None] = asyncio.Queue()
        call: grpc.aio.StreamStreamMultiCallable[bytes, bytes]
        call = channel.stream_stream(kserve.MODEL_STREAM_INFER)
        self._call = call(self._outgoing())
        self._responses = aiter(self._call)
        # A sender learns of the end even if nobody iterates.
        self._watch = asyncio.create_task(self._on_end())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.cancel()

    @property
    def unanswered(self) -> tuple[int, ...]:
        """See `Stream.unanswered`."""
        return self._exchange.unanswered

    @property
    def in_flight(self) -> int:
        """See `Stream.in_flight`."""
        return len(self._exchange.unanswered)

    @property
    def has_answered(self) -> bool:
        """See `Stream.has_answered`."""
        return self._exchange.has_answered

    @property
    def lost(self) -> ConnectionLost | None:
        """See `Stream.lost`."""
        return self._exchange.lost

    async def wait_for_room(self, timeout: float | None = None) -> bool:
        """See `Stream.wait_for_room`."""
        return await self._wait_for_room(None, timeout)

    async def send(
        self,
        inputs: Mapping[str, TensorLike],
        *,
        timestamp: int | None = None,
        parameters: Mapping[str, Parameter] | None = None,
        timeout: float | None = None,
    ) -> int:
        """See `Stream.send`."""
        timestamp, message = self._exchange.encode(inputs, timestamp, parameters)
        if not await self._wait_for_room(timestamp, timeout):
            raise TimedOut(f"{self.in_flight} requests are in flight")
        self._exchange.sent(timestamp)
        self._requests.put_nowait(message)
        return timestamp

    def half_close(self) -> None:
        """See `Stream.half_close`."""
        self._exchange.is_half_closed = True
        self._requests.put_nowait(None)
        self._changed.set()

    def cancel(self) -> None:
        """See `Stream.cancel`."""
        self._exchange.cancelled()
        self._changed.set()
        self._call.cancel()

    def __aiter__(self) -> AsyncIterator[Result]:
        return self

    async def __anext__(self) -> Result:
        try:
            message = await anext(self._responses)
        except StopAsyncIteration:
            self._end(None)
            raise
        except grpc.RpcError as error:
            raise self._end(from_rpc(error)) from None
        except asyncio.CancelledError:
            if is_asked_to_stop():
                self.cancel()
                raise
            if self._exchange.is_cancelled:
                raise StopAsyncIteration from None
            raise self._end(closed_meanwhile()) from None
        try:
            answer = read(message)
        except ClientError:
            self.cancel()
            raise
        self._exchange.received(answer)
        self._changed.set()
        if isinstance(answer, RequestRefused):
            raise answer
        return answer

    async def _wait_for_room(
        self, timestamp: int | None, timeout: float | None
    ) -> bool:
        try:
            async with asyncio.timeout(timeout):
                while not self._exchange.need_not_wait(timestamp):
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            return False
        self._exchange.check()
        return True

    async def _outgoing(self) -> AsyncIterator[bytes]:
        while (message := await self._requests.get()) is not None:
            yield message

    async def _on_end(self) -> None:
        code = await self._call.code()
        is_good = code is grpc.StatusCode.OK
        self._end(None if is_good else from_status(code, await self._call.details()))

    def _end(self, error: E) -> E:
        self._exchange.ended(error)
        self._requests.put_nowait(None)  # lets gRPC's reader of requests go
        self._changed.set()
        return error


def is_asked_to_stop() -> bool:
    """True if this task is cancelled, rather than a call that it waits for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def closed_meanwhile() -> ConnectionLost:
    """What became of a call whose client was closed by another task."""
    code = grpc.StatusCode.CANCELLED
    return ConnectionLost(f"{code.name}: the client was closed", code)
