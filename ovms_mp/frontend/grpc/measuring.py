"""How fast another server answers: requests of one kind in closed loops, each of which
sends the next one when it has its answer.

Each loop has a thread and each stream one request on its way. Python itself answers for a
part of what is measured: some thousands of requests a second are as many as it can ask.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import grpc
from ovms_mp_protos import kserve

from ovms_mp.core.messages import TensorInfo
from ovms_mp.frontend.grpc.asking import OPEN, Access, call

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

PATIENCE: Final = 30.0
"""Seconds for an answer; then it is an error."""

_UNLIMITED: Final = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
)


@dataclass(frozen=True, slots=True)
class Content:
    """An input as it is sent: raw, in the wire's order of bytes."""

    datatype: str
    shape: tuple[int, ...]
    raw: bytes


@dataclass(slots=True)
class Measured:
    """What came of it: seconds from a request to its answer, of each that had one, how
    many failed of what, and the seconds that it took in all.
    """

    latencies: list[float] = field(default_factory=list[float])
    errors: Counter[str] = field(default_factory=Counter[str])
    seconds: float = 0.0

    @property
    def rate(self) -> float:
        """Answers per second."""
        return len(self.latencies) / self.seconds if self.seconds else 0.0


class Target:
    """A servable of a server. Raises NoAnswer if there is none of that name."""

    def __init__(self, address: str, name: str, access: Access = OPEN) -> None:
        self._channel = access.channel(address, _UNLIMITED)
        self._metadata = access.metadata
        self._name = name
        request = kserve.ModelMetadataRequest(name=name).SerializeToString()
        try:
            said = kserve.ModelMetadataResponse.FromString(
                call(
                    self._channel,
                    kserve.MODEL_METADATA,
                    request,
                    PATIENCE,
                    self._metadata,
                )
            )
        except BaseException:
            self._channel.close()
            raise
        self.inputs = tuple(
            TensorInfo(each.name, each.datatype, tuple(each.shape))
            for each in said.inputs
        )
        self._outputs = frozenset(each.name for each in said.outputs)

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()

    def measure(
        self,
        contents: Mapping[str, Content],
        concurrency: int,
        seconds: float,
        *,
        is_stream: bool,
    ) -> Measured:
        """Ask for so long, with `concurrency` requests on their way at a time."""
        request = self._request(contents)
        found = Measured()
        lock = threading.Lock()
        end = time.perf_counter() + seconds
        exchange = self._stream if is_stream else self._unary

        def loop() -> None:
            latencies: list[float] = []
            errors: Counter[str] = Counter()
            try:
                exchange(request, end, latencies.append)
            except grpc.RpcError as error:
                errors[f"{error.code().name}: {error.details()}"] += 1
            except _Refused as error:
                errors[str(error)] += 1
            with lock:
                found.latencies += latencies
                found.errors += errors

        begun = time.perf_counter()
        threads = [threading.Thread(target=loop) for _ in range(concurrency)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        found.seconds = time.perf_counter() - begun
        return found

    def _request(self, contents: Mapping[str, Content]) -> bytes:
        message = kserve.ModelInferRequest(model_name=self._name)
        for name, content in contents.items():
            message.inputs.add(
                name=name, datatype=content.datatype, shape=content.shape
            )
            message.raw_input_contents.append(content.raw)
        return message.SerializeToString()

    def _unary(
        self, request: bytes, end: float, answered: Callable[[float], object]
    ) -> None:
        infer = self._channel.unary_unary(
            kserve.MODEL_INFER, request_serializer=bytes, response_deserializer=bytes
        )
        while (begun := time.perf_counter()) < end:
            infer(request, timeout=PATIENCE, metadata=self._metadata)
            answered(time.perf_counter() - begun)

    def _stream(
        self, request: bytes, end: float, answered: Callable[[float], object]
    ) -> None:
        """A request is answered when each output has come, in whatever parts."""
        goes_on = threading.Semaphore(0)
        is_over = False

        def requests() -> Iterator[bytes]:
            while True:
                goes_on.acquire()
                if is_over:
                    return
                yield request

        infer = self._channel.stream_stream(
            kserve.MODEL_STREAM_INFER,
            request_serializer=bytes,
            response_deserializer=kserve.ModelStreamInferResponse.FromString,
        )
        seconds = end - time.perf_counter()
        answers = infer(requests(), timeout=seconds + PATIENCE, metadata=self._metadata)
        try:
            while (begun := time.perf_counter()) < end:
                goes_on.release()
                left = set(self._outputs)
                while left:
                    answer = next(answers)
                    if answer.error_message:
                        raise _Refused(answer.error_message)
                    left -= {each.name for each in answer.infer_response.outputs}
                answered(time.perf_counter() - begun)
        except StopIteration:
            raise _Refused("the server has ended the stream") from None
        finally:
            is_over = True
            goes_on.release()
            answers.cancel()


class _Refused(Exception):
    pass
