"""Calculators that do one thing each, for what MediaPipe's own tests look at."""

from __future__ import annotations

from typing import Any

from ovms_mp.calculator import (
    Calculator,
    Context,
    Input,
    Inputs,
    Output,
    Outputs,
    SideInput,
)
from ovms_mp.core.pending import Pending
from ovms_mp.core.timestamp import MAX, next_allowed
from ovms_mp.graph.registry import Registry
from tests.mediapipe import branches, sources


class Pass(Calculator):
    """Every input to the output of the same tag and index, with offset 0."""

    ins = Inputs(Any)
    outs = Outputs(Any)
    timestamp_offset = 0

    def process(self, ctx: Context) -> None:
        sources = {(each.tag, each.index): each for each in self.ins}
        for target in self.outs:
            source = sources[target.tag, target.index]
            if ctx.has(source):
                ctx.send(target, ctx[source])


class PassWithoutOffset(Pass):
    """The same, and promises nothing."""

    timestamp_offset = None


class Join(Calculator):
    """What all inputs hold at a timestamp, None for nothing."""

    ins = Inputs(Any)
    out = Output(tuple)

    def process(self, ctx: Context) -> None:
        ctx.send(self.out, tuple(ctx.get(each) for each in self.ins))


class Add(Calculator):
    """The sum of the inputs, with offset 0."""

    ins = Inputs(Any)
    out = Output(Any)
    timestamp_offset = 0

    def process(self, ctx: Context) -> None:
        ctx.send(self.out, sum(ctx.get(each) or 0 for each in self.ins))


class Does(Calculator):
    """What the side packet DO says, with any streams."""

    ins = Inputs(Any, optional=True)
    outs = Outputs(Any, optional=True)
    do = SideInput(Any, "DO")

    def open(self, ctx: Context) -> None:
        self._call("open", ctx)

    def process(self, ctx: Context) -> None:
        self._call("process", ctx)

    def close(self, ctx: Context) -> None:
        self._call("close", ctx)

    def _call(self, method: str, ctx: Context) -> None:
        call = getattr(ctx.side(self.do), method, None)
        if call is not None:
            call(self, ctx)


class Records(Calculator):
    """Writes every call down in LOG: the timestamp, then what each input holds, or
    where it has nothing, up to where it is settled; at the end "closed". A call is in
    flight for as long as a Pending that the test has left in WAITS.
    """

    ins = Inputs(Any)
    log = SideInput(list, "LOG")
    waits = SideInput(list, "WAITS", optional=True)

    def process(self, ctx: Context) -> None:
        if self.waits is not None and ctx.side(self.waits):
            ctx.wait(ctx.side(self.waits).pop(), lambda _: None)
        held = [ctx[each] if ctx.has(each) else ctx.settled(each) for each in self.ins]
        ctx.side(self.log).append((ctx.timestamp, *held))

    def close(self, ctx: Context) -> None:
        ctx.side(self.log).append("closed")


class RecordsBounds(Records):
    """The same, for every timestamp that becomes settled."""

    process_timestamp_bounds = True


class DoesWithOffset(Does):
    """The same with offset 0."""

    timestamp_offset = 0


class Shift(Calculator):
    """Moves packets, and with them the bound, by a side packet."""

    value = Input(Any)
    out = Output(Any)
    by = SideInput(int)

    def open(self, ctx: Context) -> None:
        self.timestamp_offset = ctx.side(self.by)

    def process(self, ctx: Context) -> None:
        ctx.send(self.out, ctx[self.value], at=ctx.timestamp + ctx.side(self.by))


class Silent(Calculator):
    """Takes everything, sends nothing, promises nothing."""

    ins = Inputs(Any)
    outs = Outputs(Any, optional=True)

    def process(self, ctx: Context) -> None:
        pass


class Promises(Silent):
    """Sends bounds only, by its offset."""

    timestamp_offset = 0


class PromisesNext(Silent):
    """Sends bounds only, by promise."""

    def process(self, ctx: Context) -> None:
        ctx.set_next_bound(self.outs[0], ctx.timestamp + 1)


class Later(Calculator):
    """Sends everything three ticks later and has no offset."""

    value = Input(Any)
    out = Output(Any)

    def process(self, ctx: Context) -> None:
        ctx.send(self.out, ctx[self.value], at=ctx.timestamp + 3)


class Delay20(Calculator):
    """0 at 0, then everything twenty ticks later, with that offset."""

    value = Input(int)
    out = Output(int)
    timestamp_offset = 20

    def open(self, ctx: Context) -> None:
        ctx.send(self.out, 0, at=0)

    def process(self, ctx: Context) -> None:
        ctx.send(self.out, ctx[self.value], at=ctx.timestamp + 20)


class UnitDelay(Calculator):
    """0 at 0, then everything a tick later."""

    value = Input(Any)
    out = Output(Any)

    def open(self, ctx: Context) -> None:
        ctx.send(self.out, 0, at=0)

    def process(self, ctx: Context) -> None:
        ctx.send(self.out, ctx[self.value], at=ctx.timestamp + 1)


