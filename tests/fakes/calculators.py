"""The calculators that MediaPipe's framework tests are made of, under their names.

`sources.registry()` offers them beside the installed ones. Those that an installed calculator
has the name of are called otherwise: MediaPipe's test `MergeCalculator`, which says in
words what it gets, is `SayInputsCalculator`. A packet generator is a calculator that
has side packets alone.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod, sqrt
from typing import Any, ClassVar

from ovms_mp.calculator import (
    Calculator,
    Context,
    Input,
    Inputs,
    Output,
    Outputs,
    SideInput,
    SideInputs,
)
from ovms_mp.core.packet import Packet
from ovms_mp.core.timestamp import (
    MIN,
    POSTSTREAM,
    PRESTREAM,
    describe,
    is_range_value,
    next_allowed,
)


class _Map(Calculator):
    """One output packet for each set of inputs, which must be complete."""

    timestamp_offset = 0

    inputs = Inputs(Any, "")
    output = Output(Any)
    function: Callable[[Any], Any]

    def process(self, ctx: Context) -> None:
        ctx.send(self.output, self.function([ctx[port] for port in self.inputs]))


class IntAdderCalculator(_Map):
    function = staticmethod(sum)


class FloatAdderCalculator(_Map):
    function = staticmethod(lambda values: float(sum(values)))


class IntMultiplierCalculator(_Map):
    function = staticmethod(prod)


class MultiplyIntCalculator(IntMultiplierCalculator):
    output = Output(Any, "OUT")


class IntToFloatCalculator(_Map):
    function = staticmethod(lambda values: float(values[0]))


class DoubleIntCalculator(_Map):
    function = staticmethod(lambda values: 2 * values[0])


class SquareIntCalculator(_Map):
    function = staticmethod(lambda values: values[0] ** 2)


class FloatScalarMultiplierCalculator(_Map):
    factor = SideInput(float)

    def process(self, ctx: Context) -> None:
        ctx.send(self.output, ctx.side(self.factor) * ctx[self.inputs[0]])


class SayInputsCalculator(Calculator):
    """`Timestamp(5) 300 empty`: which inputs came together."""

    inputs = Inputs(Any, "")
    output = Output(str)

    def process(self, ctx: Context) -> None:
        at = describe(ctx.timestamp)
        words = [f"Timestamp({at})" if is_range_value(ctx.timestamp) else at]
        words += [str(ctx.get(port, "empty")) for port in self.inputs]
        ctx.send(self.output, " ".join(words))


class SaverCalculator(Calculator):
    """All texts, joined by '/', after the stream."""

    input = Input(str)
    output = Output(str)

    def open(self, ctx: Context) -> None:
        self._texts: list[str] = []
        ctx.set_next_bound(self.output, POSTSTREAM)

    def process(self, ctx: Context) -> None:
        self._texts.append(ctx[self.input])

    def close(self, ctx: Context) -> None:
        ctx.send(self.output, "/".join(self._texts), at=POSTSTREAM)


class RangeCalculator(Calculator):
    """For the side packet (n, k): a number at 0, at each multiple of k below n and at
    n; their sum after, and their mean before the stream.
    """

    numbers = Outputs(Any, "")
    pair = SideInput(tuple)

    def open(self, ctx: Context) -> None:
        self._n, self._k = ctx.side(self.pair)
        self._index = self._total = self._count = 0
        if self._k == 0:
            raise RuntimeError("k_ == 0")
        ctx.send(self.numbers[0], self._next(), at=0)
        ctx.set_next_bound(self.numbers[1], POSTSTREAM)
        ctx.set_next_bound(self.numbers[2], PRESTREAM)

    def process(self, ctx: Context) -> None:
        self._index += self._k
        if self._index < self._n:
            ctx.send(self.numbers[0], self._next(), at=self._index)
        else:
            ctx.stop()

    def close(self, ctx: Context) -> None:
        ctx.send(self.numbers[0], self._next(), at=self._n)
        ctx.send(self.numbers[1], self._total, at=POSTSTREAM)
        ctx.send(self.numbers[2], self._total / self._count, at=PRESTREAM)

    def _next(self) -> int:
        value = self._k * 100 + self._count
        self._total += value
        self._count += 1
        return value


class StdDevCalculator(Calculator):
    """100 times the deviation of DATA from the MEAN that came before the stream."""

    data = Input(int, "DATA")
    mean = Input(float, "MEAN")
    output = Output(int)

    def open(self, ctx: Context) -> None:
        self._mean: float | None = None
        self._squares: list[float] = []
        ctx.set_next_bound(self.output, POSTSTREAM)

    def process(self, ctx: Context) -> None:
        if ctx.timestamp == PRESTREAM:
            assert not ctx.has(self.data)
            self._mean = ctx[self.mean]
        else:
            assert self._mean is not None and not ctx.has(self.mean)
            self._squares.append((ctx[self.data] - self._mean) ** 2)

    def close(self, ctx: Context) -> None:
        mean = sum(self._squares) / len(self._squares)
        ctx.send(self.output, round(sqrt(mean) * 100), at=POSTSTREAM)


class SidePacketToOutputPacketCalculator(Calculator):
    """Side packets at 0, 1, 2… in open; then its output is closed."""

    values = SideInputs(Any, "")
    output = Output(Any)

    def open(self, ctx: Context) -> None:
        for at, port in enumerate(self.values):
            ctx.send(self.output, ctx.side(port), at=at)
        ctx.close(self.output)

    def process(self, ctx: Context) -> None:
        ctx.stop()


class ExternalInputToOutputPacketCalculator(SidePacketToOutputPacketCalculator):
    pass


class LambdaCalculator(Calculator):
    """Side packets OPEN, PROCESS and CLOSE are called with the context and the
    calculator, whose `inputs` and `outputs` are what its node has.
    """

    inputs = Inputs(Any, optional=True)
    outputs = Outputs(Any, optional=True)
    on_open = SideInput(Callable, "OPEN", optional=True)
    on_process = SideInput(Callable, "PROCESS", optional=True)
    on_close = SideInput(Callable, "CLOSE", optional=True)

    def open(self, ctx: Context) -> None:
        self._call("OPEN", ctx)

    def process(self, ctx: Context) -> None:
        self._call("PROCESS", ctx)

    def close(self, ctx: Context) -> None:
        self._call("CLOSE", ctx)

    def _call(self, tag: str, ctx: Context) -> None:
        for port in self.node.side_inputs:
            if port.tag == tag:
                ctx.side(port)(ctx, self)


class DummyTestCalculator(Calculator):
    """Any ports, no deeds."""

    inputs = Inputs(Any, optional=True)
    outputs = Outputs(Any, optional=True)
    side_inputs = SideInputs(Any, optional=True)

    def process(self, ctx: Context) -> None:
        pass


class ForwardNestedPacketOrEmitBoundUpdateCalculator(Calculator):
    """A payload that is a Packet goes out as it says; an int is a bound, less 1."""

    input = Input(Any)
    output = Output(Any)

    def process(self, ctx: Context) -> None:
        nested = ctx[self.input]
        if isinstance(nested, Packet):
            ctx.send(self.output, nested.payload, at=nested.timestamp)
        else:
            ctx.set_next_bound(self.output, nested + 1)


class TimestampBoundReceiverCalculator(Calculator):
    """Sends the bounds that arrive, as packets at these bounds."""

    process_timestamp_bounds = True

    input = Input(Any)
    output = Output(int)

    def process(self, ctx: Context) -> None:
        if not ctx.has(self.input):
            ctx.send(self.output, ctx.timestamp + 1, at=ctx.timestamp + 1)


class DemuxTimedCalculator(Calculator):
    """INPUT goes to the OUTPUT of the index in SELECT, all others get a bound."""

    timestamp_offset = 0

    select = Input(int, "SELECT")
    input = Input(Any, "INPUT")
    outputs = Outputs(Any, "OUTPUT")

    def process(self, ctx: Context) -> None:
        for port in self.outputs:
            if port.index == ctx[self.select]:
                ctx.send(port, ctx[self.input])
            else:
                ctx.set_next_bound(port, next_allowed(ctx.timestamp))


class MuxTimedCalculator(Calculator):
    """The INPUT of the index in SELECT."""

    timestamp_offset = 0

    select = Input(int, "SELECT")
    inputs = Inputs(Any, "INPUT")
    output = Output(Any, "OUTPUT")

    def process(self, ctx: Context) -> None:
        ctx.send(self.output, ctx[self.inputs[ctx[self.select]]])


class SimpleMuxCalculator(Calculator):
    """The first input that has a packet."""

    inputs = Inputs(Any, "")
    output = Output(Any)

    def process(self, ctx: Context) -> None:
        for port in self.inputs:
            if ctx.has(port):
                ctx.send(self.output, ctx[port])
                return


class StringSinkCalculator(Calculator):
    input = Input(str)

    def process(self, ctx: Context) -> None:
        pass


class IntSinkCalculator(Calculator):
    input = Input(int)

    def process(self, ctx: Context) -> None:
        pass


class AssertEmptyInputInOpenCalculator(IntSinkCalculator):
    input = Input(Any)

    def open(self, ctx: Context) -> None:
        assert not ctx.has(self.input)


class SetOffsetInProcessCalculator(Calculator):
    """Passes packets, and promises only once it runs that it keeps timestamps."""

    input = Input(Any)
    output = Output(Any)

    def process(self, ctx: Context) -> None:
        self.timestamp_offset = 0
        ctx.send(self.output, ctx[self.input])


class DecimatorCalculator(Calculator):
    """Every 101st packet."""

    input = Input(Any)
    output = Output(Any)

    def open(self, ctx: Context) -> None:
        self._index = 0

    def process(self, ctx: Context) -> None:
        if self._index % 101 == 0:
            ctx.send(self.output, ctx[self.input])
        self._index += 1


class ErrorOnOpenCalculator(Calculator):
    """Passes packets, unless ERROR_ON_OPEN is true."""

    input = Input(Any)
    output = Output(Any)
    fails = SideInput(bool, "ERROR_ON_OPEN")

    def open(self, ctx: Context) -> None:
        if ctx.side(self.fails):
            raise RuntimeError("expected error")

    def process(self, ctx: Context) -> None:
        ctx.send(self.output, ctx[self.input])


class UnitDelayCalculator(Calculator):
    """0 at 0, then each packet one later."""

    zero: ClassVar[Any] = 0

    input = Input(Any)
    output = Output(Any)

    def open(self, ctx: Context) -> None:
        ctx.send(self.output, self.zero, at=0)

    def process(self, ctx: Context) -> None:
        ctx.send(self.output, ctx[self.input], at=next_allowed(ctx.timestamp))


class FloatUnitDelayCalculator(UnitDelayCalculator):
    zero: ClassVar[Any] = 0.0


class UnitDelayUntimedCalculator(Calculator):
    """0 at the first timestamp there is, then each packet as it came."""

    input = Input(int)
    output = Output(int)

    def open(self, ctx: Context) -> None:
        ctx.send(self.output, 0, at=MIN)

    def process(self, ctx: Context) -> None:
        ctx.send(self.output, ctx[self.input])
