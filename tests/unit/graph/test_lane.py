"""Whether a packet goes straight through or the scheduler's way, nobody can tell: the same
graphs, the same calculators, the same events, with the lane and without it.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ovms_mp.calculator import (
    Calculator,
    Context,
    Inputs,
    Outputs,
    Services,
    SideOutput,
)
from ovms_mp.core.errors import ServingError, Status
from ovms_mp.core.packet import Packet
from ovms_mp.core.pending import Pending
from ovms_mp.core.strand import inline
from ovms_mp.graph import builder, config
from ovms_mp.graph.definition import GraphDefinition
from ovms_mp.graph.lane_source import MAX_STEPS
from ovms_mp.graph.registry import Registry
from ovms_mp.graph.run import GraphRun

NOTHING: Mapping[str, bool] = {}
DEEDS = ("pass", "none", "some", "later time", "bound", "twice", "wait", "there")
RARE = ("raise", "stop", "late packet", "hold", "cancel")
HEARD = ("", "", "", "feed", "hold", "fail")
"""What a listener does who has the packet: the last of its deeds."""
BOTH = (1, 0), (0, 0)
SENDS = {
    "pass": BOTH,
    "stop": BOTH,
    "hold": BOTH,
    "cancel": BOTH,
    "twice": (*BOTH, (0, 2)),
    "some": ((1, 0),),
    "later time": ((0, 1),),
    "late packet": ((0, -1),),
}
"""(output, time after the input's)."""


class Doer(Calculator):
    """Does what its packet says for it: the payload is a tuple of deeds, by node."""

    ins = Inputs(object)
    outs = Outputs(object)
    timestamp_offset = 0

    def process(self, ctx: Context) -> None:
        world: World = self.node.services.get(World)
        payload: Any = next(ctx[each] for each in self.ins if ctx.has(each))
        seen = [ctx.get(each) is not None for each in self.ins]
        bounds = [ctx.next_bound(each) for each in self.outs]
        settled = [ctx.settled(each) for each in self.ins]
        where = self.node.name, ctx.timestamp
        world.told.append((*where, seen, bounds, settled))
        self._act(payload[int(self.node.name[1:])], ctx, payload, world)

    def _act(self, deed: str, ctx: Context, payload: Any, world: World) -> None:
        if deed == "raise":
            raise ValueError("as it was told")
        if deed == "hold":
            world.run.hold()
        if deed == "cancel":
            world.run.cancel()
        if deed == "stop":
            ctx.stop()
        if deed in {"wait", "there"}:
            pending: Pending[Any] = Pending()
            if deed == "there":
                pending.complete(payload)
            else:
                world.waiting.append((pending, payload))
            ctx.wait(pending, lambda value: [ctx.send(o, value) for o in self.outs])
            return
        if deed == "bound":
            ctx.set_next_bound(self.outs[0], ctx.timestamp + 3)
        for slot, delay in SENDS.get(deed, ()):
            if slot < len(self.outs):
                ctx.send(self.outs[slot], payload, at=ctx.timestamp + delay)


class Several(Doer):
    """The same, and several of its calls may wait."""

    max_in_flight = 2


class Maker(Doer):
    """The same, and with its first call it makes a side packet."""

    made = SideOutput(object, "MADE")

    def process(self, ctx: Context) -> None:
        world: World = self.node.services.get(World)
        if self.node.name not in world.makers:
            world.makers.add(self.node.name)
            ctx.set_side(self.made, ctx.timestamp)
        super().process(ctx)


class World:
    """One run, and all that is told of it; `observed` are streams, with or without
    their bounds.
    """

    def __init__(
        self, text: str, *, has_lane: bool, observed: Mapping[str, bool] = NOTHING
    ) -> None:
        self.told: list[Any] = []
        self.waiting: list[tuple[Pending[Any], Any]] = []
        self.makers: set[str] = set()
        self.latest = 0
        registry = Registry()
        for each in (Doer, Several, Maker):
            registry.add(each.__name__, each, "the test")
        services = Services({World: self})
        parsed = config.parse(text.encode(), "graph.pbtxt")
        definition = builder.load(parsed, registry, Path(), services)
        assert definition.is_straight
        if not has_lane:
            definition = replace(definition, way=None)
        self.stream = definition.inputs[0][1]
        self.is_over = False
        self.definition: GraphDefinition = definition
        self.run = GraphRun(definition, self, inline, tells_bounds=True)
        for stream, bounds in observed.items():
            self.run.observe(stream, bounds=bounds)
        self.run.post(lambda: self.run.start({}))

    def do(self, event: tuple[Any, ...]) -> None:
        run = self.run
        match event:
            case "feed", at, deeds:
                self.latest = max(self.latest, at)
                run.post(lambda: run.feed(self.stream, Packet(at, deeds)))
            case "two", at, deeds:
                self.latest = max(self.latest, at + 1)
                run.post(lambda: self._feed_two(at, deeds))
            case "advance", at:
                run.post(lambda: run.advance(self.stream, at))
            case "settle", which:
                if self.waiting:
                    pending, value = self.waiting.pop(which % len(self.waiting))
                    pending.complete(value)
            case ("release",):
                run.release()
            case ("close",):
                run.post(run.close_inputs)
        self.told.append((event[0], run.status(), dict(run.side_outputs)))

    def _feed_two(self, at: int, deeds: Any) -> None:
        self.run.feed(self.stream, Packet(at, deeds))
        self.run.feed(self.stream, Packet(at + 1, deeds))

    def packet(self, output: int, packet: Packet) -> None:
        self.told.append(("packet", output, packet))
        heard = packet.payload[-1]
        if heard == "feed":
            self.latest += 1
            next_one = Packet(self.latest, (*["pass"] * 4, ""))
            self.run.post(lambda: self.run.feed(self.stream, next_one))
        elif heard == "hold":
            self.run.hold()
        elif heard == "fail":
            self.run.fail(ServingError(Status.INTERNAL_ERROR, "as it was heard"))

    def bound(self, output: int, timestamp: int) -> None:
        self.told.append(("bound", output, timestamp))

    def settled(self, *, has_room: bool) -> None:
        self.told.append(("settled", has_room, self.run.is_idle))

    def finished(self, error: ServingError | None) -> None:
        self.is_over = True
        self.told.append(("finished", str(error)))


@st.composite
def graphs(draw: st.DrawFn) -> tuple[str, int, Mapping[str, bool]]:
    """Each node takes something of the one before, and perhaps of others; some streams
    are observed.
    """
    count = draw(st.integers(1, 4))
    size = draw(st.sampled_from([-1, -1, 1, 2]))
    known, latest = ["in"], ["in"]
    nodes: list[str] = []
    for number in range(count):
        taken = [draw(st.sampled_from(latest))]
        others = [each for each in known if each not in taken]
        if others:
            taken += draw(st.lists(st.sampled_from(others), unique=True, max_size=2))
        latest = [f"s{number}_{n}" for n in range(draw(st.integers(1, 2)))]
        known += latest
        kind = draw(st.sampled_from(["Doer", "Doer", "Several", "Maker"]))
        ins = " ".join(f'input_stream: "{each}"' for each in taken)
        outs = " ".join(f'output_stream: "{each}"' for each in latest)
        side = f'output_side_packet: "MADE:m{number}"' if kind == "Maker" else ""
        nodes.append(
            f'node {{ name: "n{number}" calculator: "{kind}" {ins} {outs} {side} }}'
        )
    seen = draw(st.lists(st.sampled_from(known), unique=True, min_size=1, max_size=3))
    outputs = " ".join(f'output_stream: "{each}"' for each in seen)
    head = f'input_stream: "in" {outputs} max_queue_size: {size}'
    observed = st.dictionaries(st.sampled_from(known), st.booleans(), max_size=2)
    return "\n".join((head, *nodes)), count, draw(observed)


@st.composite
def stories(
    draw: st.DrawFn,
) -> tuple[str, Mapping[str, bool], list[tuple[Any, ...]]]:
    text, count, observed = draw(graphs())
    deed = st.sampled_from(DEEDS) | st.just("pass")
    rare = st.sampled_from(RARE)
    is_rare = draw(st.booleans())
    at = 0
    events: list[tuple[Any, ...]] = []
    for _ in range(draw(st.integers(1, 12))):
        kind = draw(
            st.sampled_from(
                ["feed", "feed", "feed", "feed", "two", "settle", "release", "advance"]
            )
        )
        at += draw(st.sampled_from([1, 2, 3, 9]))
        deeds = (
            *(draw(deed | rare if is_rare else deed) for _ in range(count)),
            draw(st.sampled_from(HEARD)) if is_rare else "",
        )
        if kind in {"feed", "two"}:
            events.append((kind, at, deeds))
            at += kind == "two"
        elif kind == "settle":
            events.append((kind, draw(st.integers(0, 3))))
        else:
            events.append((kind, at) if kind == "advance" else (kind,))
    events += [("release",), *[("settle", 0)] * 6, ("close",), ("settle", 0)]
    return text, observed, events


@settings(max_examples=int(os.environ.get("LANES", "300")), deadline=None)
@given(stories())
def test_nobody_can_tell_which_way_a_packet_went(
    story: tuple[str, Mapping[str, bool], list[tuple[Any, ...]]],
) -> None:
    text, observed, events = story
    straight = World(text, has_lane=True, observed=observed)
    other = World(text, has_lane=False, observed=observed)
    for event in events:
        straight.do(event)
        other.do(event)
        assert straight.told == other.told


@pytest.mark.parametrize(
    ("text", "is_straight"),
    [
        ('node { calculator: "Doer" input_stream: "in" output_stream: "a" }', True),
        (
            'node { calculator: "Doer" input_stream: "in" output_stream: "a" }'
            'node { calculator: "Doer" input_stream: "in" output_stream: "b" }',
            False,
        ),
        (
            'node { calculator: "Doer" input_stream: "in" output_stream: "a" }'
            'node { calculator: "Doer" input_stream: "a" input_stream: "in"'
            ' output_stream: "b" }',
            True,
        ),
    ],
)
def test_a_graph_is_straight_if_its_nodes_have_but_one_order(
    text: str, *, is_straight: bool
) -> None:
    registry = Registry()
    registry.add("Doer", Doer, "the test")
    whole = f'input_stream: "in" output_stream: "a" {text}'
    parsed = config.parse(whole.encode(), "graph.pbtxt")
    services = Services()
    definition = builder.load(parsed, registry, Path(), services)
    assert definition.is_straight == is_straight


def test_packets_of_a_graph_at_rest_do_go_straight() -> None:
    """Or the comparison would compare the scheduler with itself."""
    text = """input_stream: "in" output_stream: "b"
    node { name: "n0" calculator: "Doer" input_stream: "in" output_stream: "a" }
    node { name: "n1" calculator: "Doer" input_stream: "a" output_stream: "b" }"""
    world = World(text, has_lane=True)
    deeds = ("pass", "pass", "")

    def feed() -> None:
        world.run.feed(world.stream, Packet(7, deeds))
        # Fed the other way, it would be in a queue by now.
        assert not any(any(each.queues.values()) for each in world.run.status())

    world.run.post(feed)
    assert ("packet", 0, Packet(7, deeds)) in world.told


def test_what_is_written_for_a_graph_has_nothing_of_its_text() -> None:
    """It is run as code, so it must be ours alone; and equal graphs share it."""
    ways = [
        World(
            f"""input_stream: "{name}" output_stream: "{name}_out"
            node {{ name: "{name}_node" calculator: "Doer"
            input_stream: "{name}" output_stream: "{name}_out" }}""",
            has_lane=True,
        ).definition.way
        for name in ("quaint", "odd")
    ]
    first, second = ways
    assert first is second
    assert first is not None
    assert "quaint" not in first.source
    assert "Doer" not in first.source


def test_a_traceback_shows_the_lines_that_were_written() -> None:
    text = """input_stream: "in" output_stream: "a"
    node { name: "n0" calculator: "Doer" input_stream: "in" output_stream: "a" }"""
    world = World(text, has_lane=True)
    seen: list[str] = []
    deeds = ("pass", "")

    def show(output: int, packet: Packet) -> None:
        seen.extend(traceback.format_stack())

    world.packet = show
    world.do(("feed", 1, deeds))
    assert any("deliver(stream1, timestamp, value1, bound)" in each for each in seen)


def test_a_chain_of_any_length_runs() -> None:
    """Beyond some length nothing is written for it, and the scheduler has it all."""
    heard: list[Packet] = []
    for length in (MAX_STEPS, MAX_STEPS + 1):
        nodes = "\n".join(
            f"""node {{ calculator: "PassThroughCalculator"
            input_stream: "s{n}" output_stream: "s{n + 1}" }}"""
            for n in range(length)
        )
        text = f'input_stream: "s0" output_stream: "s{length}" {nodes}'
        parsed = config.parse(text.encode(), "graph.pbtxt")
        definition = builder.load(parsed, Registry.installed(), Path(), Services())
        assert definition.is_straight == (length <= MAX_STEPS)
        run = GraphRun(definition, Heard(heard), inline)
        run.post(partial(run.start, {}))
        run.post(partial(run.feed, definition.inputs[0][1], Packet(length, "value")))
        assert heard.pop() == Packet(length, "value")


class Heard:
    """A listener that keeps packets."""

    def __init__(self, packets: list[Packet]) -> None:
        self._packets = packets

    def packet(self, output: int, packet: Packet) -> None:
        self._packets.append(packet)

    def settled(self, *, has_room: bool) -> None:
        pass

    def finished(self, error: ServingError | None) -> None:
        assert error is None
