"""Calculators and graphs for tests of the engine: small, and different in what matters."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any, ClassVar

from ovms_mp.calculator import (
    Calculator,
    Context,
    Input,
    Inputs,
    Output,
    Outputs,
    Services,
    SideInput,
    SideOutput,
)
from ovms_mp.core.errors import ServingError
from ovms_mp.core.messages import InferRequest, InferResponse, OutputTensor
from ovms_mp.core.packet import Packet
from ovms_mp.core.pending import Pending
from ovms_mp.core.strand import Submit, inline
from ovms_mp.core.threads import returning, takes_long
from ovms_mp.graph import builder, config
from ovms_mp.graph.definition import GraphDefinition
from ovms_mp.graph.registry import Registry
from ovms_mp.graph.run import GraphRun


class PassThrough(Calculator):
    """Every input to the output of the same position, with offset 0."""

    ins = Inputs(object)
    outs = Outputs(object)
    timestamp_offset = 0

    def process(self, ctx: Context) -> None:
        for source, target in zip(self.ins, self.outs, strict=True):
            if ctx.has(source):
                ctx.send(target, ctx[source])


class Collect(Calculator):
    """One output: the tuple of what the inputs hold at a timestamp, None for empty."""

    ins = Inputs(object)
    out = Output(tuple)

    def process(self, ctx: Context) -> None:
        ctx.send(self.out, tuple(ctx.get(each) for each in self.ins))


class Odd(Calculator):
    """Passes odd numbers, with offset 0: an even one tells that nothing comes."""

    value = Input(int)
    out = Output(int)
    timestamp_offset = 0

    def process(self, ctx: Context) -> None:
        if ctx[self.value] % 2:
            ctx.send(self.out, ctx[self.value])


class Silent(Calculator):
    """Swallows everything and promises nothing."""

    value = Input(object)
    out = Output(object)

    def process(self, ctx: Context) -> None:
        pass


class Story(Calculator):
    """Sends a packet in open, per process and in close, and writes down its life."""

    value = Input(object)
    out = Output(str)
    told: list[str]

    def open(self, ctx: Context) -> None:
        self.told = []
        self.told.append("open")
        ctx.send(self.out, "opened", at=0)

    def process(self, ctx: Context) -> None:
        self.told.append(f"process {ctx.timestamp}")
        ctx.send(self.out, f"processed {ctx[self.value]}")

    def close(self, ctx: Context) -> None:
        self.told.append("close")
        ctx.send(self.out, "closed", at=10**6)


class Later(Calculator):
    """Answers when the test settles the Pending that it left in `left`."""

    value = Input(object)
    out = Output(object)
    timestamp_offset = 0
    max_in_flight = 3
    left: list[tuple[Any, Pending[Any]]]

    def open(self, ctx: Context) -> None:
        type(self).left = []

    def process(self, ctx: Context) -> None:
        pending = Pending[Any]()
        type(self).left.append((ctx[self.value], pending))
        ctx.wait(pending, lambda value: ctx.send(self.out, value))


class Leaves(Calculator):
    """Leaves long work to its thread, which ends when `gate` is set, and sends what it
    was given. `idents` are of the threads that called it, did the work, and went on.
    """

    value = Input(object)
    out = Output(object)
    gate = threading.Event()
    idents: ClassVar[list[int]] = []

    def process(self, ctx: Context) -> None:
        pending: Pending[Any] = Pending()

        def work() -> None:
            self.idents.append(threading.get_ident())
            assert self.gate.wait(10)
            pending.complete(ctx[self.value])

        with returning:
            assert takes_long(work)
        self.idents.append(threading.get_ident())
        ctx.wait(pending, lambda value: self._send(ctx, value))

    def _send(self, ctx: Context, value: object) -> None:
        self.idents.append(threading.get_ident())
        ctx.send(self.out, value)


class Raises(Calculator):
    """Raises what it is given, in the call that it is given for."""

    value = Input(BaseException)
    out = Output(object)

    def process(self, ctx: Context) -> None:
        raise ctx[self.value]


class FailsAfterTwo(Calculator):
    """Takes two packets and no more."""

    value = Input(object)
    out = Output(object)
    seen = 0

    def process(self, ctx: Context) -> None:
        self.seen += 1
        if self.seen > 2:
            msg = "two are enough"
            raise ValueError(msg)
        ctx.send(self.out, ctx[self.value])


class TakesSide(Calculator):
    """Cannot be without a side packet."""

    extra = SideInput(object)


class MakesSide(Calculator):
    """Sets a side packet when it is opened."""

    made = SideOutput(int, "MADE")

    def open(self, ctx: Context) -> None:
        ctx.set_side(self.made, 40)


class AddsSide(Calculator):
    """Adds a side packet to every number."""

    value = Input(int)
    out = Output(int)
    extra = SideInput(int, "EXTRA")

    def process(self, ctx: Context) -> None:
        ctx.send(self.out, ctx[self.value] + ctx.side(self.extra))


class Answers(Calculator):
    """Makes a response of a whole request: one output per input."""

    asked = Input(InferRequest, "REQUEST")
    answer = Output(InferResponse, "RESPONSE")

    def process(self, ctx: Context) -> None:
        request = ctx[self.asked]
        outputs = tuple(
            OutputTensor(each.name, each.datatype, each.shape, each.raw or b"")
            for each in request.inputs
        )
        ctx.send(self.answer, InferResponse("", "", outputs=outputs))


class Source(Calculator):
    """Counts 0, 1, 2 by itself."""

    out = Output(int)

    def open(self, ctx: Context) -> None:
        self._next = 0

    def process(self, ctx: Context) -> None:
        ctx.send(self.out, self._next, at=self._next)
        self._next += 1
        if self._next == 3:
            ctx.stop()


class Takes(Calculator):
    """Takes text only."""

    text = Input(str, "TEXT")
    out = Output(int, "LENGTH")

    def process(self, ctx: Context) -> None:
        ctx.send(self.out, len(ctx[self.text]))


CALCULATORS = (
    PassThrough,
    Collect,
    Odd,
    Silent,
    Story,
    Later,
    Leaves,
    Raises,
    FailsAfterTwo,
    MakesSide,
    TakesSide,
    AddsSide,
    Answers,
    Source,
    Takes,
)


def registry() -> Registry:
    """All of the above, by their class names."""
    known = Registry()
    for each in CALCULATORS:
        known.add(each.__name__, each, "the tests")
    return known


def define(text: str) -> GraphDefinition:
    """A definition of the graph that a pbtxt describes."""
    parsed = config.parse(text.encode(), "graph.pbtxt")
    return builder.load(parsed, registry(), Path(), Services())


class Run:
    """A run in the test's thread, or in those of `submit`, and everything that it told."""

    def __init__(
        self, text: str, *, submit: Submit = inline, **side_packets: Any
    ) -> None:
        self.definition = define(text)
        self._streams = {name.name: n for name, n in self.definition.inputs}
        self.names = [name.name for name, _ in self.definition.outputs]
        self.packets: list[tuple[str, int, Any]] = []
        self.is_done = False
        self.error: ServingError | None = None
        self.has_room = True
        self.run = GraphRun(self.definition, self, submit)
        self.run.post(lambda: self.run.start(side_packets))

    def feed(self, stream: str, timestamp: int, payload: Any) -> None:
        packet = Packet(timestamp, payload)
        self.run.post(lambda: self.run.feed(self._streams[stream], packet))

    def close(self) -> None:
        self.run.post(self.run.close_inputs)

    def node(self, name: str) -> Any:
        for node in self.run._scheduler.nodes:
            if node.definition.info.name == name:
                return node.calculator
        raise LookupError(name)

    def packet(self, output: int, packet: Packet) -> None:
        self.packets.append((self.names[output], packet.timestamp, packet.payload))

    def settled(self, *, has_room: bool) -> None:
        self.has_room = has_room

    def finished(self, error: ServingError | None) -> None:
        assert not self.is_done, "finished is told once"
        self.is_done, self.error = True, error
