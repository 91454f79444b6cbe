"""The sources and packet generators of MediaPipe's framework tests, and the registry
that offers all fakes.
"""

from __future__ import annotations

from typing import Any, ClassVar

from ovms_mp.calculator import (
    Calculator,
    Context,
    Input,
    Output,
    SideInput,
    SideInputs,
    SideOutput,
    SideOutputs,
)
from ovms_mp.core.timestamp import DONE, POSTSTREAM, UNSTARTED
from ovms_mp.graph.registry import Registry
from tests.fakes import calculators


class _Sequence(Calculator):
    """A packet of `sequence` per call, (timestamp, payload); stops with the last."""

    output = Output(Any)
    sequence: ClassVar[tuple[tuple[int, Any], ...]] = ()

    def open(self, ctx: Context) -> None:
        self._left = iter(self.sequence)
        self._count = 0

    def process(self, ctx: Context) -> None:
        at, payload = next(self._left)
        ctx.send(self.output, payload, at=at)
        self._count += 1
        if self._count == len(self.sequence):
            ctx.stop()


class TestSequence1SourceCalculator(_Sequence):
    """All at one timestamp, which is an error."""

    sequence = tuple((0, count) for count in range(15))


class TestSequence2SourceCalculator(_Sequence):
    """Time goes back, which is an error."""

    sequence = tuple((100 - count, count + 1) for count in range(15))


class Modulo3SourceCalculator(_Sequence):
    """0, 1, 2 and then 0 again, which is an error."""

    sequence = tuple((count % 3, count % 3) for count in range(15))


class StringEmptySourceCalculator(_Sequence):
    """One packet after the stream."""

    sequence = ((POSTSTREAM, ""),)


class IntEmptySourceCalculator(_Sequence):
    """One packet after the stream."""

    sequence = ((POSTSTREAM, 0),)


class OutputAllSourceCalculator(Calculator):
    """100 packets in one call."""

    output = Output(int)

    def process(self, ctx: Context) -> None:
        for at in range(100):
            ctx.send(self.output, 0, at=at)
        ctx.stop()


class OutputOneAtATimeSourceCalculator(Calculator):
    """1,000 packets, one per call; then one call that stops."""

    output = Output(int)

    def open(self, ctx: Context) -> None:
        self._index = 0

    def process(self, ctx: Context) -> None:
        if self._index == 1000:
            ctx.stop()
            return
        ctx.send(self.output, 0, at=self._index)
        self._index += 1


class GlobalCountSourceCalculator(Calculator):
    """Five packets with the numbers of an iterator that all sources share, the first
    in open if the second side packet says so.
    """

    output = Output(int)
    sides = SideInputs(Any, "")

    def open(self, ctx: Context) -> None:
        self._count = 0
        if len(self.sides) > 1 and ctx.side(self.sides[1]):
            self._send(ctx)

    def process(self, ctx: Context) -> None:
        self._send(ctx)
        if self._count >= 5:
            ctx.stop()

    def _send(self, ctx: Context) -> None:
        ctx.send(self.output, next(ctx.side(self.sides[0])), at=self._count)
        self._count += 1


class FailingSourceCalculator(Calculator):
    output = Output(str)

    def process(self, ctx: Context) -> None:
        raise RuntimeError("this always fails.")


class CheckInputTimestampSourceCalculator(Calculator):
    """0, 1, 2… as long as `limit` allows; wants the timestamps of a source's life."""

    limit: ClassVar[int | None] = 5

    output = Output(int)

    def open(self, ctx: Context) -> None:
        self._count = 0
        assert ctx.timestamp == UNSTARTED

    def process(self, ctx: Context) -> None:
        assert ctx.timestamp == 0
        ctx.send(self.output, self._count, at=self._count)
        self._count += 1
        if self._count == self.limit:
            ctx.stop()

    def close(self, ctx: Context) -> None:
        assert ctx.timestamp == DONE


class CheckInputTimestamp2SourceCalculator(CheckInputTimestampSourceCalculator):
    """Never ends by itself."""

    limit = None


class CheckInputTimestampSinkCalculator(Calculator):
    """Wants packets at 0, 1, 2…"""

    limit: ClassVar[int | None] = None

    input = Input(int)

    def open(self, ctx: Context) -> None:
        self._count = 0
        assert ctx.timestamp == UNSTARTED

    def process(self, ctx: Context) -> None:
        assert ctx.timestamp == self._count
        self._count += 1
        if self._count == self.limit:
            ctx.stop()

    def close(self, ctx: Context) -> None:
        assert ctx.timestamp == DONE


class CheckInputTimestamp2SinkCalculator(CheckInputTimestampSinkCalculator):
    """Stops the graph's sources after the fifth."""

    limit = 5


class IntSplitterPacketGenerator(Calculator):
    """(high, low) halves of a uint64."""

    value = SideInput(int)
    pair = SideOutput(tuple)

    def open(self, ctx: Context) -> None:
        ctx.set_side(self.pair, divmod(ctx.side(self.value), 2**32))


class TaggedIntSplitterPacketGenerator(Calculator):
    """The halves of a uint64, one by one and together."""

    value = SideInput(int)
    high = SideOutput(int, "HIGH")
    low = SideOutput(int, "LOW")
    pair = SideOutput(tuple, "PAIR")

    def open(self, ctx: Context) -> None:
        high, low = divmod(ctx.side(self.value), 2**32)
        ctx.set_side(self.high, high)
        ctx.set_side(self.low, low)
        ctx.set_side(self.pair, (high, low))


class StaticCounterStringGenerator(Calculator):
    inputs = SideInputs(Any, "", optional=True)
    output = SideOutput(str)

    def open(self, ctx: Context) -> None:
        ctx.set_side(self.output, "fixed_string")


class FailingPacketGenerator(StaticCounterStringGenerator):
    def open(self, ctx: Context) -> None:
        raise RuntimeError("this always fails.")


class EnsurePositivePacketGenerator(Calculator):
    inputs = SideInputs(int, "")
    outputs = SideOutputs(int, "")

    def open(self, ctx: Context) -> None:
        for given, taken in zip(self.inputs, self.outputs, strict=True):
            if ctx.side(given) <= 0:
                raise ValueError(f"Integer {given.index} was not positive.")
            ctx.set_side(taken, ctx.side(given))


def registry() -> Registry:
    """The installed calculators and the fakes."""
    found = Registry.installed()
    for name, each in {**vars(calculators), **globals()}.items():
        is_fake = isinstance(each, type) and issubclass(each, Calculator)
        if is_fake and each.__module__.startswith("tests.fakes.") and name[0] != "_":
            found.add(name, each, "the fakes")
    return found
