"""A side packet that need not be given: DefaultSidePacketCalculator.

    node {
      calculator: "DefaultSidePacketCalculator"
      input_side_packet: "OPTIONAL_VALUE:threshold"
      input_side_packet: "DEFAULT_VALUE:usual_threshold"
      output_side_packet: "VALUE:threshold_to_use"
    }

As MediaPipe's: VALUE is OPTIONAL_VALUE if a run has it, else DEFAULT_VALUE.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ovms_mp.calculator import Calculator, SideInput, SideOutput

if TYPE_CHECKING:
    from ovms_mp.calculator import Context


class DefaultSidePacketCalculator(Calculator):
    """Chooses in open."""

    given = SideInput(Any, "OPTIONAL_VALUE", optional=True)
    default = SideInput(Any, "DEFAULT_VALUE")
    value = SideOutput(Any, "VALUE")

    def open(self, ctx: Context) -> None:
        """One or the other."""
        has_given = bool(self.given) and ctx.has_side(self.given)
        ctx.set_side(self.value, ctx.side(self.given if has_given else self.default))
