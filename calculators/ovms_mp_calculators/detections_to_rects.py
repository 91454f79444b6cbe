"""Where detections are, as rects: DetectionsToRectsCalculator.

    node {
      calculator: "DetectionsToRectsCalculator"
      input_stream: "DETECTIONS:detections"     # list of Detection; or DETECTION: one
      input_stream: "IMAGE_SIZE:size"           # (width, height)
      output_stream: "NORM_RECT:rect"           # NormalizedRect of the first
      node_options: {
        [type.googleapis.com/mediapipe.DetectionsToRectsCalculatorOptions] {
          rotation_vector_start_keypoint_index: 0
          rotation_vector_end_keypoint_index: 1
          rotation_vector_target_angle_degrees: 0
        }
      }
    }

As MediaPipe's. RECT and NORM_RECT are of the first detection, RECTS and NORM_RECTS of
all; rects in pixels are of boxes in pixels, normalized ones of relative ones, or with
USE_KEYPOINTS both of the key points. The rotation turns the line between two key points
to the target angle, counter-clockwise from the x axis. An empty list gives nothing, or
with output_zero_rect_for_empty_detections a rect of zeros.

AlignmentPointsRectsCalculator, with the same options, makes a square around the first of
the two key points, twice as large as the second is far away.
HandDetectionsFromPoseToRectsCalculator does so around the middle finger, of detections
that a pose's wrist, little finger and index finger are the key points of; the square is
upright when the hand is.
"""

from __future__ import annotations

import math
from array import array
from typing import TYPE_CHECKING, Final

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
from ovms_mp.formats.detection import Detection, LocationFormat
from ovms_mp.formats.rect import NormalizedRect, Rect

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ovms_mp.calculator import Context, NodeInfo
    from ovms_mp.formats.detection import Floats

_OPTIONS: Final = graph.DetectionsToRectsCalculatorOptions
_OUTPUTS: Final = ("RECT", "NORM_RECT", "RECTS", "NORM_RECTS")


