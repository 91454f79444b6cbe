"""The matrix that leads back: InverseMatrixCalculator.

    node {
      calculator: "InverseMatrixCalculator"
      input_stream: "MATRIX:to_the_image"     # [4, 4]
      output_stream: "MATRIX:to_the_part"     # [4, 4]
    }

As MediaPipe's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from ovms_mp.calculator import Calculator, Input, Output
from ovms_mp.core.tensor import Array

if TYPE_CHECKING:
    from ovms_mp.calculator import Context

_SMALLEST: Final = np.finfo(np.float64).eps


class InverseMatrixCalculator(Calculator):
    """Fails for a matrix that is none of 4x4, and for one that has no inverse."""

    timestamp_offset = 0

    given: Input[Array] = Input(np.ndarray, "MATRIX")
    inverse: Output[Array] = Output(np.ndarray, "MATRIX")

    def process(self, ctx: Context) -> None:
        """One matrix."""
        if not ctx.has(self.given):
            return
        matrix = ctx[self.given]
        if matrix.shape != (4, 4):
            raise ValueError(f"a matrix of shape {list(matrix.shape)}; expected [4, 4]")
        wide = matrix.astype(np.float64)
        if not abs(np.linalg.det(wide)) > _SMALLEST:
            raise ValueError(f"the matrix {wide.tolist()} has no inverse")
        ctx.send(self.inverse, np.linalg.inv(wide).astype(np.float32))
