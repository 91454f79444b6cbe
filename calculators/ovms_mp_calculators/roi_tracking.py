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


class RoiTrackingCalculator(Calculator):
    """Fails for a last rect without its landmarks or the size of the image."""

    timestamp_offset = 0

    landmarks = Input(NormalizedLandmarkList, "PREV_LANDMARKS")
    last = Input(NormalizedRect, "PREV_LANDMARKS_RECT")
    new = Input(NormalizedRect, "RECROP_RECT")
    size: Input[tuple[int, int]] = Input(tuple, "IMAGE_SIZE")
    tracking = Output(NormalizedRect, "TRACKING_RECT")
    options = Options(_OPTIONS)

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
        options = self.options
        if options.HasField("iou_requirements") and not (
            _overlaps(last, new, size, options.iou_requirements.min_iou)
        ):
            return False
        if options.HasField("rect_requirements") and not (
            _is_near(last, new, size, options.rect_requirements)
        ):
            return False
        return not options.HasField("landmarks_requirements") or _holds(
            new, points, size, options.landmarks_requirements.recrop_rect_margin
        )


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
    limits: graph.RoiTrackingCalculatorOptions.RectRequirements,
) -> bool:
    """Turned, moved and scaled no more than the limits say, seen along the new rect."""
    turned = math.degrees(last.rotation - new.rotation)
    turned -= 360 * (turned > 180)
    turned += 360 * (turned < -180)
    if abs(turned) > limits.rotation_degrees:
        return False
    scale = np.array(size, np.float32)
    extent = np.array([new.width, new.height], np.float32) * scale
    centers = np.array(
        [[last.x_center, last.y_center], [new.x_center, new.y_center]], np.float32
    )
    before, after = _along(new, centers * scale)
    if (np.abs(before - after) > extent * np.float32(limits.translation)).any():
        return False
    change = np.array([last.width, last.height], np.float32) * scale - extent
    return not (np.abs(change) > extent * np.float32(limits.scale)).any()


def _holds(
    rect: NormalizedRect, points: Floats, size: tuple[int, int], margin: float
) -> bool:
    """All points are in the rect, which is larger by the margin."""
    scale = np.array(size, np.float32)
    extent = np.array([rect.width, rect.height], np.float32) * scale
    reach = extent * np.float32(1 + margin) / np.float32(2)
    center = np.array([[rect.x_center, rect.y_center]], np.float32) * scale
    apart = _along(rect, points[:, :2] * scale) - _along(rect, center)
    return bool((np.abs(apart) < reach).all())


def _along(rect: NormalizedRect, points: Floats) -> Floats:
    """Turned back by the rotation of the rect, around the image's corner."""
    cos, sin = math.cos(rect.rotation), math.sin(rect.rotation)
    return points @ np.array([[cos, -sin], [sin, cos]], np.float32)
