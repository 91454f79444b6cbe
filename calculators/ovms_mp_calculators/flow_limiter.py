"""No more frames at a time than a part of the graph can take: FlowLimiterCalculator.

    node {
      calculator: "FlowLimiterCalculator"
      input_stream: "frames"
      input_stream: "FINISHED:landmarks"
      input_stream_info: { tag_index: "FINISHED" back_edge: true }
      output_stream: "limited_frames"
      node_options: {
        [type.googleapis.com/mediapipe.FlowLimiterCalculatorOptions] {
          max_in_flight: 1
          max_in_queue: 1
        }
      }
    }

As MediaPipe's: a packet of the first input passes while fewer than `max_in_flight` are on
their way, `max_in_queue` wait, older ones are dropped; a packet or bound on FINISHED says
that all up to it are done, and `in_flight_timeout` (microseconds) gives up waiting for
it. The other inputs pass or are dropped with the first one's. ALLOW tells which passed.
The side packet MAX_IN_FLIGHT overrides the option, OPTIONS (a stream or a side packet of
the options message) overrides all.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from ovms_mp_protos import graph

from ovms_mp.calculator import (
    Calculator,
    ContractError,
    Input,
    Inputs,
    Options,
    Output,
    Outputs,
    SideInput,
    tagged,
)
from ovms_mp.core.timestamp import MAX, UNSET, next_allowed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ovms_mp.calculator import Context, InputPort, NodeInfo, OutputPort
    from ovms_mp.core.timestamp import Timestamp

_OPTIONS: Final = graph.FlowLimiterCalculatorOptions


class _Lane:
    """One input with its output: what waits, and how far the output is settled."""

    def __init__(self, source: InputPort[Any], target: OutputPort[Any]) -> None:
        self.source = source
        self.target = target
        self.waiting: deque[tuple[Timestamp, Any]] = deque()
        self.is_closed = False

    def bound(self, ctx: Context) -> Timestamp:
        """Nothing before this will pass any more."""
        if self.waiting:
            return self.waiting[0][0]
        return next_allowed(ctx.settled(self.source))


class FlowLimiterCalculator(Calculator):
    """Lets packets pass, wait, or fall."""

    input_policy = "ImmediateInputStreamHandler"
    process_timestamp_bounds = True

    frames = Inputs(Any, "")
    finished = Input(Any, "FINISHED")
    new_options = Input(_OPTIONS, "OPTIONS", optional=True)
    passed = Outputs(Any, "")
    allow = Output(bool, "ALLOW", optional=True)
    max_in_flight_now = SideInput(int, "MAX_IN_FLIGHT", optional=True)
    side_options = SideInput(_OPTIONS, "OPTIONS", optional=True)
    options = Options(_OPTIONS)

    @classmethod
    def check(cls, node: NodeInfo) -> None:
        """As many outputs as inputs without a tag."""
        given = sum(not port.tag for port in node.inputs)
        made = sum(not port.tag for port in node.outputs)
        if given != made:
            raise ContractError(
                f"{given} input streams without a tag need as many output streams, "
                f"found {made}"
            )

    @classmethod
    def passed_on(
        cls, node: NodeInfo
    ) -> Iterable[tuple[InputPort[Any], OutputPort[Any]]]:
        """What passes."""
        return zip(tagged(node.inputs, ""), tagged(node.outputs, ""), strict=True)

    def open(self, ctx: Context) -> None:
        """Settle the limits."""
        self._limits = _OPTIONS()
        self._limits.CopyFrom(self.options)
        if self.side_options and ctx.has_side(self.side_options):
            self._limits.MergeFrom(ctx.side(self.side_options))
        if self.max_in_flight_now and ctx.has_side(self.max_in_flight_now):
            self._limits.max_in_flight = ctx.side(self.max_in_flight_now)
        pairs = zip(self.frames, self.passed, strict=True)
        self._lanes = [_Lane(source, target) for source, target in pairs]
        self._in_flight: deque[Timestamp] = deque()
        # From each of these times on, until the next: whether a packet passes.
        self._since: list[Timestamp] = [UNSET]
        self._allowed: list[bool] = [True]
        self._allow_is_closed = False

    def process(self, ctx: Context) -> None:
        """What has finished makes room; what waits takes it."""
        if self.new_options and ctx.has(self.new_options):
            self._limits.MergeFrom(ctx[self.new_options])
        if ctx.settled(self.finished) == ctx.timestamp:
            self._forget(lambda frame: frame <= ctx.timestamp)
        for lane in self._lanes:
            if ctx.has(lane.source):
                lane.waiting.append((ctx.timestamp, ctx[lane.source]))
        first = self._lanes[0]
        latest = ctx.settled(first.source)
        timeout = self._limits.in_flight_timeout
        if timeout > 0 and latest == ctx.timestamp and latest < MAX:
            self._forget(lambda frame: latest - frame > timeout)
        self._pass(ctx, first)
        bound = first.bound(ctx)
        self._promise(ctx, first, bound)
        if not first.waiting and self.allow and not self._allow_is_closed:
            if bound > MAX:
                self._allow_is_closed = True
                ctx.close(self.allow)
            else:
                ctx.set_next_bound(self.allow, bound)
        for lane in self._lanes[1:]:
            self._follow(ctx, lane, bound)
        self._tidy(min(lane.bound(ctx) for lane in self._lanes))

    def _forget(self, is_over: Callable[[Timestamp], bool]) -> None:
        while self._in_flight and is_over(self._in_flight[0]):
            self._in_flight.popleft()

    def _pass(self, ctx: Context, lane: _Lane) -> None:
        waiting, limits = lane.waiting, self._limits
        while waiting and len(self._in_flight) < limits.max_in_flight:
            timestamp, payload = waiting.popleft()
            ctx.send(lane.target, payload, at=timestamp)
            self._decide(ctx, timestamp, is_allowed=True)
            self._in_flight.append(timestamp)
        while len(waiting) > limits.max_in_queue:
            self._decide(ctx, waiting.popleft()[0], is_allowed=False)

    def _decide(self, ctx: Context, timestamp: Timestamp, *, is_allowed: bool) -> None:
        if self.allow:
            ctx.send(self.allow, is_allowed, at=timestamp)
        self._since.append(timestamp)
        self._allowed.append(is_allowed)

    def _promise(self, ctx: Context, lane: _Lane, bound: Timestamp) -> None:
        if lane.is_closed:
            return
        if bound > MAX:
            lane.is_closed = True
            ctx.close(lane.target)
        else:
            ctx.set_next_bound(lane.target, bound)

    def _follow(self, ctx: Context, lane: _Lane, settled: Timestamp) -> None:
        """Another input: its packets have the fate of the first one's."""
        while lane.waiting and lane.waiting[0][0] < settled:
            timestamp, payload = lane.waiting.popleft()
            if self._allowed[bisect_right(self._since, timestamp) - 1]:
                ctx.send(lane.target, payload, at=timestamp)
        self._promise(ctx, lane, lane.bound(ctx))

    def _tidy(self, bound: Timestamp) -> None:
        """Forget decisions that nothing will ask for."""
        first = bisect_right(self._since, bound) - 1
        del self._since[:first]
        del self._allowed[:first]
