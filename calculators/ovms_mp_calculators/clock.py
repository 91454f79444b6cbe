"""What time it is when a packet passes, and how long it took:
ClockTimestampCalculator and ClockLatencyCalculator.

    node {
      calculator: "ClockTimestampCalculator"
      input_stream: "frames"
      output_stream: "came_at"
    }

As MediaPipe's: the first sends the time for each packet, in seconds since 1970 as a
float; its side packet CLOCK is a function that tells it, otherwise a clock that never
goes back. The second sends, for each of its inputs with such times, the seconds since
the time on REFERENCE.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ovms_mp.calculator import (
    Calculator,
    ContractError,
    Input,
    Inputs,
    Output,
    Outputs,
    SideInput,
)

if TYPE_CHECKING:
    from ovms_mp.calculator import Context, NodeInfo


class ClockTimestampCalculator(Calculator):
    """Tells the time."""

    timestamp_offset = 0

    packet = Input(Any)
    now = Output(float)
    clock: SideInput[Any] = SideInput(Callable, "CLOCK", optional=True)

    def open(self, ctx: Context) -> None:
        """Choose the clock."""
        if self.clock and ctx.has_side(self.clock):
            self._now = ctx.side(self.clock)
            return
        offset = time.time() - time.monotonic()
        self._now = lambda: time.monotonic() + offset

    def process(self, ctx: Context) -> None:
        """Look at it."""
        ctx.send(self.now, float(self._now()))


class ClockLatencyCalculator(Calculator):
    """Subtracts times."""

    timestamp_offset = 0

    times = Inputs(float, "")
    reference = Input(float, "REFERENCE")
    latencies = Outputs(float, "")

    @classmethod
    def check(cls, node: NodeInfo) -> None:
        """An output for each input."""
        given = len(node.inputs) - 1
        if given != len(node.outputs):
            raise ContractError(
                f"{given} input streams without a tag need as many output streams, "
                f"found {len(node.outputs)}"
            )

    def process(self, ctx: Context) -> None:
        """Since REFERENCE, which must be there."""
        since = ctx[self.reference]
        for source, target in zip(self.times, self.latencies, strict=True):
            if ctx.has(source):
                ctx.send(target, ctx[source] - since)
