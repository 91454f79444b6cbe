"""Where a hand is, as a rect: HandLandmarksToRectCalculator.

    node {
      calculator: "HandLandmarksToRectCalculator"
      input_stream: "NORM_LANDMARKS:hand"     # NormalizedLandmarkList
      input_stream: "IMAGE_SIZE:size"         # (width, height)
      output_stream: "NORM_RECT:rect"         # NormalizedRect
    }

As MediaPipe's: the rect is turned so that the fingers point up in it, and fits around the
palm, the thumb and the fingers' first joints; of a list of other than 21 landmarks around
all, whose first one is the wrist, and 4, 6 and 8 joints of fingers.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from ovms_mp.calculator import Calculator, Input, Output
from ovms_mp.formats.landmark import NormalizedLandmarkList
from ovms_mp.formats.rect import NormalizedRect
from ovms_mp_calculators.detections_to_rects import normalized_radians
from ovms_mp_calculators.landmarks_to_detection import limits

if TYPE_CHECKING:
    from ovms_mp.calculator import Context
    from ovms_mp.formats.landmark import Floats

_LANDMARKS: Final = 21
_AROUND: Final = (0, 1, 2, 3, 5, 6, 9, 10, 13, 14, 17, 18)
# Of those: the wrist, and joints of index, middle and ring finger.
_WRIST, _INDEX, _MIDDLE, _RING = 0, 4, 6, 8


class HandLandmarksToRectCalculator(Calculator):
    """Fails for landmarks without the size of their image, and for fewer than 9."""

    timestamp_offset = 0

    landmarks = Input(NormalizedLandmarkList, "NORM_LANDMARKS")
    size: Input[tuple[int, int]] = Input(tuple, "IMAGE_SIZE")
    rect = Output(NormalizedRect, "NORM_RECT")

    def process(self, ctx: Context) -> None:
        """One hand."""
        if not ctx.has(self.landmarks):
            return
        if not ctx.has(self.size):
            raise ValueError("landmarks came without the size of their image")
        width, height = ctx[self.size]
        if min(width, height) < 1:
            raise ValueError(f"an image of {width}x{height} has no rects")
        points = ctx[self.landmarks].points[:, :2]
        if len(points) == _LANDMARKS:
            points = points[list(_AROUND)]
        if len(points) <= _RING:
            raise ValueError(f"{len(points)} landmarks are too few for a hand")
        ctx.send(self.rect, _rect_of(points, np.array([width, height], np.float32)))


def _rect_of(points: Floats, size: Floats) -> NormalizedRect:
    half = np.float32(2)
    fingers = (points[_INDEX] + points[_RING]) / half
    fingers = (fingers + points[_MIDDLE]) / half
    across, down = ((fingers - points[_WRIST]) * size).tolist()
    rotation = normalized_radians(math.pi / 2 - math.atan2(-down, across))
    low, high = limits(points)
    center = (high + low) / half
    cos, sin = math.cos(rotation), math.sin(rotation)
    # Of pixels around the centre, turned back.
    upright = np.array([[cos, sin], [-sin, cos]], np.float32)
    low, high = limits(((points - center) * size @ upright.T).astype(np.float32))
    moved = (high + low) / half @ upright + size * center
    x_center, y_center = (moved / size).tolist()
    wide, high = ((high - low) / size).tolist()
    return NormalizedRect(x_center, y_center, wide, high, rotation)
