"""Packets that came together as a list: the Merge…ToVectorCalculators.

    node {
      calculator: "MergeDetectionsToVectorCalculator"
      input_stream: "face"
      input_stream: "hand"
      output_stream: "detections"
    }

As MediaPipe's: inputs without a packet add nothing. All names are one calculator, which
takes anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ovms_mp.calculator import Calculator, Inputs, Output

if TYPE_CHECKING:
    from ovms_mp.calculator import Context


class MergeToVectorCalculator(Calculator):
    """Puts packets into a list."""

    timestamp_offset = 0

    inputs = Inputs(Any, "")
    merged: Output[list[Any]] = Output(list)

    def process(self, ctx: Context) -> None:
        """What came at one timestamp."""
        ctx.send(self.merged, [ctx[port] for port in self.inputs if ctx.has(port)])
