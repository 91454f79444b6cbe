"""A client in a closed loop, in a process of its own: each answer sends the next request.

It is told by a pipe what to do, says when it is connected, begins when told, and answers
with what it has seen.
"""

from __future__ import annotations

import os
import select
import socket
from array import array
from collections import deque
from dataclasses import dataclass
from multiprocessing.connection import Connection as Pipe
from time import perf_counter
from typing import Final

from tests.bench.http2 import (
    END_STREAM,
    PREFACE,
    Broken,
    Connection,
    Messages,
    prefixed,
    request_block,
)

# What a timestamp may add to an answer's size, and no error message has.
_VARIES: Final = 12
_PATIENCE: Final = 60.0


@dataclass(frozen=True, slots=True)
class Work:
    """What one client does: `in_flight` requests at a time on each of `streams`
    streams, or on as many as it takes if every request is a call of its own (0).
    """

    address: tuple[str, int]
    path: str
    message: bytes
    seconds: float
    in_flight: int = 1
    streams: int = 0


@dataclass(frozen=True, slots=True)
class Seen:
    """What came back: seconds from a request to its answer, of those that came in time,
    and the client's own seconds of CPU. `error` is empty, or why there is nothing.
    """

    latencies: array[float]
    cpu: float
    error: str = ""


class Client(Connection):
    """What both kinds of client share."""

    def __init__(self, work: Work) -> None:
        super().__init__(socket.create_connection(work.address), PREFACE)
        self.work = work
        self.latencies = array("d")
        self.end = 0.0
        self.open = 0
        self._size = 0
        self._next = 1
        self._block = request_block(work.path, "{}:{}".format(*work.address))
        self._body = prefixed(work.message)

    def start(self) -> None:
        """Send the first requests."""
        raise NotImplementedError

    def stop(self) -> None:
        """The time is over; no more requests go out."""

    def run(self) -> None:
        """Until the time is over and every answer is there."""
        begun = perf_counter()
        self.end = begun + self.work.seconds
        self.start()
        is_stopped = False
        while self.open:
            if self.wants_to_write:
                select.select([self], [self], [], _PATIENCE)
            if not self.pump():
                raise Broken("the server has closed the connection")
            now = perf_counter()
            if now > self.end and not is_stopped:
                is_stopped = True
                self.stop()
            if now > self.end + _PATIENCE:
                raise Broken("the last answers do not come")

    def call(self) -> int:
        """A new stream."""
        stream = self._next
        self._next += 2
        self.open += 1
        self.send_headers(stream, self._block)
        return stream

    def answered(self, sent: float, now: float, size: int) -> None:
        """An answer is whole."""
        if not self._size:
            self._size = size
        elif abs(size - self._size) > _VARIES:
            raise Broken(f"an answer of {size} bytes, where others have {self._size}")
        if now <= self.end:
            self.latencies.append(now - sent)


class Caller(Client):
    """Each request is a call: unary, or a stream that is opened for one."""

    def start(self) -> None:
        self._calls: dict[int, tuple[float, Messages]] = {}
        for _ in range(self.work.in_flight):
            self._ask()

    def _ask(self) -> None:
        stream = self.call()
        self._calls[stream] = perf_counter(), Messages()
        self.send_data(stream, self._body, END_STREAM)

    def on_data(self, stream: int, data: memoryview, flags: int) -> None:
        self._calls[stream][1].take(data)

    def on_headers(self, stream: int, flags: int) -> None:
        if not flags & END_STREAM:
            return
        sent, messages = self._calls.pop(stream)
        if messages.count != 1:
            raise Broken("a call has failed")
        self.forget(stream)
        self.open -= 1
        now = perf_counter()
        self.answered(sent, now, messages.size)
        if now < self.end:
            self._ask()


class Streamer(Client):
    """Requests go on streams that stay open; each has one answer, in order."""

    def start(self) -> None:
        self._streams = {
            self.call(): (deque[float](), Messages()) for _ in range(self.work.streams)
        }
        for stream in self._streams:
            for _ in range(self.work.in_flight):
                self._ask(stream)

    def _ask(self, stream: int) -> None:
        self._streams[stream][0].append(perf_counter())
        self.send_data(stream, self._body)

    def on_data(self, stream: int, data: memoryview, flags: int) -> None:
        sent, messages = self._streams[stream]
        for _ in range(messages.take(data)):
            now = perf_counter()
            self.answered(sent.popleft(), now, messages.size)
            if now < self.end:
                self._ask(stream)

    def stop(self) -> None:
        for stream in self._streams:
            self.send_data(stream, b"", END_STREAM)

    def on_headers(self, stream: int, flags: int) -> None:
        if not flags & END_STREAM:
            return
        if self._streams[stream][0]:
            raise Broken("a stream has ended before its answers")
        self.open -= 1


def serve(pipe: Pipe) -> None:
    """Do one Work after the other, until the pipe ends."""
    while True:
        try:
            work: Work = pipe.recv()
        except EOFError:
            return
        pipe.send(_done(work, pipe))


def _done(work: Work, pipe: Pipe) -> Seen:
    try:
        client = (Streamer if work.streams else Caller)(work)
        pipe.send(None)
        pipe.recv()
        before = os.times()
        client.run()
        after = os.times()
        client.sock.close()
    except (Broken, OSError) as error:
        return Seen(array("d"), 0.0, f"{type(error).__name__}: {error}")
    cpu = after.user + after.system - before.user - before.system
    return Seen(client.latencies, cpu)
