"""Calculators of the tests that make packets, and side packets."""

from __future__ import annotations

from typing import Any

from ovms_mp.calculator import (
    Calculator,
    Context,
    Input,
    Output,
    SideInput,
    SideOutput,
)
from ovms_mp.core.timestamp import POSTSTREAM


class CountUp(Calculator):
    """A source of 0, 1, 2 … at those times, `TO` of them."""

    out = Output(int)
    to = SideInput(int, "TO")
    by = SideInput(int, "BY", optional=True)
    count = 0

    def process(self, ctx: Context) -> None:
        if self.count == ctx.side(self.to):
            ctx.stop()
            return
        by = ctx.side(self.by) if self.by else 1
        ctx.send(self.out, self.count * by, at=self.count)
        self.count += 1


class CountTogether(Calculator):
    """A source of five numbers from a counter that the test gives."""

    out = Output(int)
    counter = SideInput(list, "COUNTER")
    early = SideInput(bool, "EARLY", optional=True)
    sent = 0

    def open(self, ctx: Context) -> None:
        if self.early and ctx.side(self.early):
            self._send(ctx)

    def process(self, ctx: Context) -> None:
        self._send(ctx)
        if self.sent == 5:
            ctx.stop()

    def _send(self, ctx: Context) -> None:
        counter = ctx.side(self.counter)
        ctx.send(self.out, counter[0], at=self.sent)
        counter[0] += 1
        self.sent += 1


class CountAndPromise(Calculator):
    """A source that sends at 0, 20, 40 … 2000 and promises at 10, 30, 50 …"""

    out = Output(int)
    at = 0

    def process(self, ctx: Context) -> None:
        if self.at % 20 == 0:
            ctx.send(self.out, self.at // 20, at=self.at)
        else:
            ctx.set_next_bound(self.out, self.at)
        if self.at == 2000:
            ctx.stop()
        self.at += 10


class SideFromPacket(Calculator):
    """Sets its side packet to each packet that comes."""

    value = Input(Any)
    made = SideOutput(Any)

    def process(self, ctx: Context) -> None:
        ctx.set_side(self.made, ctx[self.value])


class SideFromCount(Calculator):
    """Sets its side packet in close: how many packets there were."""

    value = Input(Any)
    made = SideOutput(int)
    count = 0

    def process(self, ctx: Context) -> None:
        self.count += 1

    def close(self, ctx: Context) -> None:
        ctx.set_side(self.made, self.count)


class SideOne(Calculator):
    """Sets its side packet to 1 in open."""

    made = SideOutput(int)

    def open(self, ctx: Context) -> None:
        ctx.set_side(self.made, 1)


class SideSum(Calculator):
    """The sum of two side packets, as a third."""

    first = SideInput(int, "A")
    second = SideInput(int, "B")
    made = SideOutput(int)

    def open(self, ctx: Context) -> None:
        ctx.set_side(self.made, ctx.side(self.first) + ctx.side(self.second))


class SideToStream(Calculator):
    """A source that sends a side packet once, at PostStream."""

    value = SideInput(Any)
    out = Output(Any)

    def process(self, ctx: Context) -> None:
        ctx.send(self.out, ctx.side(self.value), at=POSTSTREAM)
        ctx.stop()


class Numbers(Calculator):
    """A source of numbers, without any."""

    out = Output(int)

    def process(self, ctx: Context) -> None:
        ctx.stop()
