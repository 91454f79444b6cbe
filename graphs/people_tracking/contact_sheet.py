"""A video in one picture: moments of it, in order, each cropped to where the tracks are.

Arrays are uint8 RGB, [height, width, 3]; tracks are [M, 7] as ObjectTrackerCalculator
gives them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels: TypeAlias = NDArray[np.uint8]
Boxes: TypeAlias = NDArray[np.float64]

_COLUMNS: Final = 4
_ROWS: Final = 3
TILES: Final = _COLUMNS * _ROWS

_TILE_WIDTH: Final = 400
_TILE_HEIGHT: Final = 300
_GAP: Final = 4
_BACKGROUND: Final = 24

# A box is to be seen with what is around it: a crop has at least this share of the
# frame's width, and this many times the largest box.
_CROP_WIDTH: Final = 0.42
_AROUND: Final = 1.6
_MARGIN: Final = 12

# Of the frame's height: the label above a box.
_LABEL: Final = 0.04

_MAX_BYTES: Final = 300_000
_FONT: Final = cv2.FONT_HERSHEY_SIMPLEX


@dataclass(frozen=True, slots=True)
class Moment:
    """An annotated frame, and what was drawn on it."""

    caption: str
    pixels: Pixels
    tracks: NDArray[np.float32]


def moments_of(frames: int) -> list[int]:
    """Numbers of up to 12 frames of a clip of `frames`, evenly spread, in order."""
    count = min(TILES, frames)
    return [round((number + 0.5) * frames / count - 0.5) for number in range(count)]


def contact_sheet(moments: list[Moment]) -> Pixels:
    """Up to 12 moments in rows of four, each enlarged to the same size."""
    rows = -(-len(moments) // _COLUMNS)
    columns = min(_COLUMNS, len(moments))
    step_x, step_y = _TILE_WIDTH + _GAP, _TILE_HEIGHT + _GAP
    size = (rows * step_y + _GAP, columns * step_x + _GAP, 3)
    sheet = np.full(size, _BACKGROUND, np.uint8)
    for number, moment in enumerate(moments):
        top = _GAP + number // _COLUMNS * step_y
        left = _GAP + number % _COLUMNS * step_x
        sheet[top : top + _TILE_HEIGHT, left : left + _TILE_WIDTH] = _tile(moment)
    return sheet


def encode_webp(pixels: Pixels, max_bytes: int = _MAX_BYTES) -> bytes:
    """WebP of the best quality that fits into `max_bytes`."""
    picture = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    encoded = b""
    for quality in range(90, 0, -5):
        _, data = cv2.imencode(".webp", picture, [cv2.IMWRITE_WEBP_QUALITY, quality])
        encoded = data.tobytes()
        if len(encoded) <= max_bytes:
            break
    return encoded


def _tile(moment: Moment) -> NDArray[Any]:
    height, width, _ = moment.pixels.shape
    limits = np.array([width, height, width, height])
    boxes = moment.tracks[:, :4].astype(np.float64) * limits
    boxes[:, 1] -= _LABEL * height
    crop_width, crop_height = _crop_size(boxes, width, height)
    left, top = _best_corner(boxes, (crop_width, crop_height), (width, height))
    crop = moment.pixels[top : top + crop_height, left : left + crop_width]
    size = (_TILE_WIDTH, _TILE_HEIGHT)
    tile = cv2.resize(crop, size, interpolation=cv2.INTER_CUBIC)
    _write_caption(tile, moment.caption)
    return tile


def _crop_size(boxes: Boxes, width: int, height: int) -> tuple[int, int]:
    """Width and height of a crop, in a tile's proportions, not larger than the frame."""
    aspect = _TILE_WIDTH / _TILE_HEIGHT
    across, down = (boxes[:, 2:] - boxes[:, :2]).max(axis=0, initial=0).tolist()
    wanted = max(_CROP_WIDTH * width, _AROUND * across, _AROUND * down * aspect)
    fitting = min(wanted, width, height * aspect)
    return round(fitting), min(height, round(fitting / aspect))


def _best_corner(
    boxes: Boxes, crop: tuple[int, int], frame: tuple[int, int]
) -> tuple[int, int]:
    """Where a crop begins that shows as many boxes as can be, and those in the middle;
    without boxes, the middle of the frame.
    """
    room = np.array(frame) - np.array(crop)
    shown = _fullest(boxes, crop) if len(boxes) else np.array([[0, 0, *frame]])
    middle = (shown[:, :2].min(axis=0) + shown[:, 2:].max(axis=0)) / 2
    corner = np.clip(middle - np.array(crop) / 2, 0, room).round().astype(int)
    left, top = corner.tolist()
    return left, top


def _fullest(boxes: Boxes, crop: tuple[int, int]) -> Boxes:
    """The boxes of the fullest crop; larger boxes, nearer people, decide a tie."""
    size = np.array(crop) - _MARGIN
    area = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    best = boxes[[int(area.argmax())]]
    best_rank = (1, float(area.max()))
    # A crop can be moved until boxes touch its left and its top side.
    for left in boxes[:, 0]:
        for top in boxes[:, 1]:
            start = np.array([left, top])
            inside = (boxes[:, :2] >= start).all(axis=1)
            inside &= (boxes[:, 2:] <= start + size).all(axis=1)
            rank = (int(inside.sum()), float(area[inside].sum()))
            if rank > best_rank:
                best, best_rank = boxes[inside], rank
    return best


def _write_caption(tile: NDArray[Any], caption: str) -> None:
    """In the lower left corner, on a darkened strip of its own."""
    (width, height), _ = cv2.getTextSize(caption, _FONT, 0.45, 1)
    strip = tile[-height - 12 :, : width + 14]
    strip[:] = strip // 3
    origin = (7, _TILE_HEIGHT - 6)
    cv2.putText(tile, caption, origin, _FONT, 0.45, (255, 255, 255), 1, cv2.LINE_AA)
