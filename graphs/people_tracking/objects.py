"""A detector's tensors become objects: one row for each person, none for a second box
on the same one.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from pyovms import Tensor

# The detector always gives 100 boxes; those below are noise.
MIN_SCORE = 0.1

# The detector itself drops a box from an overlap of 0.6 on. What is left is often the
# same person twice, who would then get two numbers.
MAX_OVERLAP = 0.5


class OvmsPythonModel:
    """Takes boxes [1, N, 4] as y0, x0, y1, x1 in 0..1, scores [1, N] and classes [1, N],
    all FP32; gives [M, 6] FP32: x0, y0, x1, y1, score, class, best first.
    """

    def initialize(self, kwargs: dict[str, Any]) -> None:
        """Learn the name of the stream that objects go to."""
        (self._output,) = kwargs["output_names"]

    def execute(self, inputs: list[Tensor]) -> list[Tensor]:
        """Turn one frame's detections into objects."""
        given = {tensor.name: np.asarray(tensor)[0] for tensor in inputs}
        boxes = given["boxes"][:, [1, 0, 3, 2]]
        rows = np.column_stack((boxes, given["scores"], given["classes"]))
        left_top_size = np.hstack((boxes[:, :2], boxes[:, 2:] - boxes[:, :2]))
        kept = cv2.dnn.NMSBoxes(
            left_top_size.tolist(), given["scores"].tolist(), MIN_SCORE, MAX_OVERLAP
        )
        return [Tensor(self._output, rows[np.array(kept, int)])]
