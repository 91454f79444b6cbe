"""Fewer packets: PacketThinnerCalculator.

    node {
      calculator: "PacketThinnerCalculator"
      input_stream: "frames"
      output_stream: "some_frames"
      node_options: {
        [type.googleapis.com/mediapipe.PacketThinnerCalculatorOptions] {
          thinner_type: SYNC
          period: 100000
        }
      }
    }

As MediaPipe's; times are in microseconds. ASYNC lets a packet pass when `period` has gone
by since the last one. SYNC sends the packet nearest to each multiple of `period` after
`start_time`, at that multiple unless `sync_output_timestamps` is off. Packets before
`start_time` and from `end_time` on are dropped. The side packet PERIOD overrides the
option. `update_frame_rate` speaks of stream headers, which nothing here has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ovms_mp_protos import graph

from ovms_mp.calculator import (
    EMPTY,
    Calculator,
    ContractError,
    Input,
    Options,
    Output,
    SideInput,
)
from ovms_mp.core.timestamp import MAX, MIN

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ovms_mp.calculator import Context, InputPort, NodeInfo, OutputPort
    from ovms_mp.core.timestamp import Timestamp

_OPTIONS: Final = graph.PacketThinnerCalculatorOptions


class PacketThinnerCalculator(Calculator):
    """Drops."""

    packets = Input(Any)
    thinned = Output(Any)
    side_period = SideInput(int, "PERIOD", optional=True)
    options = Options(_OPTIONS)

    @classmethod
    def check(cls, node: NodeInfo) -> None:
        """A period that is one, and times in order."""
        options = node.options.get(_OPTIONS.DESCRIPTOR.full_name, _OPTIONS())
        if options.period < 1:
            raise ContractError(f"period must be positive, found {options.period}")
        start, end = _limits(options)
        if start >= end:
            raise ContractError(
                f"start_time must be before end_time, found {start} and {end}"
            )

    @classmethod
    def passed_on(
        cls, node: NodeInfo
    ) -> Iterable[tuple[InputPort[Any], OutputPort[Any]]]:
        """What is left."""
        return [(node.inputs[0], node.outputs[0])]

    def open(self, ctx: Context) -> None:
        """Settle period and limits."""
        options = self.options
        self._is_sync = options.thinner_type == _OPTIONS.SYNC
        if not self._is_sync:
            self.timestamp_offset = 0
        self._period = options.period
        if self.side_period and ctx.has_side(self.side_period):
            self._period = ctx.side(self.side_period)
            if self._period < 1:
                raise ValueError(f"PERIOD must be positive, found {self._period}")
        self._start, self._end = _limits(options)
        self._next: Timestamp = self._start
        self._saved: Any = EMPTY
        self._saved_at: Timestamp = self._start
        ctx.set_next_bound(self.thinned, self._start)

    def process(self, ctx: Context) -> None:
        """Pass, keep or drop."""
        now = ctx.timestamp
        if now < self._start:
            return
        if now >= self._end:
            ctx.close(self.thinned)
        elif self._is_sync:
            self._nearest(ctx, now)
        elif now >= self._next:
            ctx.send(self.thinned, ctx[self.packets])
            self._next = now + self._period
            ctx.set_next_bound(self.thinned, self._next)

    def close(self, ctx: Context) -> None:
        """The last one that was kept."""
        if self._saved is not EMPTY:
            ctx.send(self.thinned, self._saved, at=self._out(self._saved_at))

    def _nearest(self, ctx: Context, now: Timestamp) -> None:
        if self._saved is not EMPTY:
            before, here = self._slot(self._saved_at), self._slot(now)
            if before == here and abs(now - here) > abs(self._saved_at - before):
                return
            if before != here:
                ctx.send(self.thinned, self._saved, at=self._out(self._saved_at))
                ctx.set_next_bound(self.thinned, self._out(now))
        else:
            ctx.set_next_bound(self.thinned, self._out(now))
        self._saved, self._saved_at = ctx[self.packets], now

    def _slot(self, now: Timestamp) -> Timestamp:
        """The multiple of the period that is nearest; the later of two."""
        steps = (now - self._start + self._period // 2) // self._period
        return self._start + steps * self._period

    def _out(self, at: Timestamp) -> Timestamp:
        return self._slot(at) if self.options.sync_output_timestamps else at


def _limits(options: Any) -> tuple[Timestamp, Timestamp]:
    start = MIN if options.thinner_type == _OPTIONS.ASYNC else 0
    if options.HasField("start_time"):
        start = options.start_time
    return start, options.end_time if options.HasField("end_time") else MAX
