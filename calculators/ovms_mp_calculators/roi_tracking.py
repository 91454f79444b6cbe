"""Whether to follow landmarks or to look again: RoiTrackingCalculator.

    node {
      calculator: "RoiTrackingCalculator"
      input_stream: "PREV_LANDMARKS:last_landmarks"         # NormalizedLandmarkList
      input_stream: "PREV_LANDMARKS_RECT:last_rect"         # NormalizedRect
      input_stream: "RECROP_RECT:new_rect"                  # NormalizedRect
      input_stream: "IMAGE_SIZE:size"                       # (width, height)
      output_stream: "TRACKING_RECT:rect"                   # NormalizedRect
      node_options: {
        [type.googleapis.com/mediapipe.RoiTrackingCalculatorOptions] {
          rect_requirements { rotation_degrees: 15 translation: 0.1 scale: 0.3 }
          landmarks_requirements { recrop_rect_margin: -0.2 }
        }
      }
    }

As MediaPipe's: the rect around the last landmarks is followed as long as it meets all
requirements that are set, compared with the rect that was found anew; else, and when there
is none, the new one is taken. Without a new one nothing leaves.
"""

from __future__ import annotations

import math
from array import array
from typing import TYPE_CHECKING, Final

import numpy as np
from ovms_mp_protos import graph

from ovms_mp.calculator import Calculator, Input, Options, Output
from ovms_mp.formats.detection import Box
from ovms_mp.formats.landmark import NormalizedLandmarkList
from ovms_mp.formats.rect import NormalizedRect
from ovms_mp_calculators.association import overlap

if TYPE_CHECKING:
    from ovms_mp.calculator import Context
    from ovms_mp.formats.landmark import Floats

_OPTIONS: Final = graph.RoiTrackingCalculatorOptions
_HALF: Final = np.array(0.5, np.float32)


class RoiTrackingCalculator(Calculator):
    """Fails for a last rect without its landmarks or the size of the image."""

    timestamp_offset = 0

    landmarks = Input(NormalizedLandmarkList, "PREV_LANDMARKS")
    last = Input(NormalizedRect, "PREV_LANDMARKS_RECT")
    new = Input(NormalizedRect, "RECROP_RECT")
    size: Input[tuple[int, int]] = Input(tuple, "IMAGE_SIZE")
    tracking = Output(NormalizedRect, "TRACKING_RECT")
    options = Options(_OPTIONS)

    def open(self, ctx: Context) -> None:
        """What is required."""
        options = self.options
        self._overlap = self._limits = self._margin = None
        if options.HasField("iou_requirements"):
            self._overlap = options.iou_requirements.min_iou
        if options.HasField("rect_requirements"):
            given = options.rect_requirements
            self._limits = given.rotation_degrees, given.translation, given.scale
        if options.HasField("landmarks_requirements"):
            self._margin = options.landmarks_requirements.recrop_rect_margin

    def process(self, ctx: Context) -> None:
        """What came at one timestamp."""
        if not ctx.has(self.new):
            return
        rect = ctx[self.new]
        if ctx.has(self.last):
            if not ctx.has(self.landmarks) or not ctx.has(self.size):
                raise ValueError(
                    "a rect came without its landmarks or the size of the image"
                )
            last, size = ctx[self.last], ctx[self.size]
            if self._follows(ctx[self.landmarks].points, last, rect, size):
                rect = last
        ctx.send(self.tracking, rect)

    def _follows(
        self,
        points: Floats,
        last: NormalizedRect,
        new: NormalizedRect,
        size: tuple[int, int],
    ) -> bool:
        if self._overlap is not None and not _overlaps(last, new, size, self._overlap):
            return False
        if self._limits is not None and not _is_near(last, new, size, self._limits):
            return False
        return self._margin is None or _holds(new, points, size, self._margin)


def _overlaps(
    last: NormalizedRect, new: NormalizedRect, size: tuple[int, int], least: float
) -> bool:
    """As MediaPipe compares them: as if a centre were a corner, of both. The overlap of
    two that are apart, and do not even touch, is no number there, which is not too little.
    """
    across, down = size
    one, other = (
        Box(r.x_center * across, r.y_center * down, r.width * across, r.height * down)
        for r in (last, new)
    )
    right = min(one.xmin + one.width, other.xmin + other.width)
    below = min(one.ymin + one.height, other.ymin + other.height)
    is_apart = right < max(one.xmin, other.xmin) or below < max(one.ymin, other.ymin)
    return is_apart or overlap(one, other) >= least


def _is_near(
    last: NormalizedRect,
    new: NormalizedRect,
    size: tuple[int, int],
    limits: tuple[float, float, float],
) -> bool:
    """Turned, moved and scaled no more than the limits say, seen along the new rect.
    Computed as float32 is, after each step; a few numbers take numpy longer.
    """
    degrees, translation, scale = limits
    turned = math.degrees(last.rotation - new.rotation)
    turned -= 360 * (turned > 180)
    turned += 360 * (turned < -180)
    if abs(turned) > degrees:
        return False
    cos, sin = array("f", (math.cos(new.rotation), math.sin(new.rotation)))
    last_x, last_y, last_wide, last_high = _in_pixels(last, size)
    x, y, wide, high = _in_pixels(new, size)
    before, after = _along(last_x, last_y, cos, sin), _along(x, y, cos, sin)
    across, down, wider, higher = array(
        "f",
        (
            before[0] - after[0],
            before[1] - after[1],
            last_wide - wide,
            last_high - high,
        ),
    )
    most_x, most_y, most_wide, most_high = array(
        "f", (wide * translation, high * translation, wide * scale, high * scale)
    )
    is_far = abs(across) > most_x or abs(down) > most_y
    return not (is_far or abs(wider) > most_wide or abs(higher) > most_high)


def _holds(
    rect: NormalizedRect, points: Floats, size: tuple[int, int], margin: float
) -> bool:
    """All points are in the rect, which is larger by the margin."""
    cos, sin = array("f", (math.cos(rect.rotation), math.sin(rect.rotation)))
    x, y, wide, high = _in_pixels(rect, size)
    (larger,) = array("f", (1 + margin,))
    reach = np.array((wide * larger, high * larger), np.float32)
    reach *= _HALF
    apart = points[:, :2] * np.array(size, np.float32)
    apart = apart @ np.array(((cos, -sin), (sin, cos)), np.float32)
    apart -= np.array(_along(x, y, cos, sin), np.float32)
    return bool((np.abs(apart, out=apart) < reach).all())


def _in_pixels(
    rect: NormalizedRect, size: tuple[int, int]
) -> tuple[float, float, float, float]:
    """Centre and size."""
    width, height = size
    x, y, wide, high = array(
        "f", (rect.x_center, rect.y_center, rect.width, rect.height)
    )
    x, y, wide, high = array("f", (x * width, y * height, wide * width, high * height))
    return x, y, wide, high


def _along(x: float, y: float, cos: float, sin: float) -> tuple[float, float]:
    """Turned back by the rotation of the rect, around the image's corner."""
    a, b, c, d = array("f", (x * cos, y * sin, x * -sin, y * cos))
    across, down = array("f", (a + b, c + d))
    return across, down
