"""R1 and R19: under load every request is answered, once, with its own answer, and a
stream's in the order in which they were asked.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final

import grpc

from tests.gates.gate import Figure, Run, Tier, none, percentile
from tests.gates.kinds import OUTPUTS, STATELESS, STREAMED, Kind
from tests.gates.subject import Subject, build
from tests.wire.asking import Asking
from tests.wire.calls import Stream, connect, infer, timestamp

log = logging.getLogger(__name__)

LOST_AFTER: Final = 300.0
"""Seconds; who waits for less on a busy machine complains of that."""
UNARY: Final = 32
STREAMS: Final = 16
CLIENTS: Final = 64
REQUESTS_OF_A_STREAM: Final = 40
AHEAD: Final = 4
"""Requests of a stream that are on their way at a time."""


class Clients(Asking):
    """Each with numbers of its own."""

    def __init__(self, address: str, unary: int, streams: int, each: int = 0) -> None:
        """`each` is how many answers a client wants; 0 for as many as it gets."""
        self._address = address
        self._each = each
        self.latencies: list[tuple[float, float]] = []
        """When a unary call was answered, and how long that took, in seconds."""
        asking = [
            partial(self._asking, STATELESS[n % len(STATELESS)], n << 16)
            for n in range(unary)
        ]
        streaming = [
            partial(self._streaming, STREAMED[n % len(STREAMED)], (unary + n) << 16)
            for n in range(streams)
        ]
        super().__init__([*asking, *streaming])

    def figures(self) -> list[Figure]:
        """What came of it; the first of what went wrong is in the log."""
        for each in self.complaints[:5]:
            log.error(each)
        return [
            Figure("answers", self.answers, at_least=1),
            Figure("streams", self.streams, at_least=1),
            none("requests lost, refused or answered wrongly", len(self.complaints)),
        ]

    def _wants_more(self, answered: int) -> bool:
        return not self.is_over.is_set() and not 0 < self._each <= answered

    def _asking(self, kind: Kind, first: int) -> None:
        answered = 0
        with connect(self._address) as channel:
            while self._wants_more(answered):
                value = first + answered % (1 << 16)
                begun = time.monotonic()
                try:
                    answer = infer(
                        channel, kind.ask(value, id=str(value)), timeout=LOST_AFTER
                    )
                except grpc.RpcError as error:
                    self.complain(f"{kind.name}: {error}")
                    return
                now = time.monotonic()
                if answer.id != str(value) or not kind.is_answered(answer, value):
                    self.complain(f"{kind.name}: not the answer to {value}: {answer}")
                answered += 1
                self.latencies.append((now, now - begun))
                self.count(answers=1)

    def _streaming(self, kind: Kind, first: int) -> None:
        answered = 0
        with connect(self._address) as channel:
            while self._wants_more(answered):
                try:
                    answered += self._one_stream(channel, kind, first)
                except (grpc.RpcError, StopIteration, AssertionError) as error:
                    self.complain(f"stream on {kind.name}: {error!r}")
                    return
                self.count(streams=1)

    def _one_stream(self, channel: grpc.Channel, kind: Kind, first: int) -> int:
        """As many answers as there were."""
        count = min(REQUESTS_OF_A_STREAM, self._each or REQUESTS_OF_A_STREAM)
        asked = total = 0
        with Stream(channel, seconds=LOST_AFTER) as stream:
            for number in range(count):
                while asked < min(number + AHEAD, count):
                    value = asked + 1 if kind.has_state else first + asked
                    stream.send(kind.ask(value, id=str(asked)))
                    asked += 1
                total += number + 1
                expected = total if kind.has_state else first + number
                for _ in range(OUTPUTS.get(kind.name, 1)):
                    answer = stream.answer()
                    assert timestamp(answer) == number, (timestamp(answer), number)
                    assert answer.id == str(number), (answer.id, number)
                    assert kind.is_answered(answer, expected), (expected, answer)
            stream.half_close()
            assert stream.end() == ("OK", "")
        self.count(answers=count)
        return count


@contextmanager
def served(run: Run) -> Iterator[Subject]:
    """The server, of every kind of node."""
    with Subject(run.folder, "--config_path", str(build(run.folder))) as subject:
        subject.ready()
        yield subject


def held(run: Run) -> list[Figure]:
    """32 clients that call and 16 with streams lose no answer, get none twice, and none
    that is not theirs, for as long as it lasts.
    """
    with served(run) as subject:
        address = subject.ready()
        with Clients(address, UNARY, STREAMS, each=REQUESTS_OF_A_STREAM) as warm:
            warm.join()
        before = subject.state()
        begun, end = time.monotonic(), run.end_of(run.size)
        with Clients(address, UNARY, STREAMS) as clients:
            clients.join(until=end)
        taken = time.monotonic() - begun
        return [
            Figure("under load for", taken, "s", is_time=True),
            *clients.figures(),
            Figure("answers in a second", clients.answers / taken, is_time=True),
            _drift(clients.latencies, begun, taken, run.tier),
            *subject.left(before),
        ]


def _drift(
    latencies: list[tuple[float, float]], begun: float, taken: float, tier: Tier
) -> Figure:
    """Whether it gets slower. A minute is too short to tell."""
    first = [took for when, took in latencies if when < begun + taken / 6]
    last = [took for when, took in latencies if when > begun + taken * 5 / 6]
    ratio = percentile(last, 99) / max(percentile(first, 99), 1e-9)
    return Figure(
        "p99 of the last sixth of the time by that of the first",
        ratio,
        at_most=1.2 if tier is Tier.NIGHT else None,
        is_time=True,
    )


def crossing(run: Run) -> list[Figure]:
    """64 clients at once, whose requests are all different, through nodes of every kind:
    nobody gets what is another's.
    """
    with served(run) as subject:
        address = subject.ready()
        with Clients(address, CLIENTS // 2, CLIENTS // 2, each=1) as warm:
            warm.join()
        before = subject.state()
        with Clients(address, CLIENTS // 2, CLIENTS // 2, each=run.size) as clients:
            clients.join(until=run.until)
        return [*clients.figures(), *subject.left(before)]
