"""The only packet of a stream as a side packet: StreamToSidePacketCalculator.

    node {
      calculator: "StreamToSidePacketCalculator"
      input_stream: "calibration"
      output_side_packet: "calibration_value"
    }

As MediaPipe's: nodes that take the side packet wait for it, and a second packet on the
stream is an error.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ovms_mp.calculator import Calculator, Input, SideOutput

if TYPE_CHECKING:
    from ovms_mp.calculator import Context


class StreamToSidePacketCalculator(Calculator):
    """Sets its side packet when the packet comes."""

    value = Input(Any, optional=True)
    side = SideOutput(Any)

    def process(self, ctx: Context) -> None:
        """Once."""
        ctx.set_side(self.side, ctx[self.value])
