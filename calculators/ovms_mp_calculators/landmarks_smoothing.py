"""Landmarks that do not tremble: LandmarksSmoothingCalculator.

    node {
      calculator: "LandmarksSmoothingCalculator"
      input_stream: "NORM_LANDMARKS:landmarks"             # NormalizedLandmarkList
      input_stream: "IMAGE_SIZE:size"                      # (width, height)
      input_stream: "OBJECT_SCALE_ROI:roi"                 # NormalizedRect, optional
      output_stream: "NORM_FILTERED_LANDMARKS:smooth"      # NormalizedLandmarkList
      node_options: {
        [type.googleapis.com/mediapipe.LandmarksSmoothingCalculatorOptions] {
          one_euro_filter { min_cutoff: 0.05 beta: 80.0 derivate_cutoff: 1.0 }
        }
      }
    }

As MediaPipe's: timestamps are microseconds. How fast a landmark is counts in sizes of the
object, which is as large as OBJECT_SCALE_ROI, or as the landmarks reach; not with
`disable_value_scaling`. An object below `min_allowed_object_scale` is left as it is. A
timestamp without landmarks begins anew. LANDMARKS (with a Rect as ROI, and no IMAGE_SIZE)
becomes FILTERED_LANDMARKS in the same way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
from ovms_mp_protos import graph

from ovms_mp.calculator import (
    Calculator,
    ContractError,
    Input,
    Options,
    Output,
    tagged,
)
from ovms_mp.formats.landmark import LandmarkList, NormalizedLandmarkList
from ovms_mp.formats.rect import NormalizedRect, Rect
from ovms_mp_calculators.landmark_filters import OneEuroFilter, VelocityFilter
from ovms_mp_calculators.visibility_smoothing import same_kind

if TYPE_CHECKING:
    from ovms_mp.calculator import Context, NodeInfo
    from ovms_mp.formats.landmark import Floats
    from ovms_mp_calculators.landmark_filters import PointFilter

_OPTIONS: Final = graph.LandmarksSmoothingCalculatorOptions
_SMALLEST: Final = 1e-6


class LandmarksSmoothingCalculator(Calculator):
    """Remembers where landmarks were; fails when their number changes, and for an empty
    list unless the options say that it begins anew.
    """

    timestamp_offset = 0

    norm_landmarks = Input(NormalizedLandmarkList, "NORM_LANDMARKS", optional=True)
    landmarks = Input(LandmarkList, "LANDMARKS", optional=True)
    size: Input[tuple[int, int]] = Input(tuple, "IMAGE_SIZE", optional=True)
    roi: Input[Any] = Input(Any, "OBJECT_SCALE_ROI", optional=True)
    norm_filtered = Output(
        NormalizedLandmarkList, "NORM_FILTERED_LANDMARKS", optional=True
    )
    filtered = Output(LandmarkList, "FILTERED_LANDMARKS", optional=True)
    options = Options(_OPTIONS)

    @classmethod
    def check(cls, node: NodeInfo) -> None:
        """A filter that can be, and the same kind of landmarks in and out."""
        same_kind(node)
        is_normalized = bool(tagged(node.inputs, "NORM_LANDMARKS"))
        if is_normalized != bool(tagged(node.inputs, "IMAGE_SIZE")):
            raise ContractError("IMAGE_SIZE goes with NORM_LANDMARKS, and only so")
        options = node.options.get(_OPTIONS.DESCRIPTOR.full_name, _OPTIONS())
        kind = options.WhichOneof("filter_options")
        if kind is None:
            raise ContractError(
                "a filter must be set, no_filter, velocity_filter or one_euro_filter"
            )
        chosen = getattr(options, kind)
        if kind == "velocity_filter" and chosen.window_size < 0:
            raise ContractError(f"window_size {chosen.window_size} is less than 0")
        if kind == "one_euro_filter":
            for name in ("frequency", "min_cutoff", "derivate_cutoff"):
                if not getattr(chosen, name) > _SMALLEST:
                    raise ContractError(
                        f"{name} should be > 0, but equals: {getattr(chosen, name):g}"
                    )

    def open(self, ctx: Context) -> None:
        """Nothing is remembered."""
        options = self.options
        self._kind = options.WhichOneof("filter_options")
        chosen: Any = getattr(options, self._kind) if self._kind else None
        self._scales = self._kind != "no_filter" and not chosen.disable_value_scaling
        if self._scales:
            self._least = np.float32(chosen.min_allowed_object_scale)
        self._measured: tuple[tuple[int, int], int] | None = None
        self._filter: PointFilter | None = None
        self._count = 0

    def process(self, ctx: Context) -> None:
        """One list."""
        given: Any = self.norm_landmarks or self.landmarks
        if not ctx.has(given):
            self._filter = None
            return
        landmarks = ctx[given]
        roi = ctx.get(self.roi) if self.roi else None
        if self.norm_landmarks:
            landmarks = self._of_image(ctx, landmarks, roi)
            ctx.send(self.norm_filtered, landmarks)
            return
        if roi is not None and not isinstance(roi, Rect):
            raise TypeError(f"expected Rect, found {type(roi).__name__}")
        scale = None if roi is None else np.float32((roi.width + roi.height) / 2)
        points = self._smooth(landmarks.points, ctx.timestamp, scale)
        ctx.send(self.filtered, landmarks.at(points))

    def _of_image(
        self, ctx: Context, landmarks: NormalizedLandmarkList, roi: object
    ) -> NormalizedLandmarkList:
        """They are smoothed in pixels."""
        if self._kind == "no_filter":
            return landmarks
        if not ctx.has(self.size):
            raise ValueError("landmarks came without the size of their image")
        units = self._units_of(ctx[self.size], len(landmarks))
        scale = None
        if roi is not None:
            if not isinstance(roi, NormalizedRect):
                raise TypeError(f"expected NormalizedRect, found {type(roi).__name__}")
            width, height = ctx[self.size]
            across = np.float32(roi.width) * np.float32(width)
            down = np.float32(roi.height) * np.float32(height)
            scale = (across + down) / np.float32(2)
        points = self._smooth(landmarks.points * units, ctx.timestamp, scale)
        return landmarks.at(points / units)

    def _units_of(self, size: tuple[int, int], count: int) -> Floats:
        """What an image is measured in, [count, 3]; mostly that of the last one."""
        if (size, count) != self._measured:
            width, height = size
            if min(width, height) < 1:
                raise ValueError(f"an image of {width}x{height} has no landmarks")
            self._measured = size, count
            # A row each: numpy takes twice as long for one that it repeats.
            self._units = np.full((count, 3), (width, height, width), np.float32)
        return self._units

    def _smooth(
        self, points: Floats, timestamp: int, object_scale: np.float32 | None
    ) -> Floats:
        if self._kind == "no_filter":
            return points
        if not len(points):
            if self.options.empty_landmarks_policy == (
                _OPTIONS.EMPTY_LANDMARKS_POLICY_RESET
            ):
                self._filter = None
                return points
            raise ValueError("Landmarks are empty.")
        if self._filter is not None and self._count != len(points):
            raise ValueError(
                f"{len(points)} landmarks came after {self._count}; "
                "their number may not change"
            )
        scale = np.float32(1)
        if self._scales:
            size = _reach(points) if object_scale is None else object_scale
            if size < self._least:
                return points
            scale = scale / size
        if self._filter is None:
            self._filter, self._count = self._made(), len(points)
        return self._filter.apply(timestamp * 1000, points, scale)

    def _made(self) -> PointFilter:
        if self._kind == "velocity_filter":
            chosen = self.options.velocity_filter
            return VelocityFilter(chosen.window_size, chosen.velocity_scale)
        chosen = self.options.one_euro_filter
        return OneEuroFilter(
            chosen.frequency, chosen.min_cutoff, chosen.beta, chosen.derivate_cutoff
        )


def _reach(points: Floats) -> np.float32:
    """The mean of width and height."""
    flat = points[:, :2]
    sides = np.fmax.reduce(flat) - np.fmin.reduce(flat)
    return np.float32(sides.sum() / np.float32(2))