class DetectionsToRectsCalculator(Calculator):
    """Fails for locations that the wanted rects cannot be made of."""

    timestamp_offset = 0

    detection = Input(Detection, "DETECTION", optional=True)
    detections: Input[list[Detection]] = Input(list, "DETECTIONS", optional=True)
    size: Input[tuple[int, int]] = Input(tuple, "IMAGE_SIZE", optional=True)
    rect = Output(Rect, "RECT", optional=True)
    norm_rect = Output(NormalizedRect, "NORM_RECT", optional=True)
    rects: Output[list[Rect]] = Output(list, "RECTS", optional=True)
    norm_rects: Output[list[NormalizedRect]] = Output(list, "NORM_RECTS", optional=True)
    options = Options(_OPTIONS)

    @classmethod
    def check(cls, node: NodeInfo) -> None:
        """One input, one output, and what a rotation needs."""
        options = node.options.get(_OPTIONS.DESCRIPTOR.full_name, _OPTIONS())
        if (
            len(tagged(node.inputs, "DETECTION") + tagged(node.inputs, "DETECTIONS"))
            != 1
        ):
            raise ContractError("one input is needed, DETECTION or DETECTIONS")
        if len(node.outputs) != 1:
            raise ContractError(f"one output is needed of {', '.join(_OUTPUTS)}")
        if not options.HasField("rotation_vector_start_keypoint_index"):
            return
        if not options.HasField("rotation_vector_end_keypoint_index"):
            raise ContractError("rotation_vector_end_keypoint_index must be set, too")
        if options.HasField("rotation_vector_target_angle") == options.HasField(
            "rotation_vector_target_angle_degrees"
        ):
            raise ContractError(
                "one target angle must be set, in radians or in degrees"
            )
        if not tagged(node.inputs, "IMAGE_SIZE"):
            raise ContractError("a rotation needs an input IMAGE_SIZE")

    def open(self, ctx: Context) -> None:
        """Whether to turn, and how far."""
        options = self.options
        self._turns = options.HasField("rotation_vector_start_keypoint_index")
        self._ends = (
            options.rotation_vector_start_keypoint_index,
            options.rotation_vector_end_keypoint_index,
        )
        self._target = options.rotation_vector_target_angle
        if options.HasField("rotation_vector_target_angle_degrees"):
            degrees = options.rotation_vector_target_angle_degrees
            self._target = float(np.float32(math.pi * degrees / 180))
        self._is_of_keypoints = options.conversion_mode == _OPTIONS.USE_KEYPOINTS

    def process(self, ctx: Context) -> None:
        """What came at one timestamp."""
        size = ctx.get(self.size) if self.size else None
        if self._turns and size is None:
            return
        if self.detection:
            one = ctx.get(self.detection)
            given = None if one is None else [one]
        else:
            given = ctx.get(self.detections)
        if given is None:
            return
        if not given:
            if self.options.output_zero_rect_for_empty_detections:
                self._send_zeros(ctx)
        elif self.rect:
            ctx.send(self.rect, self._rect(given[0], size))
        elif self.rects:
            ctx.send(self.rects, [self._rect(each, size) for each in given])
        elif self.norm_rect:
            ctx.send(self.norm_rect, self._normalized(given[0], size))
        else:
            found = [self._normalized(each, size) for each in given]
            ctx.send(self.norm_rects, found)

    def _send_zeros(self, ctx: Context) -> None:
        if self.rect:
            ctx.send(self.rect, Rect())
        elif self.norm_rect:
            ctx.send(self.norm_rect, NormalizedRect())
        elif self.norm_rects:
            ctx.send(self.norm_rects, [NormalizedRect()])

    def _rect(self, detection: Detection, size: tuple[int, int] | None) -> Rect:
        if self._is_of_keypoints:
            if size is None:
                raise ValueError("a rect in pixels of key points needs IMAGE_SIZE")
            width, height = size
            x_center, y_center, wide, high = _around_keypoints(detection)
            x_center, y_center = round(x_center * width), round(y_center * height)
            wide, high = round(wide * width), round(high * height)
        else:
            _check_format(detection, LocationFormat.BOUNDING_BOX)
            xmin, ymin, wide, high = map(int, detection.box)
            # Towards zero, as C++ divides.
            x_center, y_center = xmin + int(wide / 2), ymin + int(high / 2)
        return Rect(x_center, y_center, wide, high, self._rotation(detection, size))

    def _normalized(
        self, detection: Detection, size: tuple[int, int] | None
    ) -> NormalizedRect:
        if self._is_of_keypoints:
            x_center, y_center, width, height = _around_keypoints(detection)
        else:
            _check_format(detection, LocationFormat.RELATIVE_BOUNDING_BOX)
            xmin, ymin, width, height = detection.box
            x_center, y_center = xmin + width / 2, ymin + height / 2
        rotation = self._rotation(detection, size)
        return NormalizedRect(x_center, y_center, width, height, rotation)

    def _rotation(self, detection: Detection, size: tuple[int, int] | None) -> float:
        if not self._turns or size is None:
            return 0.0
        return self._angle(*self._points(detection, size))

    def _angle(self, x0: float, y0: float, x1: float, y1: float) -> float:
        """How far the line from one point to another is to be turned."""
        return normalized_radians(self._target - math.atan2(-(y1 - y0), x1 - x0))

    def _points(
        self, detection: Detection, size: tuple[int, int]
    ) -> tuple[float, float, float, float]:
        """The two key points, in pixels: x and y of each."""
        keypoints = detection.keypoints
        count = len(keypoints)
        for place in self._ends:
            if not 0 <= place < count:
                raise ValueError(f"a detection has {count} key points and no {place}")
        first, second = self._ends
        x0, y0 = _in_pixels(keypoints[first], size)
        x1, y1 = _in_pixels(keypoints[second], size)
        return x0, y0, x1, y1


