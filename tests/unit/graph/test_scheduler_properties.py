"""What holds for every run, whatever is done to it in whatever order: a state machine
feeds, promises, closes, settles calls late and out of order, stops, fails and cancels.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from ovms_mp.calculator import Calculator, Context, Input, Inputs, Outputs, Services
from ovms_mp.calculator.ports import Output
from ovms_mp.core.errors import ServingError, Status
from ovms_mp.core.packet import Packet
from ovms_mp.core.pending import Pending
from ovms_mp.core.strand import inline
from ovms_mp.graph import builder, config
from ovms_mp.graph.registry import Registry
from ovms_mp.graph.run import GraphRun

RARELY = st.sampled_from((*[False] * 11, True))
"""For what ends a run: most should see more than their beginning."""


class Life:
    """What the calculators of one run have been through."""

    def __init__(self) -> None:
        self.calls: dict[str, list[str]] = {}
        self.waiting: list[tuple[str, int, Pending[Any]]] = []
        self.processed: dict[str, list[int]] = {}


class Watched(Calculator):
    """Writes its life down in `life`, which the machine gives to the run's classes."""

    life: Life
    timestamp_offset = 0

    def open(self, ctx: Context) -> None:
        self.life.calls.setdefault(self.node.name, []).append("open")

    def close(self, ctx: Context) -> None:
        self.life.calls[self.node.name].append("close")

    def note(self, ctx: Context) -> None:
        self.life.calls[self.node.name].append("process")
        self.life.processed.setdefault(self.node.name, []).append(ctx.timestamp)


class Pass(Watched):
    """Passes what it gets; the payload "raise" makes it raise, "stop" makes it stop."""

    ins = Inputs(Any)
    outs = Outputs(Any)

    def process(self, ctx: Context) -> None:
        self.note(ctx)
        for source, target in zip(self.ins, self.outs, strict=True):
            if ctx.has(source):
                if ctx[source] == "raise":
                    raise ValueError
                if ctx[source] == "stop":
                    ctx.stop()
                ctx.send(target, ctx[source])


class Waits(Watched):
    """Passes what it gets when the machine says so."""

    value = Input(Any)
    out = Output(Any)

    def process(self, ctx: Context) -> None:
        self.note(ctx)
        value, pending = ctx[self.value], Pending[Any]()
        self.life.waiting.append((self.node.name, ctx.timestamp, pending))
        ctx.wait(pending, lambda _: ctx.send(self.out, value))


GRAPH = """
input_stream: "a"
input_stream: "b"
node { name: "join" calculator: "Pass" input_stream: "a" input_stream: "b"
       output_stream: "c" output_stream: "d" }
node { name: "one" calculator: "Waits" input_stream: "c" output_stream: "e" }
node { name: "many" calculator: "Waits" max_in_flight: 3
       input_stream: "d" output_stream: "f" }
node { name: "end" calculator: "Pass" input_stream: "e" input_stream: "f"
       input_stream: "a" output_stream: "g" output_stream: "h" output_stream: "i" }
"""
"""Which graph input each stream repeats."""
ORIGIN = {"c": "a", "d": "b", "e": "a", "f": "b", "g": "a", "h": "b", "i": "a"}
STREAMS: list[str] = ["a", "b"]


