"""Frames that come while others are on their way are dropped:
RealTimeFlowLimiterCalculator, which FlowLimiterCalculator replaces.

    node {
      calculator: "RealTimeFlowLimiterCalculator"
      input_stream: "frames"
      input_stream: "FINISHED:landmarks"
      input_stream_info: { tag_index: "FINISHED" back_edge: true }
      output_stream: "limited_frames"
    }

As MediaPipe's: as long as fewer packets are on their way than the side packet
MAX_IN_FLIGHT says (1 without it), a packet passes, and with it those of the other inputs
at its timestamp; each packet of FINISHED says that one is done. ALLOW tells when the
answer to the next one changes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ovms_mp.calculator import (
    Calculator,
    ContractError,
    Input,
    Inputs,
    Output,
    Outputs,
    SideInput,
    tagged,
)
from ovms_mp.core.timestamp import DONE, UNSET, is_range_value

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ovms_mp.calculator import Context, InputPort, NodeInfo, OutputPort
    from ovms_mp.core.timestamp import Timestamp


class RealTimeFlowLimiterCalculator(Calculator):
    """Lets pass or drops, at once."""

    input_policy = "ImmediateInputStreamHandler"

    frames = Inputs(Any, "")
    finished = Input(Any, "FINISHED")
    passed = Outputs(Any, "")
    allow = Output(bool, "ALLOW", optional=True)
    limit = SideInput(int, "MAX_IN_FLIGHT", optional=True)

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
        """The limit."""
        has_limit = bool(self.limit) and ctx.has_side(self.limit)
        self._limit = ctx.side(self.limit) if has_limit else 1
        if self._limit < 1:
            raise ValueError(f"MAX_IN_FLIGHT must be positive, found {self._limit}")
        self._in_flight = 0
        self._pending: set[Timestamp] = set()
        self._last_dropped: Timestamp = UNSET
        self._bounds: list[Timestamp] = [UNSET] * len(self.frames)
        self._allow_at = 0

    def process(self, ctx: Context) -> None:
        """One that is done makes room for one that comes."""
        could = self._in_flight < self._limit
        if ctx.has(self.finished):
            if not self._in_flight:
                raise ValueError("FINISHED has a packet, but none is on its way")
            self._in_flight -= 1
        for number, source in enumerate(self.frames):
            self._take(ctx, number, ctx.settled(source))
        incomplete = min(self._bounds, default=DONE)
        self._pending = {each for each in self._pending if each >= incomplete}
        can = self._in_flight < self._limit
        if self.allow and can != could:
            self._allow_at += 1
            ctx.send(self.allow, can, at=self._allow_at)

    def _take(self, ctx: Context, number: int, at: Timestamp) -> None:
        source, target = self.frames[number], self.passed[number]
        is_new = is_range_value(at) and self._bounds[number] <= at
        if is_new:
            self._bounds[number] = at + 1
        may_pass = False
        if ctx.has(source):
            may_pass = at in self._pending
            is_first = self._in_flight < self._limit and at > self._last_dropped
            if not may_pass and is_first:
                self._pending.add(at)
                self._in_flight += 1
                may_pass = True
            if not may_pass:
                self._last_dropped = max(self._last_dropped, at)
        if may_pass:
            ctx.send(target, ctx[source])
        elif not ctx.has(source) and ctx.is_done(source):
            ctx.close(target)
        elif is_new:
            ctx.set_next_bound(target, at + 1)
