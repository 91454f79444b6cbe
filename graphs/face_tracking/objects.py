"""A face detector's raw numbers become objects: one row for each face."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pyovms import Tensor

MIN_SCORE = 0.5
MAX_OVERLAP = 0.3

# What the short-range model was made with: pixels of its input, and for each of its
# feature maps the pixels per cell and the anchors in a cell.
INPUT_SIZE = 128
FEATURE_MAPS = ((8, 2), (16, 6))


class OvmsPythonModel:
    """Takes regressors [1, 896, 16], in pixels relative to anchors, and classificators
    [1, 896, 1], logits; both FP32. Gives [M, 6] FP32: x0, y0, x1, y1 in 0..1, score,
    class (always 0), best first.
    """

    def initialize(self, kwargs: dict[str, Any]) -> None:
        """Learn the name of the stream that objects go to; compute the anchors."""
        (self._output,) = kwargs["output_names"]
        self._anchors = _anchor_centres()

    def execute(self, inputs: list[Tensor]) -> list[Tensor]:
        """Turn one frame's detections into objects."""
        given = {tensor.name: np.asarray(tensor)[0] for tensor in inputs}
        # float32 overflows where a logit says "certainly not".
        logits = np.clip(given["classificators"][:, 0], -80, 80)
        scores = 1 / (1 + np.exp(-logits))
        offsets = given["regressors"][:, :4] / INPUT_SIZE
        left_top = self._anchors + offsets[:, :2] - offsets[:, 2:] / 2
        sizes = offsets[:, 2:]
        classes = np.zeros(len(scores), np.float32)
        rows = np.column_stack((left_top, left_top + sizes, scores, classes))
        kept = cv2.dnn.NMSBoxes(
            np.hstack((left_top, sizes)).tolist(),
            scores.tolist(),
            MIN_SCORE,
            MAX_OVERLAP,
        )
        return [Tensor(self._output, rows[np.array(kept, int)])]


def _anchor_centres() -> NDArray[np.float32]:
    """[896, 2]: x, y in 0..1, row by row, all anchors of a cell together."""
    maps: list[NDArray[np.float64]] = []
    for stride, anchors in FEATURE_MAPS:
        cells = INPUT_SIZE // stride
        steps = (np.arange(cells) + 0.5) / cells
        x, y = np.meshgrid(steps, steps)
        centres = np.column_stack((x.ravel(), y.ravel()))
        maps.append(np.repeat(centres, anchors, axis=0))
    return np.concatenate(maps).astype(np.float32)
