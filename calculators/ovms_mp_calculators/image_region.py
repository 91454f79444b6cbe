"""The part of an image that goes into a tensor: a rectangle in pixels, turned around its
centre. Numbers are float32's, as MediaPipe computes with.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

if TYPE_CHECKING:
    from ovms_mp.core.tensor import Array
    from ovms_mp.formats.rect import NormalizedRect


class Region(NamedTuple):
    """In pixels; `rotation` in radians, clockwise as seen in the image."""

    center_x: float
    center_y: float
    width: float
    height: float
    rotation: float


def region_of(width: int, height: int, rect: NormalizedRect | None) -> Region:
    """The rect in an image of that size; the whole of it without a rect.

    Raises ValueError for a rect that is not finite, or of no size.
    """
    if rect is None:
        return Region(0.5 * width, 0.5 * height, width, height, 0.0)
    sides = np.array(
        [rect.x_center, rect.y_center, rect.width, rect.height], np.float32
    )
    center_x, center_y, wide, high = (
        sides * np.array([width, height] * 2, np.float32)
    ).tolist()
    found = Region(center_x, center_y, wide, high, rect.rotation)
    if not all(map(math.isfinite, (center_x, center_y, wide, high, rect.rotation))):
        raise ValueError("the ROI has values that are not finite")
    if wide <= 0 or high <= 0:
        raise ValueError(f"ROI width and height must be > 0, not {wide:g} and {high:g}")
    return found


def padded(
    region: Region, width: int, height: int
) -> tuple[Region, tuple[float, float, float, float]]:
    """The region with the aspect ratio of a tensor, and which parts of the tensor are
    added to it: left, top, right, bottom.
    """
    center_x, center_y, wide, high, rotation = region
    wanted, found = _float32(height / width), _float32(high / wide)
    if wanted > found:
        across, along = 0.0, _float32(1 - _float32(found / wanted)) / 2
        high = _float32(wide * wanted)
    else:
        across, along = _float32(1 - _float32(wanted / found)) / 2, 0.0
        wide = _float32(high / wanted)
    region = Region(center_x, center_y, wide, high, rotation)
    return region, (across, along, across, along)


def _float32(value: float) -> float:
    """Rounded: what an operation of two float32's makes, for which numpy takes longer."""
    return float(np.float32(value))


def inverse_of(region: Region, width: int, height: int) -> Array:
    """Float64 [3, 3]: from the pixels of a tensor to those of the image, as OpenCV inverts
    the way there.
    """
    corners = cv2.boxPoints(
        (
            (region.center_x, region.center_y),
            (region.width, region.height),
            np.float32(region.rotation * 180 / np.pi).item(),
        )
    )
    there = cv2.getPerspectiveTransform(corners, _corners_of(width, height))
    return cv2.invert(there)[1]


@lru_cache(maxsize=64)
def _corners_of(width: int, height: int) -> Array:
    """Float32 [4, 2], in the order of OpenCV's boxes."""
    return np.array([(0, height), (0, 0), (width, 0), (width, height)], np.float32)


def rotated_matrix(region: Region, width: int, height: int) -> Array:
    """Float32 [4, 4]: from fractions of the region to fractions of the image. z goes
    with x.
    """
    cos, sin = math.cos(region.rotation), math.sin(region.rotation)
    wide, high = region.width, region.height
    x = region.center_x - 0.5 * wide * cos + 0.5 * high * sin
    y = region.center_y - 0.5 * wide * sin - 0.5 * high * cos
    return np.array(
        [
            [wide * cos / width, -high * sin / width, 0, x / width],
            [wide * sin / height, high * cos / height, 0, y / height],
            [0, 0, wide / width, 0],
            [0, 0, 0, 1],
        ],
        np.float32,
    )
