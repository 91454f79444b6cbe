"""The indices of a list: the …VectorIndicesCalculators.

    node {
      calculator: "NormalizedLandmarkListVectorIndicesCalculator"
      input_stream: "VECTOR:landmarks_of_hands"
      output_stream: "INDICES:indices"   # list of int: 0, 1, 2…
    }

As MediaPipe's; all names are one calculator, which takes any list.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ovms_mp.calculator import Calculator, Input, Output

if TYPE_CHECKING:
    from ovms_mp.calculator import Context


class VectorIndicesCalculator(Calculator):
    """Numbers items."""

    timestamp_offset = 0

    vector: Input[list[Any]] = Input(list, "VECTOR")
    indices: Output[list[int]] = Output(list, "INDICES")

    def process(self, ctx: Context) -> None:
        """One list."""
        ctx.send(self.indices, list(range(len(ctx[self.vector]))))
