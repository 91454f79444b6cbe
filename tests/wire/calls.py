"""KServe v2 spoken by hand: requests that no client library would send, and streams of
which every message is seen.
"""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import grpc
import numpy as np
from ovms_mp_clients.tensors import Parameter, decode, encode
from ovms_mp_protos import kserve

TIMESTAMP = "OVMS_MP_TIMESTAMP"
ANSWERS_WITHIN = 30.0  # seconds

# Frames are larger than gRPC's 4 MiB, and channels of tests do not share connections.
OPTIONS = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.use_local_subchannel_pool", 1),
    # Read no further ahead than has to be, however slow a busy machine is.
    ("grpc.http2.bdp_probe", 0),
)

Request = kserve.ModelInferRequest
Answer = kserve.ModelInferResponse
Status = tuple[str, str]
"""The name of a gRPC code, and the text beside it."""


def connect(address: str) -> grpc.Channel:
    """A channel with a connection of its own."""
    return grpc.insecure_channel(address, OPTIONS)


def ask(
    name: str,
    inputs: Mapping[str, Any] | None = None,
    *,
    at: int | None = None,
    parameters: Mapping[str, Parameter] | None = None,
    **fields: str,
) -> Request:
    """A request with raw contents. `at` is the timestamp; `fields` are `model_version`
    and `id`.
    """
    given = dict(parameters or {})
    if at is not None:
        given[TIMESTAMP] = at
    request = encode(name, inputs or {}, parameters=given)
    for field, value in fields.items():
        setattr(request, field, value)
    return request


def shaped(model: str, port: str, datatype: str, *shape: int, **fields: Any) -> Request:
    """A request of one input that says this of itself. `raw` are its raw contents,
    other fields its typed ones.
    """
    request = Request(model_name=model)
    raw = fields.pop("raw", None)
    tensor = request.inputs.add(name=port, datatype=datatype, shape=shape)
    for field, values in fields.items():
        getattr(tensor.contents, field).extend(values)
    if raw is not None:
        request.raw_input_contents.append(raw)
    return request


def floats(*values: float) -> np.ndarray:
    """FP32 [1, n]."""
    return np.array([values], np.float32)


def text(tensor: str) -> np.ndarray:
    """UINT8 [n]: what a Python handler reads as a word."""
    return np.frombuffer(tensor.encode(), np.uint8)


def arrays(answer: Answer) -> dict[str, list[Any]]:
    """An answer's outputs as lists."""
    return {
        name: value if isinstance(value, list) else value.tolist()
        for name, value in decode(answer).outputs.items()
    }


def timestamp(answer: Answer) -> int:
    """Of what an answer is the answer."""
    return answer.parameters[TIMESTAMP].int64_param


def status_of(call: Callable[[], object]) -> Status:
    """With what a call fails."""
    try:
        call()
    except grpc.RpcError as error:
        return _status(error)
    return ("OK", "")


def infer(channel: grpc.Channel, request: Request | bytes, **more: Any) -> Answer:
    """ModelInfer. Raises grpc.RpcError."""
    message = request if isinstance(request, bytes) else request.SerializeToString()
    more.setdefault("timeout", ANSWERS_WITHIN)
    method: Any = channel.unary_unary(kserve.MODEL_INFER)
    return Answer.FromString(method(message, **more))


def refusal(channel: grpc.Channel, request: Request | bytes) -> Status:
    """With what ModelInfer fails."""
    return status_of(lambda: infer(channel, request))


class Stream:
    """One ModelStreamInfer. Leaving the `with` block cancels it."""

    def __init__(
        self,
        channel: grpc.Channel,
        *requests: Request,
        seconds: float | None = ANSWERS_WITHIN,
        metadata: Sequence[tuple[str, str]] = (),
    ) -> None:
        self._requests: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        method: Any = channel.stream_stream(kserve.MODEL_STREAM_INFER)
        given = iter(self._requests.get, None)
        self._call = method(given, timeout=seconds, metadata=metadata)
        self.send(*requests)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.cancel()

    def send(self, *requests: Request | bytes) -> None:
        """Send, as far as flow control allows."""
        for each in requests:
            message = each if isinstance(each, bytes) else each.SerializeToString()
            self._requests.put(message)

    def half_close(self) -> None:
        """No more requests."""
        self._requests.put(None)

    def cancel(self) -> None:
        """Go."""
        self._call.cancel()
        self._requests.put(None)

    def next(self) -> kserve.ModelStreamInferResponse:
        """The next message, whatever it says. Raises grpc.RpcError or StopIteration."""
        return kserve.ModelStreamInferResponse.FromString(next(self._call))

    def answer(self) -> Answer:
        """The next message, which is no refusal."""
        message = self.next()
        assert not message.error_message, message.error_message
        return message.infer_response

    def refusal(self) -> str:
        """The next message's text, which is a refusal."""
        message = self.next()
        assert message.error_message, message.infer_response
        return message.error_message

    def rest(self) -> Iterator[Answer]:
        """All answers until the stream ends well."""
        while True:
            try:
                yield self.answer()
            except StopIteration:
                return

    def end(self) -> Status:
        """With what the stream ends; nothing may come before."""
        try:
            message = self.next()
        except StopIteration:
            return ("OK", "")
        except grpc.RpcError as error:
            return _status(error)
        raise AssertionError(f"the stream goes on: {message}")


def _status(error: Any) -> Status:
    return (error.code().name, error.details())
