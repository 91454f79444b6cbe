"""A rect is where something is in an image, turned around its centre
(formats/rect.proto).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class NormalizedRect:
    """Centre and size as fractions of the image's width and height; `rotation` in
    radians, clockwise as seen in the image.
    """

    x_center: float = 0.0
    y_center: float = 0.0
    width: float = 0.0
    height: float = 0.0
    rotation: float = 0.0
    rect_id: int | None = None


@dataclass(frozen=True, slots=True)
class Rect:
    """The same in whole pixels."""

    x_center: int = 0
    y_center: int = 0
    width: int = 0
    height: int = 0
    rotation: float = 0.0
    rect_id: int | None = None


def tensor_of(rects: Sequence[NormalizedRect | Rect]) -> NDArray[np.float32]:
    """Float32 [n, 5], a row each: x_center, y_center, width, height, rotation."""
    rows = [(r.x_center, r.y_center, r.width, r.height, r.rotation) for r in rects]
    return np.array(rows, np.float32).reshape(-1, 5)
