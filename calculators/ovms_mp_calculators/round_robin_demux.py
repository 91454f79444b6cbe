"""Packets in turn to several streams: RoundRobinDemuxCalculator.

    node {
      calculator: "RoundRobinDemuxCalculator"
      input_stream: "frames"
      output_stream: "OUTPUT:0:even_frames"
      output_stream: "OUTPUT:1:odd_frames"
      output_stream: "SELECT:which"
    }

As MediaPipe's: each packet goes to the next OUTPUT; SELECT says which, for a
MuxCalculator that brings them together again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ovms_mp.calculator import Calculator, Input, Output, Outputs, tagged

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ovms_mp.calculator import Context, InputPort, NodeInfo, OutputPort


class RoundRobinDemuxCalculator(Calculator):
    """Deals."""

    is_short = True
    timestamp_offset = 0

    packet = Input(Any)
    outputs = Outputs(Any, "OUTPUT")
    select = Output(int, "SELECT", optional=True)
    _next = 0

    @classmethod
    def passed_on(
        cls, node: NodeInfo
    ) -> Iterable[tuple[InputPort[Any], OutputPort[Any]]]:
        """To whom it is dealt."""
        outputs = tagged(node.outputs, "OUTPUT")
        return [(port, each) for port in tagged(node.inputs, "") for each in outputs]

    def process(self, ctx: Context) -> None:
        """To the next one."""
        ctx.send(self.outputs[self._next], ctx[self.packet])
        if self.select:
            ctx.send(self.select, self._next)
        self._next = (self._next + 1) % len(self.outputs)
