"""Shapes of RenderData in whole pixels, one function each: MediaPipe's way from
coordinates to OpenCV's calls.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Final, TypeAlias

import cv2
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ovms_mp.core.image import Pixels
    from ovms_mp.formats import render_data as shapes
    from ovms_mp.formats.render_data import RenderAnnotation

_MAX_THICKNESS: Final = 32767  # OpenCV's
# Beyond it nothing is seen of any image, and OpenCV's integers still have room.
_FAR: Final = 1 << 20
_TIP_SHARE: Final = 0.2

Corner: TypeAlias = tuple[int, int]
Edges: TypeAlias = tuple[int, int, int, int]
"""Left, top, right, bottom."""


class NotFinite(ValueError):
    """A coordinate that is nowhere."""


class Canvas:
    """Pixels with their size; turns coordinates into whole pixels, or raises NotFinite."""

    def __init__(self, pixels: Pixels) -> None:
        self.pixels = pixels
        self.height, self.width = pixels.shape[:2]

    def point(self, x: float, y: float, normalized: bool) -> Corner:
        """Where a point is."""
        if not normalized:
            return whole(x), whole(y)
        x *= self.width
        y *= self.height
        # Nearly all that is seen: a face has hundreds of points in each frame.
        if 0 <= x < _FAR and 0 <= y < _FAR:
            return int(x + 0.5), int(y + 0.5)
        return rounded(x), rounded(y)

    def length(self, pixels: float, normalized: bool) -> int:
        """A length as points are taken."""
        return rounded(pixels) if normalized else whole(pixels)

    def edges(self, box: shapes.Rectangle) -> Edges:
        """Where a box is."""
        left, top = self.point(box.left, box.top, box.normalized)
        right, bottom = self.point(box.right, box.bottom, box.normalized)
        return left, top, right, bottom


def whole(value: float) -> int:
    """Towards zero."""
    if not math.isfinite(value):
        raise NotFinite
    return max(-_FAR, min(_FAR, int(value)))


def rounded(value: float) -> int:
    """A half goes away from zero."""
    if 0 <= value < _FAR:
        return int(value + 0.5)
    if not math.isfinite(value):
        raise NotFinite
    return whole(math.copysign(math.floor(abs(value) + 0.5), value))


@lru_cache(maxsize=256)
def thickness_of(value: float) -> int:
    """At least 1. Of all that is drawn on a frame few are different."""
    return 1 if 0 <= value < 1 else max(1, min(_MAX_THICKNESS, rounded(value)))


def rectangle(
    canvas: Canvas, shape: shapes.Rectangle, annotation: RenderAnnotation
) -> None:
    """Its sides, and a dot at its first corner."""
    edges = canvas.edges(shape)
    color, thickness = annotation.color, thickness_of(annotation.thickness)
    if shape.rotation:
        corners = _corners(edges, shape.rotation)
        for one, other in zip(corners, corners[1:] + corners[:1], strict=True):
            cv2.line(canvas.pixels, one, other, color, thickness)
    else:
        cv2.rectangle(canvas.pixels, _extent(edges), color, thickness)
    if shape.top_left_thickness is not None:
        radius = thickness_of(shape.top_left_thickness)
        center = _corners(edges, shape.rotation)[1]
        cv2.ellipse(canvas.pixels, center, (radius, radius), 0.0, 0, 360, color, -1)


def filled_rectangle(
    canvas: Canvas, shape: shapes.FilledRectangle, annotation: RenderAnnotation
) -> None:
    """Filled with the annotation's colour."""
    edges = canvas.edges(shape.rectangle)
    color = annotation.color
    if shape.rectangle.rotation:
        corners = _corners(edges, shape.rectangle.rotation)
        cv2.fillConvexPoly(canvas.pixels, np.array(corners, np.int32), color)
    else:
        cv2.rectangle(canvas.pixels, _extent(edges), color, -1)


def rounded_rectangle(
    canvas: Canvas, shape: shapes.RoundedRectangle, annotation: RenderAnnotation
) -> None:
    """Four sides and four arcs."""
    thickness = thickness_of(annotation.thickness)
    _round_box(canvas, shape, annotation.color, thickness)


def filled_rounded_rectangle(
    canvas: Canvas, shape: shapes.FilledRoundedRectangle, annotation: RenderAnnotation
) -> None:
    """Four filled arcs and, as in MediaPipe, no filling between them."""
    _round_box(canvas, shape.rounded_rectangle, annotation.color, -1)


