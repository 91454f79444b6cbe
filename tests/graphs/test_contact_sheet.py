"""Laws of the contact sheet."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from graphs.people_tracking.contact_sheet import (
    TILES,
    Moment,
    contact_sheet,
    encode_webp,
    moments_of,
)

RED = (255, 0, 0)


def moment(*boxes: tuple[int, int, int, int]) -> Moment:
    """A grey frame of 768 x 576 with red boxes."""
    pixels = np.full((576, 768, 3), 128, np.uint8)
    rows: list[list[float]] = []
    for left, top, right, bottom in boxes:
        pixels[top:bottom, left:right] = RED
        rows.append(
            [left / 768, top / 576, right / 768, bottom / 576, 0.9, 1, len(rows) + 1]
        )
    return Moment("frame 1", pixels, np.array(rows, np.float32).reshape(-1, 7))


def red(pixels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Pixels that are red, give and take what enlarging mixes in at the edges."""
    near = np.abs(pixels.astype(int) - np.array(RED)) < 60
    return np.asarray(near.all(axis=2))


@pytest.mark.parametrize("frames", [1, 5, 11, 12, 13, 100, 120, 1000])
def test_moments_are_spread_over_the_clip_in_order(frames: int):
    numbers = moments_of(frames)
    assert len(numbers) == min(TILES, frames)
    assert numbers == sorted(set(numbers))
    assert numbers[0] >= 0
    assert numbers[-1] < frames
    if frames >= 2 * TILES:
        gaps = np.diff(numbers)
        assert gaps.max() - gaps.min() <= 1


def test_a_sheet_has_at_most_twelve_tiles_and_grows_by_rows():
    heights = [contact_sheet([moment()] * n).shape[0] for n in range(1, TILES + 1)]
    assert heights == sorted(heights)
    assert len(set(heights)) == 3


def test_a_tile_shows_who_was_tracked_larger_than_they_were():
    box = (700, 100, 735, 200)
    assert red(contact_sheet([moment(box)])).sum() > 35 * 100


def test_a_tile_shows_most_people_rather_than_one():
    alone, pair = (20, 400, 60, 500), [(600, 100, 640, 200), (660, 120, 700, 220)]
    both = red(contact_sheet([moment(alone, *pair)])).sum()
    assert both == pytest.approx(red(contact_sheet([moment(*pair)])).sum(), rel=0.02)


def test_nobody_is_cut_off_who_fits():
    one = red(contact_sheet([moment((300, 200, 340, 300))])).sum()
    # Not the lower left corner: there the caption lies.
    for left, top in ((0, 0), (728, 0), (728, 476)):
        shown = red(contact_sheet([moment((left, top, left + 40, top + 100))]))
        assert shown.sum() > 0.97 * one


def test_a_box_larger_than_a_tile_is_shown_whole():
    box = (100, 50, 600, 550)
    shown = red(contact_sheet([moment(box)]))
    assert not shown[:8].any()
    assert not shown[:, :8].any()


def test_a_sheet_fits_into_its_bytes_and_can_be_read():
    noise = np.random.default_rng(1).integers(0, 256, (150, 200, 3), np.uint8)
    assert len(encode_webp(noise, max_bytes=10**9)) > 20_000
    encoded = encode_webp(noise, max_bytes=10_000)
    assert len(encoded) <= 10_000
    picture = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    assert picture.shape == (150, 200, 3)
