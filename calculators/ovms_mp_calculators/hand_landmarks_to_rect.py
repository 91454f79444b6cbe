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
from array import array
from typing import TYPE_CHECKING, Final

import numpy as np

from ovms_mp.calculator import Calculator, Input, Output
from ovms_mp.formats.landmark import NormalizedLandmarkList
from ovms_mp.formats.rect import NormalizedRect
from ovms_mp_calculators.detections_to_rects import normalized_radians
from ovms_mp_calculators.landmarks_to_detection import HIGHEST, SMALLEST

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ovms_mp.calculator import Context
    from ovms_mp.formats.landmark import Floats

_LANDMARKS: Final = 21
_POINTS: Final = (0, 1, 2, 3, 5, 6, 9, 10, 13, 14, 17, 18)
# Where their x, and y, are among the numbers of all.
_AROUND: Final = np.array([[3 * each + axis for each in _POINTS] for axis in (0, 1)])
# Of those: the wrist, and joints of index, middle and ring finger.
_WRIST, _INDEX, _MIDDLE, _RING = 0, 4, 6, 8
_MOST, _LEAST = float(HIGHEST), float(SMALLEST)


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
        points = ctx[self.landmarks].points
        if len(points) == _LANDMARKS:
            columns = points.take(_AROUND)
        elif len(points) > _RING:
            columns = points[:, :2].T
        else:
            raise ValueError(f"{len(points)} landmarks are too few for a hand")
        ctx.send(self.rect, _rect_of(columns, width, height))


def _rect_of(columns: Floats, width: int, height: int) -> NormalizedRect:
    """Of [2, n]. Computed as float32 is, after each step; pairs of numbers take numpy
    longer.
    """
    xs, ys = columns.tolist()
    x, y = array("f", (xs[_INDEX] + xs[_RING], ys[_INDEX] + ys[_RING]))
    x, y = array("f", (x / 2 + xs[_MIDDLE], y / 2 + ys[_MIDDLE]))
    x, y = array("f", (x / 2 - xs[_WRIST], y / 2 - ys[_WRIST]))
    x, y = array("f", (x * width, y * height))
    rotation = normalized_radians(math.pi / 2 - math.atan2(-y, x))
    (left, right), (top, bottom) = _reach(xs), _reach(ys)
    x, y = array("f", ((right + left) / 2, (bottom + top) / 2))
    cos, sin = array("f", (math.cos(rotation), math.sin(rotation)))
    # Of pixels around the centre, turned back.
    around = columns - np.array(((x,), (y,)), np.float32)
    around *= np.array(((width,), (height,)), np.float32)
    upright = np.array(((cos, sin), (-sin, cos)), np.float32)
    xs, ys = (upright @ around).tolist()
    (left, right), (top, bottom) = _reach(xs), _reach(ys)
    middle_x, middle_y, wide, high = array(
        "f", ((right + left) / 2, (bottom + top) / 2, right - left, bottom - top)
    )
    a, b, c, d, x, y = array(
        "f",
        (
            middle_x * cos,
            middle_y * -sin,
            middle_x * sin,
            middle_y * cos,
            x * width,
            y * height,
        ),
    )
    across, down = array("f", (a + b, c + d))
    x, y = array("f", (across + x, down + y))
    rect = array("f", (x / width, y / height, wide / width, high / height))
    return NormalizedRect(*rect, rotation=rotation)


def _reach(numbers: Sequence[float]) -> tuple[float, float]:
    """As `limits`, of a dozen numbers."""
    least, most = min(numbers), max(numbers)
    if math.isnan(sum(numbers)):
        known = [each for each in numbers if not math.isnan(each)]
        least, most = min(known, default=_MOST), max(known, default=_LEAST)
    return min(least, _MOST), max(most, _LEAST)
