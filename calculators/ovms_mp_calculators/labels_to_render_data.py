"""How labels are written: LabelsToRenderDataCalculator.

    node {
      calculator: "LabelsToRenderDataCalculator"
      input_stream: "CLASSIFICATIONS:handedness"    # mediapipe.ClassificationList
      output_stream: "RENDER_DATA:render_data"      # RenderData
      node_options: {
        [type.googleapis.com/mediapipe.LabelsToRenderDataCalculatorOptions] {
          color { r: 255 g: 0 b: 0 }
          thickness: 10.0
          font_height_px: 50
          horizontal_offset_px: 30
          vertical_offset_px: 50
        }
      }
    }

As MediaPipe's: the first `max_num_labels` of them, one below the other from the top left,
each with the next of the colours. LABELS, a list of texts, with or without SCORES, a list
of floats as long, is the other input. A header of a video (VIDEO_PRESTREAM), and with it
BOTTOM_LEFT, is not supported.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from google.protobuf.message import Message
from ovms_mp_protos import graph

from ovms_mp.calculator import (
    Calculator,
    ContractError,
    Input,
    Options,
    Output,
    tagged,
)
from ovms_mp.formats.messages import color_of
from ovms_mp.formats.render_data import (
    BLACK,
    Color,
    RenderAnnotation,
    RenderData,
    Text,
)

if TYPE_CHECKING:
    from ovms_mp.calculator import Context, NodeInfo

_OPTIONS: Final = graph.LabelsToRenderDataCalculatorOptions
_RED: Final = Color(255, 0, 0)
# Of a line, by the height of its letters.
_LINE: Final = 1.25


class LabelsToRenderDataCalculator(Calculator):
    """Fails for other than one score for each label."""

    timestamp_offset = 0

    classifications: Input[Any] = Input(Message, "CLASSIFICATIONS", optional=True)
    labels: Input[list[str]] = Input(list, "LABELS", optional=True)
    scores: Input[list[float]] = Input(list, "SCORES", optional=True)
    render_data = Output(RenderData, "RENDER_DATA")
    options = Options(_OPTIONS)

    @classmethod
    def check(cls, node: NodeInfo) -> None:
        """Labels of one kind, and a place that can be."""
        has_labels = bool(tagged(node.inputs, "LABELS"))
        if has_labels == bool(tagged(node.inputs, "CLASSIFICATIONS")):
            raise ContractError("one input is needed, CLASSIFICATIONS or LABELS")
        if tagged(node.inputs, "SCORES") and not has_labels:
            raise ContractError("SCORES go with LABELS")
        options = node.options.get(_OPTIONS.DESCRIPTOR.full_name, _OPTIONS())
        if options.location != _OPTIONS.TOP_LEFT:
            raise ContractError("Only TOP_LEFT is supported without VIDEO_PRESTREAM.")

    def open(self, ctx: Context) -> None:
        """What all of them share."""
        options = self.options
        self._colors = [color_of(each) for each in options.color] or [_RED]
        self._outlines = [BLACK]
        self._outline = max(options.outline_thickness, 0.0)
        if self._outline:
            given = [color_of(each) for each in options.outline_color]
            self._outlines = given or [BLACK]
        self._most = max(options.max_num_labels, 0)
        self._thickness = options.thickness
        self._left, self._top = options.horizontal_offset_px, options.vertical_offset_px
        self._height, self._face = options.font_height_px, options.font_face
        self._line = math.ceil(self._height * _LINE)
        self._name = "display_name" if options.use_display_name else "label"
        self._has_scores = bool(self.scores)
        if self.classifications:
            self._has_scores = options.display_classification_score

    def process(self, ctx: Context) -> None:
        """What came at one timestamp."""
        lines = self._lines(ctx)
        if lines is None:
            return
        colors, thickness = self._colors, self._thickness
        drawn = [
            RenderAnnotation(
                self._text(line, place), colors[place % len(colors)], thickness
            )
            for place, line in enumerate(lines[: self._most])
        ]
        ctx.send(self.render_data, RenderData(tuple(drawn)))

    def _lines(self, ctx: Context) -> list[str] | None:
        if self.classifications:
            if not ctx.has(self.classifications):
                return None
            items = ctx[self.classifications].classification
            labels = [getattr(each, self._name) for each in items]
            scores = [each.score for each in items]
        else:
            if not ctx.has(self.labels):
                return None
            labels, scores = ctx[self.labels], [0.0] * len(ctx[self.labels])
            if self.scores:
                scores = ctx[self.scores] if ctx.has(self.scores) else []
        if len(labels) != len(scores):
            raise ValueError(f"{len(scores)} scores for {len(labels)} labels")
        if not self._has_scores:
            return labels
        return [f"{e}:{score:g}" for e, score in zip(labels, scores, strict=True)]

    def _text(self, line: str, place: int) -> Text:
        return Text(
            display_text=line,
            left=self._left,
            baseline=self._top + (place + 1) * self._line,
            font_height=self._height,
            font_face=self._face,
            outline_thickness=self._outline,
            outline_color=self._outlines[place % len(self._outlines)],
        )