def _round_box(
    canvas: Canvas,
    shape: shapes.RoundedRectangle,
    color: Sequence[float],
    thickness: int,
) -> None:
    left, top, right, bottom = canvas.edges(shape.rectangle)
    radius, kind = whole(shape.corner_radius), shape.line_type
    for one, other in (
        ((left + radius, top), (right - radius, top)),
        ((right, top + radius), (right, bottom - radius)),
        ((left + radius, bottom), (right - radius, bottom)),
        ((left, top + radius), (left, bottom - radius)),
    ):
        # OpenCV refuses to fill a line.
        cv2.line(canvas.pixels, one, other, color, max(1, thickness), kind)
    for center, angle in (
        ((left + radius, top + radius), 180),
        ((right - radius, top + radius), 270),
        ((right - radius, bottom - radius), 0),
        ((left + radius, bottom - radius), 90),
    ):
        axes = abs(radius), abs(radius)
        cv2.ellipse(canvas.pixels, center, axes, angle, 0, 90, color, thickness, kind)


def oval(canvas: Canvas, shape: shapes.Oval, annotation: RenderAnnotation) -> None:
    """Its line."""
    thickness = thickness_of(annotation.thickness)
    _ellipse(canvas, shape, annotation.color, thickness)


def filled_oval(
    canvas: Canvas, shape: shapes.FilledOval, annotation: RenderAnnotation
) -> None:
    """Filled with the annotation's colour."""
    _ellipse(canvas, shape.oval, annotation.color, -1)


def _ellipse(
    canvas: Canvas, shape: shapes.Oval, color: Sequence[float], thickness: int
) -> None:
    left, top, right, bottom = canvas.edges(shape.rectangle)
    center = int((left + right) / 2), int((top + bottom) / 2)
    axes = max(0, int((right - left) / 2)), max(0, int((bottom - top) / 2))
    angle = math.degrees(shape.rectangle.rotation)
    cv2.ellipse(canvas.pixels, center, axes, angle, 0, 360, color, thickness)


def point(canvas: Canvas, shape: shapes.Point, annotation: RenderAnnotation) -> None:
    """A disk."""
    center = canvas.point(shape.x, shape.y, shape.normalized)
    radius = thickness_of(annotation.thickness)
    cv2.circle(canvas.pixels, center, radius, annotation.color, -1)


def scribble(
    canvas: Canvas, shape: shapes.Scribble, annotation: RenderAnnotation
) -> None:
    """Disks."""
    for each in shape.point:
        point(canvas, each, annotation)


def line(canvas: Canvas, shape: shapes.Line, annotation: RenderAnnotation) -> None:
    """From start to end, whatever its type."""
    start = canvas.point(shape.x_start, shape.y_start, shape.normalized)
    end = canvas.point(shape.x_end, shape.y_end, shape.normalized)
    thickness = thickness_of(annotation.thickness)
    cv2.line(canvas.pixels, start, end, annotation.color, thickness)


def arrow(canvas: Canvas, shape: shapes.Arrow, annotation: RenderAnnotation) -> None:
    """A line, and two at its end for a tip of a fifth of its length."""
    start = canvas.point(shape.x_start, shape.y_start, shape.normalized)
    end = canvas.point(shape.x_end, shape.y_end, shape.normalized)
    color, thickness = annotation.color, thickness_of(annotation.thickness)
    cv2.line(canvas.pixels, start, end, color, thickness)
    along = _TIP_SHARE * (end[0] - start[0]), _TIP_SHARE * (end[1] - start[1])
    across = -along[1], along[0]
    for side in (1, -1):
        tip = (
            rounded(end[0] - along[0] + side * across[0]),
            rounded(end[1] - along[1] + side * across[1]),
        )
        cv2.line(canvas.pixels, tip, end, color, thickness)


def _extent(edges: Edges) -> Edges:
    """As OpenCV takes it: left, top, width, height."""
    left, top, right, bottom = edges
    return left, top, right - left, bottom - top


def _corners(edges: Edges, rotation: float) -> list[Corner]:
    """Bottom left, top left, top right, bottom right of a turned box, to the nearest
    pixel, to the even one of two, as OpenCV converts.
    """
    left, top, right, bottom = edges
    center = (left + right) / 2, (top + bottom) / 2
    size = float(right - left), float(bottom - top)
    vertices = cv2.boxPoints((center, size, math.degrees(rotation)))
    return [(x, y) for x, y in np.rint(vertices).astype(int).tolist()]
