"""A bidirectional stream on a graph: send inputs, iterate over answers, at most a
window's worth in flight.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Self

import grpc
from ovms_mp_protos import kserve

from ovms_mp_clients.errors import ClientError, ConnectionLost, RequestRefused, from_rpc
from ovms_mp_clients.tensors import (
    TIMESTAMP,
    Parameter,
    Result,
    TensorLike,
    decode,
    encode,
)


class Stream:
    """One thread may send while another iterates; each end is for one thread.

        with client.stream("people") as stream:
            stream.send({"frame": frame})
            stream.half_close()
            for result in stream:
                show(result["annotated"])

    Iteration raises RequestRefused for a request that did not fit and can go on after
    it; any other ClientError is the stream's end. Leaving the `with` block cancels what
    is still going on.
    """

    def __init__(self, channel: grpc.Channel, name: str, *, window: int) -> None:
        self._name = name
        self._window = window
        self._requests: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._in_flight: deque[int] = deque()
        self._changed = threading.Condition()
        self._next_timestamp = 0
        self._end: ClientError | None = None
        self._is_over = False
        call: grpc.StreamStreamMultiCallable[bytes, bytes]
        call = channel.stream_stream(kserve.MODEL_STREAM_INFER)
        self._responses = call(iter(self._requests.get, None))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.cancel()

    @property
    def in_flight(self) -> int:
        """Timestamps that were sent and not answered."""
        return len(self._in_flight)

    def send(
        self,
        inputs: Mapping[str, TensorLike],
        *,
        timestamp: int | None = None,
        parameters: Mapping[str, Parameter] | None = None,
        timeout: float | None = None,
    ) -> int:
        """Send inputs, when the window has room; returns their timestamp.

        Without `timestamp` it is one more than the last, from 0 on. Parameters of the first request are side packets of the graph. Raises
        TimeoutError after `timeout` seconds without room, ClientError when the stream
        has ended.
        """
        if timestamp is None:
            timestamp = self._next_timestamp
        # Said even where the server would count the same: its count stands still at a
        # request that it refuses.
        everything = {**(parameters or {}), TIMESTAMP: timestamp}
        request = encode(self._name, inputs, parameters=everything)
        with self._changed:
            if not self._changed.wait_for(self._may_send, timeout):
                message = f"{len(self._in_flight)} requests are in flight"
                raise TimeoutError(message)
            if self._is_over:
                raise self._end or ConnectionLost("the stream has ended")
            self._next_timestamp = timestamp + 1
            if timestamp not in self._in_flight:
                self._in_flight.append(timestamp)
        self._requests.put(request.SerializeToString())
        return timestamp

    def half_close(self) -> None:
        """No more requests: the server answers what is there and ends the stream."""
        self._requests.put(None)

    def cancel(self) -> None:
        """End the stream now, whatever is in flight."""
        self._requests.put(None)
        self._responses.cancel()
        self._over(None)

    def __iter__(self) -> Iterator[Result]:
        return self

    def __next__(self) -> Result:
        try:
            message = next(self._responses)
        except StopIteration:
            self._over(None)
            raise
        except grpc.RpcError as error:
            end = from_rpc(error)
            self._over(end)
            raise end from None
        response = kserve.ModelStreamInferResponse.FromString(message)
        if response.error_message:
            self._answered(None)
            raise RequestRefused(response.error_message)
        result = decode(response.infer_response)
        self._answered(result.timestamp)
        return result

    def _may_send(self) -> bool:
        return self._is_over or len(self._in_flight) < self._window

    def _answered(self, timestamp: int | None) -> None:
        """An answer makes room for its request and for those before it: a graph may
        drop some. A refusal carries no timestamp; the oldest is the one it can be.
        """
        with self._changed:
            flying = self._in_flight
            if timestamp is None and flying:
                flying.popleft()
            while timestamp is not None and flying and flying[0] <= timestamp:
                flying.popleft()
            self._changed.notify_all()

    def _over(self, end: ClientError | None) -> None:
        with self._changed:
            self._is_over = True
            self._end = self._end or end
            self._changed.notify_all()
