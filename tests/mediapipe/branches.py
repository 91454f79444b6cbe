"""Calculators of the tests that take streams apart and put them together."""

from __future__ import annotations

from typing import Any

from ovms_mp.calculator import Calculator, Context, Input, Inputs, Output, Outputs
from ovms_mp.core.timestamp import next_allowed


class Select(Calculator):
    """What the input that SELECT names has at SELECT's timestamp, with offset 0."""

    ins = Inputs(Any, "IN")
    select = Input(int, "SELECT")
    out = Output(Any)
    timestamp_offset = 0

    def process(self, ctx: Context) -> None:
        if ctx.has(self.select):
            source = self.ins[ctx[self.select]]
            if ctx.has(source):
                ctx.send(self.out, ctx[source])


class SelectsByItself(Select):
    """The same, and says itself how its inputs are handled."""

    input_policy = "MuxInputStreamHandler"


class RoundRobin(Calculator):
    """Each packet to the next output, whose number goes to SELECT."""

    value = Input(Any)
    outs = Outputs(Any, "OUT")
    select = Output(int, "SELECT")
    turn = 0

    def process(self, ctx: Context) -> None:
        ctx.send(self.select, self.turn)
        ctx.send(self.outs[self.turn], ctx[self.value])
        self.turn = (self.turn + 1) % len(self.outs)


class Valve(Calculator):
    """Passes what comes with a true GATE; else promises that nothing comes."""

    value = Input(Any, "IN")
    gate = Input(bool, "GATE")
    out = Output(Any)

    def process(self, ctx: Context) -> None:
        if ctx.get(self.gate):
            ctx.send(self.out, ctx[self.value])
        else:
            ctx.set_next_bound(self.out, next_allowed(ctx.timestamp))


class Even(Calculator):
    """Passes even numbers; for others it promises that nothing comes."""

    value = Input(int)
    out = Output(int)

    def process(self, ctx: Context) -> None:
        if ctx[self.value] % 2 == 0:
            ctx.send(self.out, ctx[self.value])
        else:
            ctx.set_next_bound(self.out, next_allowed(ctx.timestamp))
