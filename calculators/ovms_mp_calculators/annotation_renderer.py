"""Draws with OpenCV what MediaPipe's util/annotation_renderer draws: the same calls with
the same whole pixels. A shape with a coordinate that is not finite is not drawn.
"""

from __future__ import annotations

from contextlib import suppress
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

import cv2

from ovms_mp.formats import render_data as shapes
from ovms_mp_calculators import annotation_shapes as drawing
from ovms_mp_calculators.annotation_disks import MANY, disks
from ovms_mp_calculators.annotation_gradients import gradient_lines
from ovms_mp_calculators.annotation_shapes import Canvas, NotFinite

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ovms_mp.core.image import Pixels
    from ovms_mp.formats.render_data import (
        RenderAnnotation,
        RenderData,
        Text,
    )

# Of a line of text, from the top of its capitals to what hangs below, in units of fonts.
_FONT_HEIGHTS: Final = {
    cv2.FONT_HERSHEY_SIMPLEX: 21,
    cv2.FONT_HERSHEY_PLAIN: 9,
    cv2.FONT_HERSHEY_DUPLEX: 21,
    cv2.FONT_HERSHEY_COMPLEX: 21,
    cv2.FONT_HERSHEY_TRIPLEX: 21,
    cv2.FONT_HERSHEY_COMPLEX_SMALL: 13,
    cv2.FONT_HERSHEY_SCRIPT_SIMPLEX: 21,
    cv2.FONT_HERSHEY_SCRIPT_COMPLEX: 21,
}
# OpenCV computes a text's pixels in 32 bits.
_MAX_FONT_HEIGHT: Final = 1 << 13


class AnnotationRenderer:
    """Draws on the pixels that it is given, [height, width, 3 or 4] UINT8."""

    def __init__(self, *, flip_text_vertically: bool = False) -> None:
        self._flips_text = flip_text_vertically
        self._draw: Mapping[
            type[Any], Callable[[Canvas, Any, RenderAnnotation], None]
        ] = {
            shapes.Rectangle: drawing.rectangle,
            shapes.FilledRectangle: drawing.filled_rectangle,
            shapes.RoundedRectangle: drawing.rounded_rectangle,
            shapes.FilledRoundedRectangle: drawing.filled_rounded_rectangle,
            shapes.Oval: drawing.oval,
            shapes.FilledOval: drawing.filled_oval,
            shapes.Point: drawing.point,
            shapes.Scribble: drawing.scribble,
            shapes.Line: drawing.line,
            shapes.Arrow: drawing.arrow,
            shapes.Text: self._text,
        }

    def render(self, data: RenderData, pixels: Pixels) -> None:
        """Everything, in its order."""
        canvas = Canvas(pixels)
        for kind, group in groupby(data.render_annotations, _kind):
            alike = [*group]
            if kind is shapes.GradientLine:
                for _, lines in groupby(alike, _thickness):
                    with suppress(NotFinite):
                        gradient_lines(canvas, [*lines])
                continue
            if kind is shapes.Point and len(alike) >= MANY:
                for _, points in groupby(alike, _look):
                    with suppress(NotFinite):
                        disks(canvas, [*points])
                continue
            draw = self._draw[kind]
            for each in alike:
                try:
                    draw(canvas, each.data, each)
                except NotFinite:
                    continue

    def _text(self, canvas: Canvas, text: Text, annotation: RenderAnnotation) -> None:
        units = _FONT_HEIGHTS.get(text.font_face)
        # Each detection has a text for its feature, nearly always of nothing.
        if units is None or not text.display_text:
            return
        left, baseline = canvas.point(text.left, text.baseline, text.normalized)
        height = canvas.height if text.normalized else 1
        size = canvas.length(text.font_height * height, text.normalized)
        if abs(size) > _MAX_FONT_HEIGHT:
            return
        thickness = drawing.thickness_of(annotation.thickness)
        scale = (size - (thickness + 1) / 2) / units
        face = text.font_face
        extent, _ = cv2.getTextSize(text.display_text, face, scale, thickness)
        if text.center_horizontally:
            left -= extent[0] // 2
        if text.center_vertically:
            baseline += extent[1] // 2
        strokes = [(annotation.color, thickness)]
        if text.outline_thickness > 0:
            around = annotation.thickness + 2 * text.outline_thickness
            width = drawing.thickness_of(around)
            strokes.insert(0, (text.outline_color, width))
        for color, width in strokes:
            cv2.putText(
                canvas.pixels,
                text.display_text,
                (left, baseline),
                face,
                scale,
                color,
                width,
                cv2.LINE_8,
                self._flips_text,
            )


def _kind(annotation: RenderAnnotation) -> type[Any]:
    return type(annotation.data)


_thickness: Final = attrgetter("thickness")
_look: Final = attrgetter("thickness", "color")