class Runs(RuleBasedStateMachine):
    """One run from start to end."""

    @initialize()
    def start(self) -> None:
        self.life = Life()
        registry = Registry()
        for base in (Pass, Waits):
            watched: Any = type(base.__name__, (base,), {"life": self.life})
            registry.add(base.__name__, watched, "the test")
        parsed = config.parse(GRAPH.encode(), "graph.pbtxt")
        definition = builder.load(parsed, registry, Path(), Services())
        self.numbers = {name.name: number for name, number in definition.inputs}
        self.fed: dict[str, list[Packet]] = {name: [] for name in STREAMS}
        self.next: dict[str, int] = dict.fromkeys(STREAMS, 0)
        self.is_open = dict.fromkeys(STREAMS, True)
        self.seen: dict[str, list[Packet]] = {name: [] for name in ORIGIN}
        self.bounds: dict[str, list[int]] = {name: [] for name in ORIGIN}
        self.finished_with: list[ServingError | None] = []
        self.is_disturbed = False
        self.run = GraphRun(definition, self, inline)
        self.names = {self.run.observe(name, bounds=True): name for name in ORIGIN}
        self.run.post(lambda: self.run.start({}))

    # RunListener

    def packet(self, output: int, packet: Packet) -> None:
        assert not self.finished_with
        self.seen[self.names[output]].append(packet)
        self.bounds[self.names[output]].append(packet.timestamp)

    def bound(self, output: int, timestamp: int) -> None:
        assert not self.finished_with
        self.bounds[self.names[output]].append(timestamp)

    def settled(self, *, has_room: bool) -> None:
        assert not self.finished_with

    def finished(self, error: ServingError | None) -> None:
        self.finished_with.append(error)

    # What may happen

    @rule(
        stream=st.sampled_from(STREAMS), step=st.integers(0, 2), count=st.integers(1, 4)
    )
    def feed(self, stream: str, step: int, count: int) -> None:
        if self.is_open[stream]:
            for _ in range(count):
                self.send(stream, step, len(self.fed[stream]))

    @rule(stream=st.sampled_from(STREAMS), raises=RARELY)
    def stop_or_raise(self, stream: str, raises: bool) -> None:
        if self.is_open[stream]:
            self.is_disturbed |= raises
            self.send(stream, 0, "raise" if raises else "stop")

    def send(self, stream: str, step: int, payload: Any) -> None:
        packet = Packet(self.next[stream] + step, payload)
        self.next[stream] = packet.timestamp + 1
        self.fed[stream].append(packet)
        self.run.post(lambda: self.run.feed(self.numbers[stream], packet))

    @rule(stream=st.sampled_from(STREAMS), step=st.integers(0, 5))
    def promise(self, stream: str, step: int) -> None:
        if self.is_open[stream]:
            bound = self.next[stream] = self.next[stream] + step
            self.run.post(lambda: self.run.advance(self.numbers[stream], bound))

    @rule(stream=st.sampled_from(STREAMS), really=RARELY)
    def close_early(self, stream: str, really: bool) -> None:
        if really:
            self.close_input(stream)

    def close_input(self, stream: str) -> None:
        self.is_open[stream] = False
        self.run.post(lambda: self.run.close_input(self.numbers[stream]))

    @precondition(lambda self: self.life.waiting)
    @rule(data=st.data())
    def settle(self, data: st.DataObject) -> None:
        number = data.draw(st.integers(0, len(self.life.waiting) - 1))
        self.life.waiting.pop(number)[2].complete(None)

    @precondition(lambda self: self.life.waiting)
    @rule(data=st.data(), really=RARELY)
    def settle_with_an_error(self, data: st.DataObject, really: bool) -> None:
        if not really:
            return
        number = data.draw(st.integers(0, len(self.life.waiting) - 1))
        # A run that has ended has cancelled what it waited for.
        if self.life.waiting.pop(number)[2].fail(RuntimeError("late")):
            self.is_disturbed = True

    @rule(stream=st.sampled_from(STREAMS), back=st.integers(1, 3), really=RARELY)
    def feed_behind_the_bound(self, stream: str, back: int, really: bool) -> None:
        if really and self.is_open[stream] and self.next[stream] > 0:
            self.is_disturbed = True
            packet = Packet(self.next[stream] - back, "late")
            self.run.post(lambda: self.run.feed(self.numbers[stream], packet))

    @rule()
    def hold(self) -> None:
        self.run.hold()

    @rule()
    def release(self) -> None:
        self.run.release()

    @rule(really=RARELY)
    def cancel(self, really: bool) -> None:
        if really:
            self.is_disturbed = True
            self.run.cancel()

    # What must hold

    @invariant()
    def bounds_never_go_back(self) -> None:
        for bounds in self.bounds.values():
            assert bounds == sorted(bounds)
            assert len(set(bounds)) == len(bounds)

    @invariant()
    def no_packet_is_lost_made_up_or_reordered(self) -> None:
        for name, packets in self.seen.items():
            assert packets == self.fed[ORIGIN[name]][: len(packets)]

    @invariant()
    def calls_come_in_the_order_of_a_life(self) -> None:
        for calls in self.life.calls.values():
            assert calls[0] == "open"
            assert "open" not in calls[1:]
            assert "close" not in calls[:-1]

    @invariant()
    def each_timestamp_is_processed_once_and_in_order(self) -> None:
        for times in self.life.processed.values():
            assert times == sorted(set(times))

    @invariant()
    def no_more_calls_are_in_flight_than_allowed(self) -> None:
        names = [
            name for name, _, pending in self.life.waiting if not pending.is_settled
        ]
        assert names.count("one") <= 1
        assert names.count("many") <= 3

    @invariant()
    def the_end_is_told_at_most_once(self) -> None:
        assert len(self.finished_with) <= 1

    def teardown(self) -> None:
        self.run.release()
        for stream in STREAMS:
            self.close_input(stream)
        while self.life.waiting:
            self.life.waiting.pop()[2].complete(None)
        assert len(self.finished_with) == 1
        error = self.finished_with[0]
        if not self.is_disturbed:
            assert error is None
            for name, packets in self.seen.items():
                assert packets == self.fed[ORIGIN[name]]
        elif error is not None:
            assert error.status in (
                Status.CANCELLED,
                Status.MEDIAPIPE_EXECUTION_ERROR,
            )
        for calls in self.life.calls.values():
            assert calls.count("close") == 1
        before = {name: list(calls) for name, calls in self.life.calls.items()}
        self.run.post(lambda: self.run.feed(0, Packet(10**6, 0)))
        self.run.cancel()
        assert self.life.calls == before
        assert self.run._scheduler.running == 0 or error is not None
        assert not self.run._waiting


TestRuns = Runs.TestCase
TestRuns.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
