"""How long a list is: the …VectorSizeCalculators.

    node {
      calculator: "LandmarkListVectorSizeCalculator"
      input_stream: "VECTOR:landmarks_of_hands"
      output_stream: "SIZE:hands"        # int
    }

As MediaPipe's; all names are one calculator, which takes any list.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ovms_mp.calculator import Calculator, Input, Output

if TYPE_CHECKING:
    from ovms_mp.calculator import Context


class VectorSizeCalculator(Calculator):
    """Counts items."""

    timestamp_offset = 0

    vector: Input[list[Any]] = Input(list, "VECTOR")
    size = Output(int, "SIZE")

    def process(self, ctx: Context) -> None:
        """One list."""
        ctx.send(self.size, len(ctx[self.vector]))
