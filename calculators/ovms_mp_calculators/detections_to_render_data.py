"""How detections are drawn: DetectionsToRenderDataCalculator.

    node {
      calculator: "DetectionsToRenderDataCalculator"
      input_stream: "DETECTIONS:detections"       # list of Detection
      output_stream: "RENDER_DATA:render_data"    # RenderData
      node_options: {
        [type.googleapis.com/mediapipe.DetectionsToRenderDataCalculatorOptions] {
          thickness: 4.0
          color { r: 255 g: 0 b: 0 }
        }
      }
    }

As MediaPipe's: for each detection its labels with their scores and its feature tag as
text, its box, and a point for each key point. DETECTION takes one detection,
DETECTION_LIST a mediapipe.DetectionList. Nothing to draw is an empty RenderData, or with
produce_empty_packet: false nothing.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from google.protobuf.message import Message
from ovms_mp_protos import graph

from ovms_mp.calculator import Calculator, ContractError, Input, Options, Output
from ovms_mp.formats.detection import Detection, LocationFormat
from ovms_mp.formats.messages import color_of, detection_of, shape_of
from ovms_mp.formats.render_data import (
    Point,
    Rectangle,
    RenderAnnotation,
    RenderData,
    Text,
)

if TYPE_CHECKING:
    from ovms_mp.calculator import Context, NodeInfo
    from ovms_mp.formats.render_data import Shape

_OPTIONS: Final = graph.DetectionsToRenderDataCalculatorOptions
# Of a text, by the height of its box.
_LINE_SHARE: Final = 0.1
_FONT_SHARE: Final = 0.9


_TAG: Final = Text()


class DetectionsToRenderDataCalculator(Calculator):
    """Fails for locations that are no box, and for scores that are not one a label."""

    timestamp_offset = 0

    detection = Input(Detection, "DETECTION", optional=True)
    detections: Input[list[Detection]] = Input(list, "DETECTIONS", optional=True)
    detection_list: Input[Any] = Input(Message, "DETECTION_LIST", optional=True)
    render_data = Output(RenderData, "RENDER_DATA")
    options = Options(_OPTIONS)

    @classmethod
    def check(cls, node: NodeInfo) -> None:
        """At least one input."""
        if not node.inputs:
            raise ContractError("None of the input streams are provided.")

    def open(self, ctx: Context) -> None:
        """What all annotations share."""
        options = self.options
        self._text: Text = shape_of(options.text, Text)
        self._color = color_of(options.color)
        self._thickness = options.thickness
        self._scene_class = options.scene_class
        self._delimiter = options.text_delimiter
        self._is_one_a_line = options.one_label_per_line
        self._tells_id = options.render_detection_id
        self._sends_always = options.produce_empty_packet

    def process(self, ctx: Context) -> None:
        """What came at one timestamp."""
        given: list[Detection] = []
        if self.detection_list and ctx.has(self.detection_list):
            given += map(detection_of, ctx[self.detection_list].detection)
        if self.detections and ctx.has(self.detections):
            given += ctx[self.detections]
        if self.detection and ctx.has(self.detection):
            given.append(ctx[self.detection])
        if not given and not self._sends_always:
            return
        color, thickness = self._color, self._thickness
        drawn = [
            RenderAnnotation(shape, color, thickness, tag)
            for each in given
            for shape, tag in self._shapes(each)
        ]
        ctx.send(self.render_data, RenderData(tuple(drawn), self._scene_class))

    def _shapes(self, detection: Detection) -> list[tuple[Shape, str]]:
        if detection.format is LocationFormat.GLOBAL:
            raise ValueError("a detection without a box cannot be drawn")
        is_relative = detection.format is LocationFormat.RELATIVE_BOUNDING_BOX
        count = max(len(detection.labels), len(detection.label_ids))
        line_height, font_height = self._text.font_height, None
        left, top, _, height = detection.box
        if is_relative:
            share = min(_LINE_SHARE, 1 / (count + 1))
            line_height = float(np.float32(height * share))
            font_height = line_height * _FONT_SHARE
        found: list[tuple[Shape, str]] = []
        for number, label in enumerate(self._labels(detection, count), start=1):
            at = top + number * line_height
            found.append((_placed(self._text, label, font_height, left, at), "LABEL"))
        tag = _placed(_TAG, detection.feature_tag, font_height, left, top + height)
        found.append((tag, "FEATURE"))
        found.append((_outline(detection, is_relative), "LOCATION"))
        if is_relative:
            points = detection.keypoints.tolist()
            found += [(Point(x, y, is_relative), "KEYPOINT") for x, y in points]
        return found

    def _labels(self, detection: Detection, count: int) -> list[str]:
        """Lines of text."""
        names = detection.labels or tuple(map(str, detection.label_ids))
        if len(detection.scores) != count or len(names) != count:
            raise ValueError(
                f"a detection has {len(detection.scores)} scores for {count} labels"
            )
        delimiter = self._delimiter
        texts = [
            f"{name}{delimiter}{_rounded(score):g}{delimiter}"
            for name, score in zip(names, detection.scores, strict=True)
        ]
        lines = texts if self._is_one_a_line else ["".join(texts)]
        if self._tells_id:
            lines = [f"Id: {detection.detection_id or 0}", *lines]
        return lines


def _rounded(score: float) -> float:
    """To hundredths; a half goes away from zero."""
    if not math.isfinite(score):
        return score
    return math.copysign(math.floor(abs(score) * 100 + 0.5) / 100, score)


def _placed(
    text: Text, said: str, font_height: float | None, left: float, baseline: float
) -> Text:
    """In fractions of the image if a height of the font is given in these."""
    normalized = font_height is not None
    if normalized:
        left, baseline = max(left, 0.0), min(baseline, 1.0)
    # By its class: `replace` takes three times as long.
    return Text(
        said,
        left,
        baseline,
        text.font_height if font_height is None else font_height,
        normalized,
        text.font_face,
        text.center_horizontally,
        text.center_vertically,
        text.outline_thickness,
        text.outline_color,
    )


def _outline(detection: Detection, normalized: bool) -> Rectangle:
    """The box, as far as it is in the image; nothing of one that is outside."""
    left, top, width, height = detection.box
    right, bottom = left + width, top + height
    if right < 0 or bottom < 0 or (normalized and (left > 1 or top > 1)):
        return Rectangle()
    if normalized:
        left, top = max(left, 0.0), max(top, 0.0)
        right, bottom = min(right, 1.0), min(bottom, 1.0)
    return Rectangle(left, top, right, bottom, normalized)
