"""A connection to a server: is it ready, infer once, open a stream."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Self

import grpc
from google.protobuf.message import Message
from ovms_mp_protos import kserve

from ovms_mp_clients.errors import from_rpc
from ovms_mp_clients.streaming import Stream
from ovms_mp_clients.tensors import Parameter, Result, TensorLike, decode, encode


class Client:
    """Thread-safe; close it, or use it in a `with` block.

        with Client("localhost:9000") as client:
            print(client.infer("dummy", {"b": np.zeros((1, 10), np.float32)})["a"])

    `credentials` makes the connection TLS.
    """

    def __init__(
        self, address: str, *, credentials: grpc.ChannelCredentials | None = None
    ) -> None:
        # Frames and tensors are larger than gRPC's 4 MiB; the server has its own limit.
        options = [
            ("grpc.max_receive_message_length", -1),
            ("grpc.max_send_message_length", -1),
        ]
        self._channel = (
            grpc.insecure_channel(address, options)
            if credentials is None
            else grpc.secure_channel(address, credentials, options)
        )

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
        self._channel.close()

    def is_ready(self, name: str = "", version: str = "", timeout: float = 5) -> bool:
        """True if the server, or a servable of it, would answer a request now.

        False also while the server cannot be reached. Raises ClientError when there is
        no such servable.
        """
        try:
            if not name:
                request = kserve.ServerReadyRequest()
                answer = self._call(kserve.SERVER_READY, request, timeout)
                return kserve.ServerReadyResponse.FromString(answer).ready
            ask = kserve.ModelReadyRequest(name=name, version=version)
            answer = self._call(kserve.MODEL_READY, ask, timeout)
            return kserve.ModelReadyResponse.FromString(answer).ready
        except grpc.RpcError as error:
            if error.code() == grpc.StatusCode.UNAVAILABLE:
                return False
            raise from_rpc(error) from None

    def infer(
        self,
        name: str,
        inputs: Mapping[str, TensorLike],
        *,
        version: str = "",
        parameters: Mapping[str, Parameter] | None = None,
        timeout: float | None = None,
    ) -> Result:
        """One request to a model or graph. Raises ClientError."""
        request = encode(name, inputs, parameters=parameters)
        request.model_version = version
        try:
            answer = self._call(kserve.MODEL_INFER, request, timeout)
        except grpc.RpcError as error:
            raise from_rpc(error) from None
        return decode(kserve.ModelInferResponse.FromString(answer))

    def stream(self, name: str, *, window: int = 4) -> Stream:
        """Open a stream on a graph; at most `window` timestamps are in flight."""
        return Stream(self._channel, name, window=window)

    def _call(self, method: str, request: Message, timeout: float | None) -> bytes:
        call: grpc.UnaryUnaryMultiCallable[bytes, bytes]
        call = self._channel.unary_unary(method)
        return call(request.SerializeToString(), timeout=timeout)