class AlignmentPointsRectsCalculator(DetectionsToRectsCalculator):
    """Squares around a key point."""

    @classmethod
    def check(cls, node: NodeInfo) -> None:
        """The key points must be said."""
        super().check(node)
        options = node.options.get(_OPTIONS.DESCRIPTOR.full_name, _OPTIONS())
        if not options.HasField("rotation_vector_start_keypoint_index"):
            raise ContractError("the indices of the two key points must be set")

    def _normalized(
        self, detection: Detection, size: tuple[int, int] | None
    ) -> NormalizedRect:
        if size is None:
            raise ValueError("Image size is required to calculate the rect")
        x0, y0, x1, y1 = self._points(detection, size)
        side = 2 * math.hypot(x1 - x0, y1 - y0)
        width, height = size
        rotation = self._angle(x0, y0, x1, y1)
        return NormalizedRect(
            x0 / width, y0 / height, side / width, side / height, rotation
        )


class HandDetectionsFromPoseToRectsCalculator(DetectionsToRectsCalculator):
    """Squares around the middle finger of a pose's hand."""

    @classmethod
    def check(cls, node: NodeInfo) -> None:
        """A turn needs the size of the image."""
        super().check(node)
        if not tagged(node.inputs, "IMAGE_SIZE"):
            raise ContractError("Image size is required to calculate rotated rect.")

    def open(self, ctx: Context) -> None:
        """Turned always, whatever the options say."""
        super().open(ctx)
        self._turns = True
        self._target = math.pi / 2

    def _normalized(
        self, detection: Detection, size: tuple[int, int] | None
    ) -> NormalizedRect:
        if size is None:
            raise ValueError("Image size is required to calculate rotation")
        x0, y0, x1, y1 = self._points(detection, size)
        side = 2 * math.hypot(x1 - x0, y1 - y0)
        width, height = size
        rotation = self._angle(x0, y0, x1, y1)
        return NormalizedRect(
            x1 / width, y1 / height, side / width, side / height, rotation
        )

    def _points(
        self, detection: Detection, size: tuple[int, int]
    ) -> tuple[float, float, float, float]:
        """The wrist and the middle finger, which is nearer to the index finger."""
        keypoints = detection.keypoints
        if len(keypoints) < 3:
            raise ValueError(f"a hand of a pose has 3 key points, not {len(keypoints)}")
        x, y = _in_pixels(keypoints[0], size)
        little_x, little_y = _in_pixels(keypoints[1], size)
        index_x, index_y = _in_pixels(keypoints[2], size)
        three_x, three_y = array("f", (2 * index_x + little_x, 2 * index_y + little_y))
        middle_x, middle_y = array("f", (three_x / 3, three_y / 3))
        return x, y, middle_x, middle_y


def _in_pixels(point: Floats, size: tuple[int, int]) -> Sequence[float]:
    """As float32 has them: two numbers take Python less time than they take numpy."""
    (x, y), (width, height) = point.tolist(), size
    return array("f", (x * width, y * height))


def normalized_radians(angle: float) -> float:
    """The same angle, at least -pi and less than pi. Raises ValueError for none."""
    if not math.isfinite(angle):
        raise ValueError("an angle between points that are not finite")
    return angle - 2 * math.pi * math.floor((angle + math.pi) / (2 * math.pi))


def _around_keypoints(detection: Detection) -> tuple[float, float, float, float]:
    """The centre of the box around them, and its size."""
    points = detection.keypoints
    if len(points) < 2:
        raise ValueError("2 or more key points required to calculate a rect.")
    left, top = np.minimum.reduce(points).tolist()
    right, bottom = np.maximum.reduce(points).tolist()
    x, y, width, height = array(
        "f", ((left + right) / 2, (top + bottom) / 2, right - left, bottom - top)
    )
    return x, y, width, height


def _check_format(detection: Detection, wanted: LocationFormat) -> None:
    if detection.format is not wanted:
        raise ValueError(
            f"a location of {detection.format.name}; expected {wanted.name}"
        )
