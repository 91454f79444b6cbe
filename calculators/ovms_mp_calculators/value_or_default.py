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

from ovms_mp.calculator import Calculator, Input, Output, SideInput, tagged

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ovms_mp.calculator import Context, InputPort, NodeInfo, OutputPort


class ValueOrDefaultCalculator(Calculator):
    """Fills gaps."""

    is_short = True
    timestamp_offset = 0

    tick = Input(Any, "TICK")
    value = Input(Any, "IN")
    default = SideInput(Any)
    filled = Output(Any, "OUT")
    is_default = Output(bool, "FLAG")

    @classmethod
    def passed_on(
        cls, node: NodeInfo
    ) -> Iterable[tuple[InputPort[Any], OutputPort[Any]]]:
        """What is there."""
        return zip(tagged(node.inputs, "IN"), tagged(node.outputs, "OUT"), strict=False)

    def process(self, ctx: Context) -> None:
        """One tick, or a value that no tick asks for."""
        if not ctx.has(self.tick):
            return
        if ctx.has(self.value):
            ctx.send(self.filled, ctx[self.value])
            return
        ctx.send(self.filled, ctx.side(self.default))
        ctx.send(self.is_default, True)
