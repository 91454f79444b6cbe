"""A bidirectional stream on a graph: send inputs, iterate over answers, at most a
window's worth in flight.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Mapping
from functools import partial
from types import TracebackType
from typing import Self

import grpc
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


class Stream:
    """One thread may send while another iterates; each end is for one thread.

        with client.stream("people") as stream:
            stream.send({"frame": frame})
            stream.half_close()
            for result in stream:
                show(result["annotated"])

    `send` waits while the window is full, and an answer makes room for its timestamp
    and those before it: a graph that does not answer each needs a window larger than
    what it passes over.

    Iteration raises RequestRefused for a request that did not fit and can go on after
    it; any other ClientError is the stream's end. After ConnectionLost the state that
    the graph had for this stream is gone, with the answers to `unanswered`. Leaving the
    `with` block cancels what is still going on.
    """

    def __init__(self, channel: grpc.Channel, name: str, *, window: int) -> None:
        self._exchange = Exchange(name, window)
        self._changed = threading.Condition()
        self._requests: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        call: grpc.StreamStreamMultiCallable[bytes, bytes]
        call = channel.stream_stream(kserve.MODEL_STREAM_INFER)
        self._responses = call(iter(self._requests.get, None))
        # A sender learns of the end even if nobody iterates.
        if not self._responses.add_callback(self._on_end):
            self._on_end()

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
    def unanswered(self) -> tuple[int, ...]:
        """Timestamps that were sent and not answered, as they were sent."""
        return self._exchange.unanswered

    @property
    def in_flight(self) -> int:
        """How many timestamps were sent and not answered."""
        return len(self._exchange.unanswered)

    @property
    def has_answered(self) -> bool:
        """True if the graph has answered on this stream."""
        return self._exchange.has_answered

    @property
    def lost(self) -> ConnectionLost | None:
        """Why the stream was lost, if it was: its state is gone."""
        return self._exchange.lost

    def wait_for_room(self, timeout: float | None = None) -> bool:
        """Wait until `send` would not have to; False after `timeout` seconds.

        Raises ClientError when the stream has ended.
        """
        with self._changed:
            has_room = self._changed.wait_for(self._exchange.need_not_wait, timeout)
            self._exchange.check()
            return has_room

    def send(
        self,
        inputs: Mapping[str, TensorLike],
        *,
        timestamp: int | None = None,
        parameters: Mapping[str, Parameter] | None = None,
        timeout: float | None = None,
    ) -> int:
        """Send inputs, when the window has room; returns their timestamp.

        Without `timestamp` it is one more than the last, from 0 on. Parameters of the
        first request are side packets of the graph. Raises TimedOut after `timeout`
        seconds without room, ClientError when the stream has ended.
        """
        timestamp, message = self._exchange.encode(inputs, timestamp, parameters)
        may_go = partial(self._exchange.need_not_wait, timestamp)
        with self._changed:
            if not self._changed.wait_for(may_go, timeout):
                raise TimedOut(f"{self.in_flight} requests are in flight")
            self._exchange.check()
            self._exchange.sent(timestamp)
            self._requests.put(message)
        return timestamp

    def half_close(self) -> None:
        """No more requests: the server answers what is there and ends the stream."""
        with self._changed:
            self._exchange.is_half_closed = True
            self._requests.put(None)
            self._changed.notify_all()

    def cancel(self) -> None:
        """End the stream now, whatever is in flight; the iteration stops."""
        with self._changed:
            self._exchange.cancelled()
            self._requests.put(None)
            self._changed.notify_all()
        self._responses.cancel()

    def __iter__(self) -> Iterator[Result]:
        return self

    def __next__(self) -> Result:
        try:
            message = next(self._responses)
        except StopIteration:
            self._end(None)
            raise
        except grpc.RpcError as error:
            if self._exchange.is_cancelled:
                raise StopIteration from None
            end = from_rpc(error)
            self._end(end)
            raise end from None
        try:
            answer = read(message)
        except ClientError:
            self.cancel()
            raise
        with self._changed:
            self._exchange.received(answer)
            self._changed.notify_all()
        if isinstance(answer, RequestRefused):
            raise answer
        return answer

    def _on_end(self) -> None:
        """The call is over; gRPC says so in a thread of its own."""
        code = self._responses.code()
        is_good = code is grpc.StatusCode.OK
        self._end(None if is_good else from_status(code, self._responses.details()))

    def _end(self, error: ClientError | None) -> None:
        with self._changed:
            self._exchange.ended(error)
            self._requests.put(None)  # lets gRPC's reader of requests go
            self._changed.notify_all()
