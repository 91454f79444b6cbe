"""A detector's boxes become objects for a tracker: PeopleCalculator.

    node {
      calculator: "PeopleCalculator"
      input_stream: "BOXES:boxes"        # FP32 [1, n, 4]: y0, x0, y1, x1
      input_stream: "SCORES:scores"      # FP32 [1, n]
      output_stream: "OBJECTS:people"    # FP32 [m, 6]: x0, y0, x1, y1, score, 1
    }

Of two boxes around one person the better one is left.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from ovms_mp.calculator import Calculator, Input, Output

if TYPE_CHECKING:
    from ovms_mp.calculator import Context

Floats = NDArray[np.float32]

MIN_SCORE: Final = 0.1
"""A detector always gives 100 boxes; those below are noise."""

MAX_OVERLAP: Final = 0.5
"""Of two people."""


class PeopleCalculator(Calculator):
    """Frame by frame."""

    timestamp_offset = 0

    boxes: Input[Floats] = Input(np.ndarray, "BOXES")
    scores: Input[Floats] = Input(np.ndarray, "SCORES")
    people: Output[Floats] = Output(np.ndarray, "OBJECTS")

    def process(self, ctx: Context) -> None:
        """One frame's boxes, best first."""
        boxes, scores = ctx[self.boxes][0], ctx[self.scores][0]
        corners = boxes[:, [1, 0, 3, 2]]
        sides = np.hstack((corners[:, :2], corners[:, 2:] - corners[:, :2]))
        kept = cv2.dnn.NMSBoxes(sides.tolist(), scores.tolist(), MIN_SCORE, MAX_OVERLAP)
        rows = np.column_stack((corners, scores, np.ones_like(scores)))
        ctx.send(self.people, rows[np.array(kept, int)])
