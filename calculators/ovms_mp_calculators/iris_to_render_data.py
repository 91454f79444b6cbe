"""How irises are drawn: IrisToRenderDataCalculator.

    node {
      calculator: "IrisToRenderDataCalculator"
      input_stream: "IRIS:irises"                 # NormalizedLandmarkList of 10
      input_stream: "IMAGE_SIZE:size"             # (width, height)
      output_stream: "RENDER_DATA:render_data"    # RenderData
      node_options: {
        [type.googleapis.com/mediapipe.IrisToRenderDataCalculatorOptions] {
          oval_color { r: 0 g: 0 b: 255 }
          oval_thickness: 4
        }
      }
    }

As MediaPipe's: for each eye, the left one first, a circle with the mean diameter of its
iris and a point for each of its five landmarks. LEFT_IRIS_DEPTH_MM and
RIGHT_IRIS_DEPTH_MM, floats, are written beside it in centimetres.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np
from ovms_mp_protos import graph

from ovms_mp.calculator import Calculator, Input, Options, Output
from ovms_mp.formats.landmark import NormalizedLandmarkList
from ovms_mp.formats.messages import color_of
from ovms_mp.formats.render_data import (
    Color,
    Oval,
    Point,
    Rectangle,
    RenderAnnotation,
    RenderData,
    Text,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ovms_mp.calculator import Context
    from ovms_mp.formats.landmark import Floats

_OPTIONS: Final = graph.IrisToRenderDataCalculatorOptions
# Centre, top, bottom, left, right, as the model has them: one eye mirrors the other.
_EYES: Final = ([0, 2, 4, 3, 1], [5, 7, 9, 6, 8])
_LINE: Final = 1.5  # heights of the font
_TEXT_COLOR: Final = Color(255, 0, 0)
_TEXT_THICKNESS: Final = 5.0


class IrisToRenderDataCalculator(Calculator):
    """Fails for another number of landmarks, and without the image's size."""

    timestamp_offset = 0

    irises = Input(NormalizedLandmarkList, "IRIS")
    size: Input[tuple[int, int]] = Input(tuple, "IMAGE_SIZE")
    left_depth = Input(float, "LEFT_IRIS_DEPTH_MM", optional=True)
    right_depth = Input(float, "RIGHT_IRIS_DEPTH_MM", optional=True)
    render_data = Output(RenderData, "RENDER_DATA")
    options = Options(_OPTIONS)

    def open(self, ctx: Context) -> None:
        """How all of them are drawn."""
        options = self.options
        self._oval = color_of(options.oval_color), options.oval_thickness
        self._point = color_of(options.landmark_color), options.landmark_thickness

    def process(self, ctx: Context) -> None:
        """One pair of irises."""
        irises = ctx.get(self.irises)
        if irises is None:
            return
        if len(irises) != 10:
            raise ValueError(f"{len(irises)} iris landmarks; expected 10")
        if not ctx.has(self.size):
            raise ValueError("IMAGE_SIZE has no packet at this timestamp")
        size = ctx[self.size]
        if min(size) < 1:
            raise ValueError(f"an image of {size[0]}x{size[1]} has no irises")
        drawn = [
            each
            for eye in _EYES
            for each in self._iris(irises.points[eye, :2], np.array(size, np.float32))
        ]
        drawn += self._texts(self._lines(ctx), size[1])
        ctx.send(self.render_data, RenderData(tuple(drawn)))

    def _iris(self, points: Floats, size: Floats) -> Iterator[RenderAnnotation]:
        center, top, bottom, left, right = points
        across = np.hypot(*((left - right) * size))
        along = np.hypot(*((top - bottom) * size))
        radius = (across + along) / 2 / 2 / size
        begin, end = (center - radius).tolist(), (center + radius).tolist()
        yield RenderAnnotation(
            Oval(Rectangle(begin[0], begin[1], end[0], end[1], normalized=True)),
            *self._oval,
            "OVAL",
        )
        for x, y in points.tolist():
            yield RenderAnnotation(Point(x, y, normalized=True), *self._point)

    def _lines(self, ctx: Context) -> list[str]:
        lines: list[str] = []
        for name, port in (("Left", self.left_depth), ("Right", self.right_depth)):
            depth = ctx.get(port) if port else None
            if depth is not None and math.isfinite(depth):
                # A half goes away from zero; the two colons are MediaPipe's.
                lines.append(f"{name} : :{math.floor(depth / 10 + 0.5):g} cm")
        return lines

    def _texts(self, lines: Sequence[str], height: int) -> Iterator[RenderAnnotation]:
        options = self.options
        line_height = math.ceil(options.font_height_px * _LINE)
        baseline = options.vertical_offset_px + line_height
        if options.location == _OPTIONS.BOTTOM_LEFT:
            baseline = options.vertical_offset_px + height - line_height * len(lines)
        for number, line in enumerate(lines):
            text = Text(
                line,
                left=options.horizontal_offset_px,
                baseline=baseline + number * line_height,
                font_height=options.font_height_px,
                font_face=options.font_face,
            )
            yield RenderAnnotation(text, _TEXT_COLOR, _TEXT_THICKNESS)
