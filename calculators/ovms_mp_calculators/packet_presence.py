"""Whether there is a packet, at every time: PacketPresenceCalculator.

    node {
      calculator: "PacketPresenceCalculator"
      input_stream: "PACKET:landmarks"
      output_stream: "PRESENCE:has_landmarks"
    }

As MediaPipe's: a bool for each timestamp that is settled, with a packet or without.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ovms_mp.calculator import Calculator, Input, Output

if TYPE_CHECKING:
    from ovms_mp.calculator import Context


class PacketPresenceCalculator(Calculator):
    """Says yes or no."""

    is_short = True
    timestamp_offset = 0
    process_timestamp_bounds = True

    packet = Input(Any, "PACKET")
    presence = Output(bool, "PRESENCE")

    def process(self, ctx: Context) -> None:
        """Look."""
        ctx.send(self.presence, ctx.has(self.packet))
