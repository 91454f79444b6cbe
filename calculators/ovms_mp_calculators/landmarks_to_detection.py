"""The box around landmarks: LandmarksToDetectionCalculator.

    node {
      calculator: "LandmarksToDetectionCalculator"
      input_stream: "NORM_LANDMARKS:landmarks"    # NormalizedLandmarkList
      output_stream: "DETECTION:detection"        # Detection
      node_options: {
        [type.googleapis.com/mediapipe.LandmarksToDetectionCalculatorOptions] {
          selected_landmark_indices: [0, 5, 17]
        }
      }
    }

As MediaPipe's: the landmarks, or the selected ones, are the detection's key points.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from ovms_mp_protos import graph

from ovms_mp.calculator import Calculator, ContractError, Input, Options, Output
from ovms_mp.formats.detection import Box, Detection
from ovms_mp.formats.landmark import NormalizedLandmarkList

if TYPE_CHECKING:
    from ovms_mp.calculator import Context, NodeInfo
    from ovms_mp.formats.landmark import Floats

_OPTIONS: Final = graph.LandmarksToDetectionCalculatorOptions
HIGHEST: Final = np.finfo(np.float32).max
SMALLEST: Final = np.finfo(np.float32).tiny
"""Above 0: as MediaPipe's, what no largest number is below."""


class LandmarksToDetectionCalculator(Calculator):
    """Fails for an empty list, and for one without a landmark that is selected."""

    timestamp_offset = 0

    landmarks = Input(NormalizedLandmarkList, "NORM_LANDMARKS")
    detection = Output(Detection, "DETECTION")
    options = Options(_OPTIONS)

    @classmethod
    def check(cls, node: NodeInfo) -> None:
        """Indices count from 0."""
        options = node.options.get(_OPTIONS.DESCRIPTOR.full_name, _OPTIONS())
        if any(each < 0 for each in options.selected_landmark_indices):
            raise ContractError("selected_landmark_indices are 0 or more")

    def open(self, ctx: Context) -> None:
        """Which ones."""
        selected = self.options.selected_landmark_indices
        self._selected = np.array(selected, np.intp)
        self._last = max(selected, default=-1)

    def process(self, ctx: Context) -> None:
        """One list."""
        points = ctx[self.landmarks].points[:, :2]
        if not len(points):
            raise ValueError("Input landmark vector is empty.")
        if self._last >= 0:
            if self._last >= len(points):
                raise ValueError(
                    f"{len(points)} landmarks have none of index {self._last}"
                )
            points = points[self._selected]
        low, high = limits(points)
        box = Box(*low.tolist(), *(high - low).tolist())
        ctx.send(self.detection, Detection(box, keypoints=points))


def limits(points: Floats) -> tuple[Floats, Floats]:
    """The smallest and the largest of each column. As MediaPipe's: the largest is never
    below FLT_MIN, wherever the points are; what is no number does not count.
    """
    # Along rows, which numpy reads several numbers of at a time.
    columns = points.T.copy()
    low = np.fmin.reduce(columns, axis=1, initial=HIGHEST)
    high = np.fmax.reduce(columns, axis=1, initial=SMALLEST)
    return low, high
