"""How MediaPipe's graphs draw what they find, worked out by hand: of the calculators that
say it the wheel has none, but it has the one that draws.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ovms_mp.formats.detection import Detection
from ovms_mp.formats.landmark import NormalizedLandmarkList
from ovms_mp.formats.rect import NormalizedRect
from ovms_mp.formats.render_data import (
    BLACK,
    Color,
    GradientLine,
    Line,
    Oval,
    Point,
    Rectangle,
    RenderAnnotation,
    Text,
)

Shapes = list[RenderAnnotation]
Pairs = Sequence[tuple[int, int]]

WHITE = Color(255, 255, 255)
RED = Color(255, 0, 0)
GREEN = Color(0, 255, 0)
BLUE = Color(0, 0, 255)
ORANGE = Color(255, 138, 0)
CYAN = Color(0, 217, 231)
VIOLET = Color(125, 0, 122)


def lines(
    landmarks: NormalizedLandmarkList,
    pairs: Pairs,
    color: Color,
    thickness: float,
    seen: float = 0.0,
) -> Shapes:
    """Between landmarks that there are, and that are as visible as `seen`."""
    return [
        RenderAnnotation(
            Line(*_at(landmarks, a), *_at(landmarks, b), True), color, thickness
        )
        for a, b in pairs
        if max(a, b) < len(landmarks)
        and min(_visibility(landmarks, a), _visibility(landmarks, b)) >= seen
    ]


def dots(
    landmarks: NormalizedLandmarkList,
    color: Color,
    thickness: float,
    seen: float = 0.0,
) -> Shapes:
    """One for each landmark that is as visible as `seen`."""
    return [
        RenderAnnotation(Point(*_at(landmarks, each), True), color, thickness)
        for each in range(len(landmarks))
        if _visibility(landmarks, each) >= seen
    ]


def deep(landmarks: NormalizedLandmarkList, pairs: Pairs, thickness: float) -> Shapes:
    """What is near is white and large, what is far black and small."""
    depths = landmarks.points[:, 2].astype(float)
    low, high = depths.min(), max(depths.max(), 0.0)
    far = (depths - low) / (high - low + 1e-6)

    def shade(each: int) -> Color:
        return Color(*[int(255 * (1 - far[each]))] * 3)

    found = [
        RenderAnnotation(
            GradientLine(
                *_at(landmarks, a), *_at(landmarks, b), True, shade(a), shade(b)
            ),
            BLACK,
            thickness,
        )
        for a, b in pairs
    ]
    for each in range(len(landmarks)):
        gray = Color(*[255 - int(255 * far[each])] * 3)
        size = int(18 * (1 - far[each]))
        found.append(RenderAnnotation(Point(*_at(landmarks, each), True), gray, size))
    return found


def detection(
    found: Detection, color: Color, thickness: float, label: str = "0"
) -> Shapes:
    """A label with the score in hundredths, a box, and key points."""
    left, top, width, height = found.box
    line = height / 10
    score = math.floor(found.scores[0] * 100 + 0.5) / 100
    text = Text(
        f"{label},{score:g},",
        left=max(left, 0),
        baseline=min(top + line, 1),
        font_height=line * 0.9,
        normalized=True,
    )
    right, bottom = min(left + width, 1), min(top + height, 1)
    box = Rectangle(max(left, 0), max(top, 0), right, bottom, True)
    points = [Point(x, y, True) for x, y in found.keypoints.tolist()]
    return [RenderAnnotation(each, color, thickness) for each in (text, box, *points)]


def rect(found: NormalizedRect, color: Color, thickness: float) -> Shapes:
    """Turned around its middle."""
    wide, high = found.width / 2, found.height / 2
    left, top = found.x_center - wide, found.y_center - high
    right, bottom = found.x_center + wide, found.y_center + high
    shape = Rectangle(left, top, right, bottom, True, found.rotation)
    return [RenderAnnotation(shape, color, thickness)]


def title(text: str) -> Shapes:
    """In the corner, 50 pixels high."""
    where = Text(text, left=30, baseline=50 + math.ceil(50 * 1.25), font_height=50)
    return [RenderAnnotation(where, RED, 10)]


def iris(five: Any, size: tuple[int, int]) -> Shapes:
    """A circle through the four points around the first, and all five."""
    points = np.asarray(five, float)[:, :2]
    pixels = points * size
    across = [np.linalg.norm(pixels[a] - pixels[b]) for a, b in ((1, 3), (2, 4))]
    x, y = np.mean(across) / 2 / np.array(size)
    (left, top), (right, bottom) = points[0] - (x, y), points[0] + (x, y)
    ring = Oval(Rectangle(left, top, right, bottom, True))
    return [
        RenderAnnotation(ring, BLUE, 4),
        *dots(NormalizedLandmarkList(np.asarray(five, np.float32)), GREEN, 2),
    ]


def body(
    landmarks: NormalizedLandmarkList, roi: NormalizedRect, size: Any, pairs: Pairs
) -> Shapes:
    """The left orange, the right cyan, both ringed white as far as the hips."""
    scale = 0.0012 * longer_side(roi, size)
    upper = landmarks[:25]
    return [
        *lines(landmarks, pairs, WHITE, 3 * scale, seen=0.5),
        *dots(landmarks, WHITE, 3 * scale, seen=0.5),
        *dots(upper, WHITE, 5 * scale, seen=0.5),
        *dots(_some(upper, [1, 2, 3, *range(7, 25, 2)]), ORANGE, 3 * scale, seen=0.5),
        *dots(_some(upper, [4, 5, 6, *range(8, 25, 2)]), CYAN, 3 * scale, seen=0.5),
    ]


def person(found: dict[str, Any], size: Any, pairs: dict[str, Pairs]) -> Shapes:
    """A body from its shoulders to its feet, with wrists that are the hands', hands, and
    a face.
    """
    scale = 0.0008 * longer_side(found["roi"], size)
    landmarks = found["body"]
    wrists = [
        found[side][:1] if side in found else landmarks[at : at + 1]
        for side, at in (("left_hand", 15), ("right_hand", 16))
    ]
    parts = [landmarks[11:15], *wrists, landmarks[23:]]
    scores = [_scores(each) for each in parts]
    merged = NormalizedLandmarkList(
        np.concatenate([each.points for each in parts]), np.concatenate(scores)
    )
    kept = [*range(11, 17), *range(23, 33)]
    limbs = [
        (kept.index(a), kept.index(b)) for a, b in pairs["pose"] if {a, b} <= set(kept)
    ]
    shapes = [
        *lines(merged, limbs, WHITE, 3 * scale, seen=0.1),
        *dots(merged, WHITE, 3 * scale, seen=0.1),
        *dots(merged, WHITE, 5 * scale, seen=0.5),
        *dots(_some(merged, range(0, 16, 2)), ORANGE, 3 * scale, seen=0.5),
        *dots(_some(merged, range(1, 16, 2)), CYAN, 3 * scale, seen=0.5),
    ]
    for side, color in (("left_hand", ORANGE), ("right_hand", CYAN)):
        if side in found:
            hand = found[side]
            shapes += lines(hand, pairs["hands"], WHITE, 4 * scale)
            shapes += dots(hand, WHITE, 4 * scale)
            shapes += dots(hand, color, 3 * scale)
    shapes += lines(found["face"], pairs["face"], WHITE, 0.5 * scale)
    shapes += dots(found["face"], WHITE, 0.5 * scale)
    return shapes + dots(found["face"], CYAN, 0.5 * scale)


def recolored(each: RenderAnnotation) -> RenderAnnotation:
    """Half as much of each colour, of gradients as well."""
    half = Color(*(part // 2 for part in each.color))
    data: Any = each.data
    if hasattr(data, "color1"):
        both = (Color(*(255 - part for part in c)) for c in (data.color1, data.color2))
        first, second = both
        data = replace(data, color1=first, color2=second)
    return replace(each, color=half, data=data)


def thickened(each: RenderAnnotation) -> RenderAnnotation:
    return replace(each, thickness=each.thickness + 2)


def longer_side(roi: NormalizedRect, size: tuple[int, int]) -> float:
    """In pixels."""
    return max(roi.width * size[0], roi.height * size[1])


def _at(landmarks: NormalizedLandmarkList, each: int) -> tuple[float, float]:
    x, y = landmarks.points[each, :2].tolist()
    return x, y


def _scores(landmarks: NormalizedLandmarkList) -> Any:
    """Landmarks of hands have none, and are seen."""
    if landmarks.visibility is None:
        return np.ones(len(landmarks), np.float32)
    return landmarks.visibility


def _visibility(landmarks: NormalizedLandmarkList, each: int) -> float:
    return float(_scores(landmarks)[each])


def _some(
    landmarks: NormalizedLandmarkList, chosen: Iterable[int]
) -> NormalizedLandmarkList:
    places = list(chosen)
    return NormalizedLandmarkList(landmarks.points[places], _scores(landmarks)[places])
