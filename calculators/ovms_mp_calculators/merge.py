"""The first packet of several streams at each time: MergeCalculator.

    node {
      calculator: "MergeCalculator"
      input_stream: "hand_rects"
      input_stream: "palm_rects"
      output_stream: "rects"
    }

As MediaPipe's: of the inputs that have a packet at a timestamp, the first one's passes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ovms_mp.calculator import Calculator, Inputs, Output

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ovms_mp.calculator import Context, InputPort, NodeInfo, OutputPort


class MergeCalculator(Calculator):
    """Several become one."""

    is_short = True
    timestamp_offset = 0

    inputs = Inputs(Any, "")
    merged = Output(Any)

    @classmethod
    def passed_on(
        cls, node: NodeInfo
    ) -> Iterable[tuple[InputPort[Any], OutputPort[Any]]]:
        """All of them."""
        return [(port, node.outputs[0]) for port in node.inputs]

    def process(self, ctx: Context) -> None:
        """The first that there is."""
        for port in self.inputs:
            if ctx.has(port):
                ctx.send(self.merged, ctx[port])
                return
