"""A connection to a server: is it ready, infer once, open a stream."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Final, Self, TypeVar

import grpc

from ovms_mp_clients import calls
from ovms_mp_clients.backoff import BACKOFF, Backoff, Patience
from ovms_mp_clients.calls import Call, ServableMetadata, ServerMetadata
from ovms_mp_clients.channel import KEEPALIVE, Keepalive, arguments
from ovms_mp_clients.errors import ClientError, ConnectionLost, TimedOut, from_rpc
from ovms_mp_clients.streaming import Stream
from ovms_mp_clients.tensors import Parameter, Result, TensorLike

T = TypeVar("T")

SHORT: Final = 5.0
"""Seconds for a question that a server answers at once."""

WINDOW: Final = 4
"""Timestamps in flight: some on the wire each way, one at work."""


class Client:
    """Thread-safe; close it, or use it in a `with` block.

        with Client("localhost:9000") as client:
            print(client.infer("dummy", {"b": np.zeros((1, 10), np.float32)})["a"])

    `credentials` makes the connection TLS. `options` are gRPC's channel arguments, and
    override this client's own. Timeouts are in seconds. Each method raises ClientError.
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
            grpc.insecure_channel(address, chosen)
            if credentials is None
            else grpc.secure_channel(address, credentials, chosen)
        )
        self._closed = threading.Event()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the connection and all calls on it."""
        self._closed.set()
        self._channel.close()

    def is_live(self, timeout: float = SHORT) -> bool:
        """True if the server answers. Never raises for one that does not."""
        try:
            return self._ask(calls.live(), timeout)
        except (ConnectionLost, TimedOut):
            return False

    def is_ready(
        self, name: str = "", version: str = "", timeout: float = SHORT
    ) -> bool:
        """True if the server, or a servable of it, would answer a request now.

        False also while the server cannot be reached. Raises CallFailed when there is
        no such servable.
        """
        try:
            return self._ask(calls.ready(name, version), timeout)
        except (ConnectionLost, TimedOut):
            return False

    def server_metadata(self, timeout: float = SHORT) -> ServerMetadata:
        """The server's name, version and extensions."""
        return self._ask(calls.server_metadata(), timeout)

    def metadata(
        self, name: str, version: str = "", timeout: float = SHORT
    ) -> ServableMetadata:
        """What a servable takes and gives."""
        return self._ask(calls.metadata(name, version), timeout)

    def infer(
        self,
        name: str,
        inputs: Mapping[str, TensorLike],
        *,
        version: str = "",
        parameters: Mapping[str, Parameter] | None = None,
        timeout: float | None = None,
    ) -> Result:
        """One request to a model or graph."""
        return self._ask(calls.infer(name, inputs, version, parameters), timeout)

    def stream(self, name: str, *, window: int = WINDOW) -> Stream:
        """Open a stream on a graph; at most `window` timestamps are in flight."""
        self._check_open()
        return Stream(self._channel, name, window=window)

    def streams(
        self,
        name: str,
        *,
        window: int = WINDOW,
        backoff: Backoff = BACKOFF,
    ) -> Iterator[Stream]:
        """One stream after another on a graph, until one is not lost.

            for stream in client.streams("people"):
                with stream:
                    try:
                        show_all(stream)
                    except ConnectionLost as lost:
                        print("the graph starts anew:", lost)

        Whoever loops sees each loss as ConnectionLost, from `send` or the iteration,
        and has to catch it for there to be a next stream: that one begins without
        state, at timestamp 0, and nothing is sent again. `stream.unanswered` tells what
        was not answered.

        Before each stream this waits until the graph is ready. Raises the ConnectionLost
        that keeps it waiting when `backoff` gives up.
        """
        patience = Patience(backoff)
        while True:
            while (why_not := self._why_not_ready(name)) is not None:
                self._wait(patience.pause(why_not))
            stream = self.stream(name, window=window)
            yield stream
            stream.cancel()
            if stream.lost is None:
                return
            if stream.has_answered:
                patience.renew()
            self._wait(patience.pause(stream.lost))

    def _why_not_ready(self, name: str) -> ConnectionLost | None:
        try:
            is_ready = self._ask(calls.ready(name, ""), SHORT)
        except (ConnectionLost, TimedOut) as error:
            return ConnectionLost(str(error), error.code)
        return None if is_ready else ConnectionLost(f"{name} is not ready")

    def _wait(self, seconds: float) -> None:
        self._closed.wait(seconds)
        self._check_open()

    def _ask(self, call: Call[T], timeout: float | None) -> T:
        self._check_open()
        send: grpc.UnaryUnaryMultiCallable[bytes, bytes]
        send = self._channel.unary_unary(call.method)
        try:
            return call.read(send(call.request, timeout=timeout))
        except grpc.RpcError as error:
            raise from_rpc(error) from None

    def _check_open(self) -> None:
        if self._closed.is_set():
            raise ClientError("the client is closed")
