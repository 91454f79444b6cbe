"""Parts of images, turned and scaled: pixel for pixel what OpenCV's warpPerspective makes
of them by linear interpolation, in less time.

Half of its time is for where in the image each pixel of the part is: of what comes again
and again that is asked once. And a pixel beyond an edge takes twice the time of others,
though all that is beyond it is known from one row or column: of a person who stands at the
side of an image that is most of the part.

A part is a target of pixels, and the matrix [3, 3] from there to the image.
"""

from __future__ import annotations

import math
from functools import lru_cache
from operator import attrgetter
from typing import TYPE_CHECKING, Final, NamedTuple

import cv2
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import TypeAlias

    from ovms_mp.core.image import Pixels
    from ovms_mp.core.tensor import Array

    Row: TypeAlias = Sequence[float]
    Rows: TypeAlias = Sequence[Row]

_HOW: Final = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
# OpenCV goes through a target in blocks of so many pixels, and mixes pixels in 32 steps
# from one to the next.
_BLOCK: Final = 1024
_BLOCK_HEIGHT: Final = 16
_STEP_BITS: Final = 5
_LAST_STEP: Final = (1 << _STEP_BITS) - 1
# Places are rounded to a step.
_STEP: Final = 1 / 32
_SHORT: Final = np.iinfo(np.int16)
# OpenCV's fast way reads so many columns from where a pixel is. That few beyond an edge
# are not worth a copy of the image.
_REACH: Final = 4
_FEW: Final = 3
# A band of fewer pixels is not worth calls of its own.
_LEAST_BAND: Final = 1 << 12
# Beyond, OpenCV's maps do not fit their integers.
MAX_SIDE: Final = (1 << 15) - 2
# As many pixels as a target has are made faster than OpenCV looks for an eighth of them
# outside of an image.
_FEW_TIMES: Final = 8
_FIRST: Final = (0.0, 0.0, 0.0)

KEPT_PLACES: Final = 8
"""Pairs of a whole image's size and a target's whose places are remembered."""


class Places(NamedTuple):
    """For cv2.remap: whole pixels, int16 [height, width, 2], and steps to the next."""

    whole: Array
    steps: Array


