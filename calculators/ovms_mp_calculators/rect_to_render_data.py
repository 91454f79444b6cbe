"""How rects are drawn: RectToRenderDataCalculator.

    node {
      calculator: "RectToRenderDataCalculator"
      input_stream: "NORM_RECT:rect"              # NormalizedRect
      output_stream: "RENDER_DATA:render_data"    # RenderData
      node_options: {
        [type.googleapis.com/mediapipe.RectToRenderDataCalculatorOptions] {
          filled: false
          color { r: 255 g: 0 b: 0 }
          thickness: 4.0
        }
      }
    }

As MediaPipe's: RECT, RECTS and NORM_RECTS are the other kinds; `oval` draws the oval in
the rect instead, `top_left_thickness` a dot at its corner. Of a rect outside of the image
an empty one is drawn. Without a packet an empty RenderData leaves, where another stream
tells the time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ovms_mp_protos import graph

from ovms_mp.calculator import Calculator, ContractError, Input, Options, Output
from ovms_mp.formats.messages import color_of
from ovms_mp.formats.rect import NormalizedRect, Rect
from ovms_mp.formats.render_data import (
    FilledOval,
    FilledRectangle,
    Oval,
    Rectangle,
    RenderAnnotation,
    RenderData,
)

if TYPE_CHECKING:
    from ovms_mp.calculator import Context, NodeInfo
    from ovms_mp.formats.render_data import Shape

_OPTIONS: Final = graph.RectToRenderDataCalculatorOptions


class RectToRenderDataCalculator(Calculator):
    """Draws rects."""

    timestamp_offset = 0

    rect = Input(Rect, "RECT", optional=True)
    rects: Input[list[Rect]] = Input(list, "RECTS", optional=True)
    norm_rect = Input(NormalizedRect, "NORM_RECT", optional=True)
    norm_rects: Input[list[NormalizedRect]] = Input(list, "NORM_RECTS", optional=True)
    render_data = Output(RenderData, "RENDER_DATA")
    options = Options(_OPTIONS)

    @classmethod
    def check(cls, node: NodeInfo) -> None:
        """One kind of rects, and a dot only at a corner."""
        if len(node.inputs) != 1:
            raise ContractError(
                "Exactly one of NORM_RECT, RECT, NORM_RECTS or RECTS input stream should "
                "be provided."
            )
        options = node.options.get(_OPTIONS.DESCRIPTOR.full_name, _OPTIONS())
        if options.HasField("top_left_thickness") and (options.filled or options.oval):
            raise ContractError("top_left_thickness excludes filled and oval")

    def open(self, ctx: Context) -> None:
        """What all of them share."""
        options = self.options
        self._color = color_of(options.color)
        self._thickness = options.thickness
        self._is_oval, self._is_filled = options.oval, options.filled
        self._dot = (
            options.top_left_thickness
            if options.HasField("top_left_thickness")
            else None
        )
        self._one: Any = self.rect or self.norm_rect
        self._several: Any = self.rects or self.norm_rects

    def process(self, ctx: Context) -> None:
        """What came at one timestamp."""
        given: list[Rect | NormalizedRect] = []
        if self._one and ctx.has(self._one):
            given = [ctx[self._one]]
        elif self._several and ctx.has(self._several):
            given = ctx[self._several]
        drawn = [
            RenderAnnotation(self._shape(each), self._color, self._thickness)
            for each in given
        ]
        ctx.send(self.render_data, RenderData(tuple(drawn)))

    def _shape(self, rect: Rect | NormalizedRect) -> Shape:
        rectangle = _rectangle(rect, self._dot)
        if self._is_oval:
            oval = Oval(rectangle)
            return FilledOval(oval) if self._is_filled else oval
        return FilledRectangle(rectangle) if self._is_filled else rectangle


def _rectangle(rect: Rect | NormalizedRect, dot: float | None) -> Rectangle:
    normalized = isinstance(rect, NormalizedRect)
    left, top = rect.x_center - rect.width / 2, rect.y_center - rect.height / 2
    right, bottom = left + rect.width, top + rect.height
    is_outside = right < 0 or bottom < 0 or (normalized and (left > 1 or top > 1))
    if rect.rotation == 0 and is_outside:
        return Rectangle(top_left_thickness=dot)
    return Rectangle(left, top, right, bottom, normalized, rect.rotation, dot)
