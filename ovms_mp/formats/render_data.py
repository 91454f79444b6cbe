"""What is to be drawn on an image, as values (util/render_data.proto).

All are values that nobody changes. Those that a face has hundreds of in each frame do not
say so to Python: what is frozen takes three times as long to make.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final, NamedTuple, TypeAlias


class Color(NamedTuple):
    """Red, green and blue, 0 to 255."""

    r: int = 0
    g: int = 0
    b: int = 0


BLACK: Final = Color()


class LineType(Enum):
    """Of a line. MediaPipe's renderer draws all of them as SOLID."""

    UNKNOWN = 0
    SOLID = 1
    DASHED = 2


@dataclass(frozen=True, slots=True)
class Rectangle:
    """Coordinates are pixels, or fractions of the image if `normalized`; `rotation` is
    in radians. `top_left_thickness` is the radius of a dot at that corner.
    """

    left: float = 0.0
    top: float = 0.0
    right: float = 0.0
    bottom: float = 0.0
    normalized: bool = False
    rotation: float = 0.0
    top_left_thickness: float | None = None


@dataclass(frozen=True, slots=True)
class FilledRectangle:
    """MediaPipe fills with the annotation's colour."""

    rectangle: Rectangle
    fill_color: Color | None = None


@dataclass(frozen=True, slots=True)
class RoundedRectangle:
    """`corner_radius` in pixels; `line_type` as OpenCV's: 4, 8, 16, or -1 to fill."""

    rectangle: Rectangle
    corner_radius: int = 0
    line_type: int = 4


@dataclass(frozen=True, slots=True)
class FilledRoundedRectangle:
    """MediaPipe fills with the annotation's colour."""

    rounded_rectangle: RoundedRectangle
    fill_color: Color | None = None


@dataclass(frozen=True, slots=True)
class Oval:
    """The oval that fits into the rectangle."""

    rectangle: Rectangle


@dataclass(frozen=True, slots=True)
class FilledOval:
    """MediaPipe fills with the annotation's colour."""

    oval: Oval
    fill_color: Color | None = None


@dataclass(slots=True)
class Point:
    """A disk; the annotation's thickness is its radius."""

    x: float = 0.0
    y: float = 0.0
    normalized: bool = False


@dataclass(slots=True)
class Line:
    """From start to end."""

    x_start: float = 0.0
    y_start: float = 0.0
    x_end: float = 0.0
    y_end: float = 0.0
    normalized: bool = False
    line_type: LineType = LineType.SOLID


@dataclass(slots=True)
class GradientLine:
    """From `color1` at the start to `color2` at the end."""

    x_start: float = 0.0
    y_start: float = 0.0
    x_end: float = 0.0
    y_end: float = 0.0
    normalized: bool = False
    color1: Color = BLACK
    color2: Color = BLACK


@dataclass(frozen=True, slots=True)
class Scribble:
    """Many points."""

    point: tuple[Point, ...] = ()


@dataclass(frozen=True, slots=True)
class Arrow:
    """Its head is at the end."""

    x_start: float = 0.0
    y_start: float = 0.0
    x_end: float = 0.0
    y_end: float = 0.0
    normalized: bool = False


@dataclass(frozen=True, slots=True)
class Text:
    """`font_face` is one of OpenCV's Hershey fonts; `font_height` in pixels, or a
    fraction of the image's height if `normalized`.
    """

    display_text: str = ""
    left: float = 0.0
    baseline: float = 0.0
    font_height: float = 8.0
    normalized: bool = False
    font_face: int = 0
    center_horizontally: bool = False
    center_vertically: bool = False
    outline_thickness: float = 0.0
    outline_color: Color = BLACK


Shape: TypeAlias = (
    Rectangle
    | FilledRectangle
    | Oval
    | FilledOval
    | Point
    | Line
    | Arrow
    | Text
    | RoundedRectangle
    | FilledRoundedRectangle
    | GradientLine
    | Scribble
)


@dataclass(slots=True)
class RenderAnnotation:
    """One shape; `thickness` in pixels."""

    data: Shape
    color: Color = BLACK
    thickness: float = 1.0
    scene_tag: str = ""


@dataclass(frozen=True, slots=True)
class RenderData:
    """Drawn in this order."""

    render_annotations: tuple[RenderAnnotation, ...] = ()
    scene_class: str = ""