@lru_cache(maxsize=KEPT_PLACES)
def places(inverse: tuple[float, ...], width: int, height: int) -> Places:
    """Where in the image each pixel of a target is, to the last bit as warpPerspective
    has it: its sums in its order, of doubles. `inverse` is row by row.
    """
    wide = min(width, _BLOCK // min(height, _BLOCK_HEIGHT))
    column, row = np.arange(width), np.arange(height)[:, np.newaxis]
    in_block = column % wide
    across, down, share = (
        a * (column - in_block) + b * row + c + a * in_block
        for a, b, c in np.reshape(inverse, (3, 3))
    )
    scale = (1 << _STEP_BITS) / share
    x, y = (np.rint(each * scale).astype(np.int64) for each in (across, down))
    whole = np.stack([x >> _STEP_BITS, y >> _STEP_BITS], axis=-1)
    steps = ((y & _LAST_STEP) << _STEP_BITS) + (x & _LAST_STEP)
    return Places(
        whole.clip(_SHORT.min, _SHORT.max).astype(np.int16), steps.astype(np.uint16)
    )


class _Band(NamedTuple):
    """Whole columns or rows at one side of a target, all of them beyond an `edge`, the
    image's column or row [h, w, channels] there.
    """

    edge: Pixels
    is_columns: bool
    first: int
    last: int
    area: int


_area: Final = attrgetter("area")


def repeated(pixels: Pixels, matrix: Rows, target: Pixels) -> None:
    """Fill a target [h, w, channels] with a part of an image, the image's edges repeated
    beyond it (BORDER_REPLICATE).
    """
    height, width = pixels.shape[:2]
    high, wide = target.shape[:2]
    if height == width == 1:
        # In a tenth of the time of target[:] = pixels.
        target[0] = pixels[0]
        target[1:] = target[0]
        return
    across, down, share = matrix
    # Of one column, or one row, all places are there.
    across = across if width > 1 else _FIRST
    down = down if height > 1 else _FIRST
    extent = _extent((across, down, share), wide, high)
    if extent is not None:
        left, top, right, bottom = extent
        over = -left, -top, right - width, bottom - height
        if max(over) > _FEW or height == 1 or width == 1:
            found = _bands(pixels, (across, down, share), over, wide, high)
            band = max(found, key=_area, default=None)
            if band is not None and band.area >= min(_LEAST_BAND, wide * high):
                _in_two(pixels, matrix, target, band)
                return
            size = right - left, bottom - top
            if max(size) <= MAX_SIDE and size[0] * size[1] <= _FEW_TIMES * wide * high:
                pixels = pixels[max(0, top) : bottom, max(0, left) : right]
                x0, y0, x1, y1 = (max(0, each) for each in over)
                pixels = cv2.copyMakeBorder(
                    pixels, y0, y1, x0, x1, cv2.BORDER_REPLICATE
                )
                across = _less(across, share, left)
                down = _less(down, share, top)
    inverse = np.array((across, down, share))
    cv2.warpPerspective(
        pixels, inverse, (wide, high), target, _HOW, cv2.BORDER_REPLICATE
    )


def _extent(matrix: Rows, wide: int, high: int) -> tuple[int, int, int, int] | None:
    """Left, top, right and bottom of what OpenCV reads of an image for a target; None
    where that is not to be told.
    """
    (a, b, c), (d, e, f), (g, h, i) = matrix
    x, y = wide - 1, high - 1
    shares = i, g * x + i, h * y + i, g * x + h * y + i
    if not min(shares) > 0:
        return None
    i, j, k, last = shares
    xs = c / i, (a * x + c) / j, (b * y + c) / k, (a * x + b * y + c) / last
    ys = f / i, (d * x + f) / j, (e * y + f) / k, (d * x + e * y + f) / last
    found = min(xs), min(ys), max(xs), max(ys)
    if not all(map(math.isfinite, found)):
        return None
    left, top, right, bottom = found
    return (
        math.floor(left - _STEP),
        math.floor(top - _STEP),
        math.floor(right + _STEP) + _REACH,
        math.floor(bottom + _STEP) + 2,
    )


def _bands(
    pixels: Pixels, matrix: Rows, over: Sequence[int], wide: int, high: int
) -> Iterator[_Band]:
    """What of a target is beyond an edge of an image, for each that it goes `over`."""
    across, down, share = matrix
    height, width = pixels.shape[:2]
    left, top, right, bottom = over
    if width > 1:
        if left > 0:
            yield _band(pixels[:, :1], [-each for each in across], wide, high)
        if right > 0:
            beyond = _less(across, share, width - 1)
            yield _band(pixels[:, -1:], beyond, wide, high)
    if height > 1:
        if top > 0:
            yield _band(pixels[:1], [-each for each in down], wide, high)
        if bottom > 0:
            yield _band(pixels[-1:], _less(down, share, height - 1), wide, high)


def _band(edge: Pixels, beyond: Row, wide: int, high: int) -> _Band:
    """Where a * x + b * y + c is not negative."""
    a, b, c = beyond
    is_columns = abs(a) > abs(b)
    count, other = (wide, high) if is_columns else (high, wide)
    slope, aside = (a, b) if is_columns else (b, a)
    # At the worst end of a column or row.
    least = c + min(0.0, aside * (other - 1))
    if slope > 0:
        first, last = math.ceil(max(0.0, min(-least / slope, count))), count
    elif slope < 0:
        first, last = 0, math.floor(max(-1.0, min(-least / slope, count - 1))) + 1
    else:
        first, last = 0, count if least >= 0 else 0
    return _Band(edge, is_columns, first, last, (last - first) * other)


def _in_two(pixels: Pixels, matrix: Rows, target: Pixels, band: _Band) -> None:
    """The band by its edge, and the rest of the target."""
    high, wide = target.shape[:2]
    count = wide if band.is_columns else high
    rest = (band.last, count) if band.first == 0 else (0, band.first)
    for source, (first, last) in (band.edge, band[2:4]), (pixels, rest):
        if first == last:
            continue
        x, y = (first, 0) if band.is_columns else (0, first)
        moved = [(a, b, a * x + b * y + c) for a, b, c in matrix]
        part = target[:, first:last] if band.is_columns else target[first:last]
        repeated(source, moved, part)


def _less(row: Row, share: Row, amount: float) -> list[float]:
    """Of a matrix the row for places that are less by an amount."""
    return [each - amount * part for each, part in zip(row, share, strict=True)]
