"""Points, of which a face has hundreds: those of one look that follow each other are
painted together, since a call of OpenCV for each takes ten times as long.

What is seen is what each of them would be by itself.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import cv2
import numpy as np

from ovms_mp_calculators.annotation_shapes import NotFinite, thickness_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ovms_mp.core.tensor import Array
    from ovms_mp.formats.render_data import RenderAnnotation
    from ovms_mp_calculators.annotation_shapes import Canvas, Corner

MANY: Final = 64
"""From so many on it is worth it."""

_LARGEST: Final = 4  # radius


def disks(canvas: Canvas, alike: Sequence[RenderAnnotation]) -> None:
    """A disk at each point that is somewhere."""
    radius = thickness_of(alike[0].thickness)
    centers: list[Corner] = []
    for each in alike:
        shape: Any = each.data
        try:
            centers.append(canvas.point(shape.x, shape.y, shape.normalized))
        except NotFinite:
            continue
    if len(centers) >= MANY and radius <= _LARGEST:
        _paint(canvas, np.array(centers).T, radius, alike[0].color)
        return
    for center in centers:
        cv2.circle(canvas.pixels, center, radius, alike[0].color, -1)


def _paint(canvas: Canvas, centers: Array, radius: int, color: Sequence[float]) -> None:
    pixels, width, height = canvas.pixels, canvas.width, canvas.height
    across, down = _disk(radius)
    x, y = centers[0][:, np.newaxis] + across, centers[1][:, np.newaxis] + down
    painted = x + width * y
    if x.min() < 0 or y.min() < 0 or x.max() >= width or y.max() >= height:
        painted = painted[(x >= 0) & (y >= 0) & (x < width) & (y < height)]
    ink = np.zeros(pixels.shape[2], np.uint8)
    ink[:3] = np.rint(color).clip(0, 255)
    kind = np.dtype((np.void, len(ink)))
    pixels.view(kind).reshape(-1).put(painted, ink.view(kind))


@lru_cache(maxsize=_LARGEST)
def _disk(radius: int) -> Array:
    """[2, n]: x and y of OpenCV's disk, from its centre."""
    side = 2 * radius + 1
    drawn = cv2.circle(
        np.zeros((side, side), np.uint8), (radius, radius), radius, 1, -1
    )
    return np.array(drawn.nonzero())[::-1] - radius
