"""Who watches a run changes nothing of it, and leaves nothing behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ovms_mp.calculator import Calculator, Context, Input, Output, Services
from ovms_mp.core.errors import ServingError
from ovms_mp.core.happenings import HERE, Happening, Kind
from ovms_mp.core.packet import Packet
from ovms_mp.core.pending import Pending
from ovms_mp.core.strand import inline
from ovms_mp.graph import builder, config
from ovms_mp.graph.definition import GraphDefinition
from ovms_mp.graph.registry import Registry
from ovms_mp.graph.run import GraphRun

CHAIN = """
input_stream: "in"
output_stream: "out"
node { calculator: "Adds" input_stream: "in" output_stream: "between" }
node { calculator: "Adds" input_stream: "between" output_stream: "out" }
"""
ASKS = """
input_stream: "in"
output_stream: "out"
node { calculator: "Asks" input_stream: "in" output_stream: "out" }
"""


class Adds(Calculator):
    number = Input(int)
    sum = Output(int)
    timestamp_offset = 0

    def process(self, ctx: Context) -> None:
        ctx.send(self.sum, ctx[self.number] + 1)


class Asks(Calculator):
    """Its input is what it waits for."""

    max_in_flight = 4
    question = Input(Pending)
    answer = Output(int)

    def process(self, ctx: Context) -> None:
        ctx.wait(ctx[self.question], lambda value: ctx.send(self.answer, value))


class Odd(int):
    def __add__(self, other: int) -> int:
        raise ValueError("it does not add up")


class Looks(Calculator):
    """Where it is called."""

    number = Input(int)
    place = Output(object)

    def process(self, ctx: Context) -> None:
        ctx.send(self.place, HERE.get())


def define(text: str) -> GraphDefinition:
    registry = Registry()
    for each in (Adds, Asks, Looks):
        registry.add(each.__name__, each, "the tests")
    parsed = config.parse(text.encode(), "graph.pbtxt")
    return builder.load(parsed, registry, Path(), Services())


class Listener:
    def __init__(self) -> None:
        self.packets: list[Packet] = []
        self.ends: list[ServingError | None] = []

    def packet(self, output: int, packet: Packet) -> None:
        self.packets.append(packet)

    def settled(self, *, has_room: bool) -> None:
        pass

    def finished(self, error: ServingError | None) -> None:
        self.ends.append(error)


class Running:
    def __init__(self, text: str) -> None:
        self.listener = Listener()
        self.run = GraphRun(define(text), self.listener, inline)
        self.run.post(lambda: self.run.start({}))

    def feed(self, at: int, payload: Any) -> None:
        number = self.run._definition.inputs[0][1]
        self.run.post(lambda: self.run.feed(number, Packet(at, payload)))

    def watch(self, seen: list[Happening] | None) -> None:
        sink = None if seen is None else seen.append
        self.run.post(lambda: self.run.watch(sink, 7))

    @property
    def processes(self) -> list[Any]:
        return [node.process for node in self.run._scheduler.nodes]


def test_a_run_is_the_same_before_while_and_after_it_is_watched() -> None:
    seen: list[Happening] = []
    running = Running(CHAIN)
    before = running.processes
    running.feed(0, 10)
    running.watch(seen)
    running.feed(1, 20)
    running.feed(2, 30)
    running.watch(None)
    running.feed(3, 40)
    assert running.listener.packets == [(0, 12), (1, 22), (2, 32), (3, 42)]
    assert running.processes == before
    assert [(each.node, each.timestamp) for each in seen] == [
        *((0, 1), (1, 1)),
        *((0, 2), (1, 2)),
    ]


def test_a_watched_packet_goes_straight_through_as_any_other() -> None:
    """Otherwise a trace would show what the scheduler takes, not what packets take."""
    running = Running(CHAIN)
    running.watch([])
    running.feed(0, 1)
    lane = running.run._lane
    assert lane is not None
    assert lane.level == 1


def test_a_call_says_when_it_was_and_what_it_took_and_made() -> None:
    seen: list[Happening] = []
    running = Running(CHAIN)
    running.watch(seen)
    running.feed(5, 1)
    first, second = seen
    assert first.run == 7
    assert (first.kind, first.taken, first.made) == (Kind.PROCESS, (0,), ((0, 5),))
    assert first.begun <= first.ended <= second.begun <= second.ended
    assert not first.goes_on


def test_a_call_that_waits_is_a_call_a_wait_and_what_it_goes_on_with() -> None:
    seen: list[Happening] = []
    running = Running(ASKS)
    running.watch(seen)
    late, soon = Pending[int](), Pending[int]()
    running.feed(0, late)
    running.feed(1, soon)
    soon.complete(2)
    late.complete(1)
    assert running.listener.packets == [(0, 1), (1, 2)]
    kinds = {at: [each.kind for each in seen if each.timestamp == at] for at in (0, 1)}
    assert kinds[0] == kinds[1] == [Kind.PROCESS, Kind.WAIT, Kind.RESUME]
    for at in (0, 1):
        call, wait, end = (each for each in seen if each.timestamp == at)
        assert call.goes_on
        assert call.made == ()
        assert call.ended == wait.begun <= wait.ended <= end.begun
        assert end.made == ((0, at),)


def test_a_call_under_way_when_nobody_watches_any_more_comes_to_its_end() -> None:
    running = Running(ASKS)
    running.watch([])
    question = Pending[int]()
    running.feed(0, question)
    running.watch(None)
    question.complete(3)
    assert running.listener.packets == [(0, 3)]


def test_a_call_that_raises_fails_its_run_as_before() -> None:
    ends: list[str] = []
    for seen in (None, []):
        running = Running(CHAIN)
        running.watch(seen)
        running.feed(0, Odd())
        (error,) = running.listener.ends
        assert error is not None
        ends.append(error.text)
        assert seen is None or seen[0].kind is Kind.PROCESS
    assert ends[0] == ends[1]


def test_where_a_thread_is_is_known_within_a_watched_call_alone() -> None:
    running = Running(ASKS.replace("Asks", "Looks"))
    running.watch([])
    running.feed(4, 1)
    running.watch(None)
    running.feed(5, 1)
    watched, alone = (packet.payload for packet in running.listener.packets)
    assert (watched.run, watched.node, watched.timestamp) == (7, 0, 4)
    assert alone is None
    assert HERE.get() is None


@pytest.mark.parametrize("times", [1, 3])
def test_who_watches_again_is_told_once(times: int) -> None:
    seen: list[Happening] = []
    running = Running(CHAIN)
    for _ in range(times):
        running.watch(seen)
    running.feed(0, 1)
    assert len(seen) == 2
