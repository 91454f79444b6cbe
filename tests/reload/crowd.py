"""Clients that ask all the time, each with a law that every answer has to keep: it is one
generation's, whole; the next is not of an earlier one; and a stream has but one.
"""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Final, Self

import grpc

from tests.reload.mount import CHANGES, number_in, request, told
from tests.wire.calls import Stream, connect

# Alternate between two numbers, so that nobody can tell which is the later.
_TO_AND_FRO: Final = {"by_pbtxt", "by_subgraph"}

REQUESTS_OF_A_STREAM: Final = 30


class Crowd:
    """So many clients that ask once and again, and so many with streams, each with a
    connection of its own. Leaving the `with` block sends them home.
    """

    def __init__(self, address: str, unary: int, streams: int) -> None:
        self._address = address
        self._is_over = threading.Event()
        self._lock = threading.Lock()
        self.complaints: list[str] = []
        self.answers = 0
        self.streams = 0
        kinds = [*CHANGES]
        graphs = [kind for kind in kinds if kind.startswith("by_")]
        self._threads = [
            threading.Thread(target=self._asking, args=(kinds[n % len(kinds)],))
            for n in range(unary)
        ]
        self._threads += [
            threading.Thread(target=self._streaming, args=(graphs[n % len(graphs)],))
            for n in range(streams)
        ]

    def __enter__(self) -> Self:
        for each in self._threads:
            each.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._is_over.set()
        for each in self._threads:
            each.join()

    def _complain(self, text: str) -> None:
        with self._lock:
            self.complaints.append(text)

    def _asking(self, name: str) -> None:
        before = 0.0
        with connect(self._address) as channel:
            while not self._is_over.is_set():
                try:
                    number = told(channel, name)
                except (grpc.RpcError, ValueError) as error:
                    self._complain(f"{name}: {error}")
                    continue
                if number < before and name not in _TO_AND_FRO:
                    self._complain(f"{name}: {number} after {before}")
                before = number
                with self._lock:
                    self.answers += 1

    def _streaming(self, name: str) -> None:
        with connect(self._address) as channel:
            while not self._is_over.is_set():
                try:
                    numbers = self._one_stream(channel, name)
                except (grpc.RpcError, ValueError, AssertionError) as error:
                    self._complain(f"stream on {name}: {error}")
                    continue
                if len(set(numbers)) != 1:
                    self._complain(f"stream on {name}: {numbers}")
                with self._lock:
                    self.streams += 1
                    self.answers += len(numbers)

    def _one_stream(self, channel: grpc.Channel, name: str) -> list[float]:
        numbers: list[float] = []
        with Stream(channel) as stream:
            for _ in range(REQUESTS_OF_A_STREAM):
                stream.send(request(name))
                numbers.append(number_in(stream.answer()))
                # Slow enough to live through changes.
                self._is_over.wait(0.05)
            stream.half_close()
            assert stream.end() == ("OK", "")
        return numbers
