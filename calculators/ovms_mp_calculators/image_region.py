"""The part of an image that goes into a tensor: a rectangle in pixels, turned around its
centre. Numbers are float32's, as MediaPipe computes with.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from ovms_mp.core.image import Pixels
    from ovms_mp.core.tensor import Array
    from ovms_mp.formats.rect import NormalizedRect


@dataclass(frozen=True, slots=True)
class Region:
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
    wanted = np.float32(height) / np.float32(width)
    found = np.float32(region.height) / np.float32(region.width)
    half = np.float32(2)
    if wanted > found:
        across, along = 0.0, float((1 - found / wanted) / half)
        region = replace(region, height=float(np.float32(region.width) * wanted))
    else:
        across, along = float((1 - wanted / found) / half), 0.0
        region = replace(region, width=float(np.float32(region.height) / wanted))
    return region, (across, along, across, along)


def surrounded(pixels: Pixels, corners: Array, most: int) -> tuple[Pixels, Array]:
    """What is around the `corners` [4, 2] of a part that is not all within the image, the
    image's edges repeated where it is not, and the matrix [3, 3] from there to the image;
    the image as it is, if that would be more than `most` pixels, or nothing of the image.

    OpenCV reads pixels that are there in half of the time that it takes for its border.
    """
    height, width = pixels.shape[:2]
    # One pixel more on each side, which weighs nothing.
    x0, y0 = (corners.min(axis=0) - 1).tolist()
    x1, y1 = (corners.max(axis=0) + 2).tolist()
    is_within = x0 >= 0 and y0 >= 0 and x1 <= width and y1 <= height
    is_seen = x0 < width and y0 < height and x1 > 0 and y1 > 0
    if is_within or not (is_seen and (x1 - x0 + 1) * (y1 - y0 + 1) <= most):
        return pixels, np.eye(3)
    left, top = math.floor(x0), math.floor(y0)
    right, bottom = math.ceil(x1), math.ceil(y1)
    sides = max(0, -top), max(0, bottom - height), max(0, -left), max(0, right - width)
    within = pixels[max(0, top) : bottom, max(0, left) : right]
    found = cv2.copyMakeBorder(within, *sides, cv2.BORDER_REPLICATE)
    if found.ndim < pixels.ndim:
        found = found[..., np.newaxis]
    return found, np.array([[1, 0, left], [0, 1, top], [0, 0, 1.0]])


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
