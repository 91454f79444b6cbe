"""A value at every tick: ValueOrDefaultCalculator.

    node {
      calculator: "ValueOrDefaultCalculator"
      input_stream: "TICK:frame"
      input_stream: "IN:mask"
      input_side_packet: "empty_mask"
      output_stream: "OUT:mask_of_frame"
      output_stream: "FLAG:is_default"   # bool, true, only where OUT is the default
    }

As MediaPipe's: where TICK has a packet, OUT has that of IN, or the side packet where IN
has none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ovms_mp.calculator import Calculator, Input, Output, SideInput

if TYPE_CHECKING:
    from ovms_mp.calculator import Context


class ValueOrDefaultCalculator(Calculator):
    """Fills gaps."""

    is_short = True
    timestamp_offset = 0

    tick = Input(Any, "TICK")
    value = Input(Any, "IN")
    default = SideInput(Any)
    filled = Output(Any, "OUT")
    is_default = Output(bool, "FLAG")

    def process(self, ctx: Context) -> None:
        """One tick, or a value that no tick asks for."""
        if not ctx.has(self.tick):
            return
        if ctx.has(self.value):
            ctx.send(self.filled, ctx[self.value])
            return
        ctx.send(self.filled, ctx.side(self.default))
        ctx.send(self.is_default, True)