class DelayUntimed(Calculator):
    """0, then everything, at the timestamps that it comes at."""

    value = Input(Any)
    out = Output(Any)

    def open(self, ctx: Context) -> None:
        ctx.send(self.out, 0, at=0)

    def process(self, ctx: Context) -> None:
        ctx.send(self.out, ctx[self.value], at=ctx.timestamp + 1)


class Scale(Calculator):
    """Times a side packet, with offset 0."""

    value = Input(Any)
    out = Output(float)
    by = SideInput(float)
    timestamp_offset = 0

    def process(self, ctx: Context) -> None:
        ctx.send(self.out, ctx[self.value] * ctx.side(self.by))


class SettledAt(Calculator):
    """For each input, up to where it is settled when process is called."""

    ins = Inputs(Any)
    outs = Outputs(int)

    def process(self, ctx: Context) -> None:
        for source, target in zip(self.ins, self.outs, strict=True):
            ctx.send(target, ctx.settled(source))


class TellsBounds(Calculator):
    """A packet for every timestamp that an input is newly settled at."""

    ins = Inputs(Any)
    outs = Outputs(int)
    input_policy = "ImmediateInputStreamHandler"
    process_timestamp_bounds = True

    def process(self, ctx: Context) -> None:
        for source, target in zip(self.ins, self.outs, strict=True):
            at = ctx.settled(source)
            if at == ctx.timestamp and at >= ctx.next_bound(target):
                ctx.send(target, at, at=at)


class PassAtOnce(Calculator):
    """Passes packets and bounds of each input when they come."""

    ins = Inputs(Any)
    outs = Outputs(Any)
    input_policy = "ImmediateInputStreamHandler"
    process_timestamp_bounds = True

    def process(self, ctx: Context) -> None:
        for source, target in zip(self.ins, self.outs, strict=True):
            if ctx.has(source):
                ctx.send(target, ctx[source])
            elif ctx.next_bound(target) < (bound := next_allowed(ctx.settled(source))):
                ctx.set_next_bound(target, bound)


class LastOnly(Calculator):
    """The last packet, when its input has ended."""

    value = Input(Any)
    out = Output(Any)
    last: tuple[int, Any]

    def process(self, ctx: Context) -> None:
        ctx.set_next_bound(self.out, ctx.timestamp)
        self.last = ctx.timestamp, ctx[self.value]

    def close(self, ctx: Context) -> None:
        at, payload = self.last
        ctx.send(self.out, payload, at=at)


class FirstOnly(Calculator):
    """The first packet; then the output is closed."""

    value = Input(Any)
    out = Output(Any)
    is_over = False

    def process(self, ctx: Context) -> None:
        if not self.is_over:
            self.is_over = True
            ctx.send(self.out, ctx[self.value])
            ctx.close(self.out)


class Slow(Calculator):
    """Passes a packet when the test settles what it waits for."""

    value = Input(Any)
    out = Output(Any)
    waits = SideInput(list, "WAITS")

    def process(self, ctx: Context) -> None:
        pending = Pending[Any]()
        value = ctx[self.value]
        ctx.side(self.waits).append(pending)
        ctx.wait(pending, lambda _: ctx.send(self.out, value))


class SlowWithOffset(Slow):
    """The same with offset 0."""

    timestamp_offset = 0


class OccasionalBound(Calculator):
    """Waits for the test; then promises, at every second packet only."""

    value = Input(Any)
    out = Output(Any)
    waits = SideInput(list, "WAITS")

    def process(self, ctx: Context) -> None:
        pending = Pending[Any]()
        ctx.side(self.waits).append(pending)
        at = ctx.timestamp
        ctx.wait(pending, lambda _: self._promise(ctx, at))

    def _promise(self, ctx: Context, at: int) -> None:
        if at % 20 == 0:
            ctx.set_next_bound(self.out, at + 1)


class OffsetAndBound(Silent):
    """Has offset 0 and promises much more at every second packet."""

    timestamp_offset = 0

    def process(self, ctx: Context) -> None:
        if ctx.timestamp == 20:
            ctx.set_next_bound(self.outs[0], 10_000)


class Summary(Calculator):
    """The sum of all packets, at Max, as soon as no more can come."""

    value = Input(int)
    out = Output(int)
    input_policy = "ImmediateInputStreamHandler"
    process_timestamp_bounds = True
    total: int | None = None
    is_over = False

    def process(self, ctx: Context) -> None:
        if ctx.has(self.value):
            self.total = (self.total or 0) + ctx[self.value]
        if self.is_over:
            return
        if ctx.is_done(self.value) or next_allowed(ctx.timestamp) > MAX:
            self.is_over = True
            if self.total is not None:
                ctx.send(self.out, self.total, at=MAX)
            ctx.close(self.out)


class TakesText(Calculator):
    """Takes text only."""

    text = Input(str)

    def process(self, ctx: Context) -> None:
        pass


def registry() -> Registry:
    """All of the above, by their class names."""
    known = Registry()
    for name, each in {**globals(), **vars(branches), **vars(sources)}.items():
        is_calculator = isinstance(each, type) and issubclass(each, Calculator)
        if is_calculator and each is not Calculator:
            known.add(name, each, "the tests")
    return known
