"""Clients that ask all the time, each with a law that every answer has to keep: it is one
generation's, whole; the next is not of an earlier one; and a stream has but one.
"""

from __future__ import annotations

from functools import partial
from typing import Final

import grpc

from tests.reload.mount import CHANGES, TO_AND_FRO, number_in, request, told
from tests.wire.asking import Asking
from tests.wire.calls import Stream, connect

REQUESTS_OF_A_STREAM: Final = 30


class Crowd(Asking):
    """So many clients that ask once and again, and so many with streams, each with a
    connection of its own.
    """

    def __init__(self, address: str, unary: int, streams: int) -> None:
        self._address = address
        kinds = [*CHANGES]
        graphs = [kind for kind in kinds if kind.startswith("by_")]
        asking = [partial(self._asking, kinds[n % len(kinds)]) for n in range(unary)]
        streaming = [
            partial(self._streaming, graphs[n % len(graphs)]) for n in range(streams)
        ]
        super().__init__([*asking, *streaming])

    def _asking(self, name: str) -> None:
        before = 0.0
        with connect(self._address) as channel:
            while not self.is_over.is_set():
                try:
                    number = told(channel, name)
                except (grpc.RpcError, ValueError) as error:
                    self.complain(f"{name}: {error}")
                    continue
                if number < before and name not in TO_AND_FRO:
                    self.complain(f"{name}: {number} after {before}")
                before = number
                self.count(answers=1)

    def _streaming(self, name: str) -> None:
        with connect(self._address) as channel:
            while not self.is_over.is_set():
                try:
                    numbers = self._one_stream(channel, name)
                except (grpc.RpcError, ValueError, AssertionError) as error:
                    self.complain(f"stream on {name}: {error}")
                    continue
                if len(set(numbers)) != 1:
                    self.complain(f"stream on {name}: {numbers}")
                self.count(answers=len(numbers), streams=1)

    def _one_stream(self, channel: grpc.Channel, name: str) -> list[float]:
        numbers: list[float] = []
        with Stream(channel) as stream:
            for _ in range(REQUESTS_OF_A_STREAM):
                stream.send(request(name))
                numbers.append(number_in(stream.answer()))
                # Slow enough to live through changes.
                self.is_over.wait(0.05)
            stream.half_close()
            assert stream.end() == ("OK", "")
        return numbers
