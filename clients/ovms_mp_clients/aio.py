"""The same client for asyncio: what waits is awaited, the rest is shared.

Everything here belongs to one event loop: make it, use it and close it there.
"""

# ruff: noqa: ASYNC109 # a timeout is the call's deadline, which the server is told
from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from types import TracebackType
from typing import Self, TypeVar

import grpc
import grpc.aio

from ovms_mp_clients import calls
from ovms_mp_clients.aio_streaming import (
    AsyncStream,
    closed_meanwhile,
    is_asked_to_stop,
)
from ovms_mp_clients.backoff import BACKOFF, Backoff, Patience
from ovms_mp_clients.calls import Call, ServableMetadata, ServerMetadata
from ovms_mp_clients.channel import KEEPALIVE, Keepalive, arguments
from ovms_mp_clients.client import SHORT, WINDOW
from ovms_mp_clients.errors import ClientError, ConnectionLost, TimedOut, from_rpc
from ovms_mp_clients.tensors import Parameter, Result, TensorLike

T = TypeVar("T")


class AsyncClient:
    """See `Client`, whose methods these are, awaited.

    async with AsyncClient("localhost:9000") as client:
        result = await client.infer("dummy", {"b": np.zeros((1, 10), np.float32)})
    """

    def __init__(
        self,
        address: str,
        *,
        credentials: grpc.ChannelCredentials | None = None,
        keepalive: Keepalive | None = KEEPALIVE,
        options: Mapping[str, str | int] | None = None,
    ) -> None:
        chosen = arguments(keepalive, options)
        self._channel = (
            grpc.aio.insecure_channel(address, chosen)
            if credentials is None
            else grpc.aio.secure_channel(address, credentials, chosen)
        )
        self._closed = asyncio.Event()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """See `Client.close`."""
        self._closed.set()
        await self._channel.close()

    async def is_live(self, timeout: float = SHORT) -> bool:
        """See `Client.is_live`."""
        try:
            return await self._ask(calls.live(), timeout)
        except (ConnectionLost, TimedOut):
            return False

    async def is_ready(
        self, name: str = "", version: str = "", timeout: float = SHORT
    ) -> bool:
        """See `Client.is_ready`."""
        try:
            return await self._ask(calls.ready(name, version), timeout)
        except (ConnectionLost, TimedOut):
            return False

    async def server_metadata(self, timeout: float = SHORT) -> ServerMetadata:
        """See `Client.server_metadata`."""
        return await self._ask(calls.server_metadata(), timeout)

    async def metadata(
        self, name: str, version: str = "", timeout: float = SHORT
    ) -> ServableMetadata:
        """See `Client.metadata`."""
        return await self._ask(calls.metadata(name, version), timeout)

    async def infer(
        self,
        name: str,
        inputs: Mapping[str, TensorLike],
        *,
        version: str = "",
        parameters: Mapping[str, Parameter] | None = None,
        timeout: float | None = None,
    ) -> Result:
        """See `Client.infer`."""
        return await self._ask(calls.infer(name, inputs, version, parameters), timeout)

    def stream(self, name: str, *, window: int = WINDOW) -> AsyncStream:
        """See `Client.stream`."""
        self._check_open()
        return AsyncStream(self._channel, name, window=window)

    async def streams(
        self, name: str, *, window: int = WINDOW, backoff: Backoff = BACKOFF
    ) -> AsyncIterator[AsyncStream]:
        """See `Client.streams`; here it is `async for` and `async with`."""
        patience = Patience(backoff)
        while True:
            while (why_not := await self._why_not_ready(name)) is not None:
                await self._wait(patience.pause(why_not))
            stream = self.stream(name, window=window)
            yield stream
            stream.cancel()
            if stream.lost is None:
                return
            if stream.has_answered:
                patience.renew()
            await self._wait(patience.pause(stream.lost))

    async def _why_not_ready(self, name: str) -> ConnectionLost | None:
        try:
            is_ready = await self._ask(calls.ready(name, ""), SHORT)
        except (ConnectionLost, TimedOut) as error:
            return ConnectionLost(str(error), error.code)
        return None if is_ready else ConnectionLost(f"{name} is not ready")

    async def _wait(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._closed.wait()
        except TimeoutError:
            return
        self._check_open()

    async def _ask(self, call: Call[T], timeout: float | None) -> T:
        self._check_open()
        send: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]
        send = self._channel.unary_unary(call.method)
        try:
            return call.read(await send(call.request, timeout=timeout))
        except grpc.RpcError as error:
            raise from_rpc(error) from None
        except asyncio.CancelledError:
            if is_asked_to_stop():
                raise
            raise closed_meanwhile() from None

    def _check_open(self) -> None:
        if self._closed.is_set():
            raise ClientError("the client is closed")
