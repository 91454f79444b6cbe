"""Lines of changing colour, of which a hand has dozens: those of one look that follow each
other are drawn together, since numpy takes as long for few pixels as for many.

What is seen is what each of them would be by itself, one upon the other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from ovms_mp_calculators.annotation_shapes import NotFinite, thickness_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ovms_mp.core.image import Pixels
    from ovms_mp.core.tensor import Array
    from ovms_mp.formats.render_data import RenderAnnotation
    from ovms_mp_calculators.annotation_shapes import Canvas, Edges


def gradient_lines(canvas: Canvas, alike: Sequence[RenderAnnotation]) -> None:
    """A square at each pixel of a line that goes along the axes only, in a colour between
    those of its ends.
    """
    frame = 0, 0, canvas.width, canvas.height
    seen: list[Edges] = []
    mixed: list[tuple[int, ...]] = []
    for each in alike:
        shape: Any = each.data
        try:
            start = canvas.point(shape.x_start, shape.y_start, shape.normalized)
            end = canvas.point(shape.x_end, shape.y_end, shape.normalized)
        except NotFinite:
            continue
        is_seen, (x0, y0), (x1, y1) = cv2.clipLine(frame, start, end)
        if is_seen:
            seen.append((x0, y0, x1, y1))
            mixed.append((*shape.color1, *shape.color2))
    if seen:
        # What is larger than the image is seen no more of.
        side = min(thickness_of(alike[0].thickness), max(frame))
        colors = np.array(mixed).T.reshape(2, 3, -1)
        _paint(canvas.pixels, np.array(seen).T, colors, side)


def _paint(pixels: Pixels, ends: Array, mixed: Array, side: int) -> None:
    """`ends` is [4, n], `mixed` [2, 3, n]: the colours there."""
    height, width, channels = pixels.shape
    if ends[::2].max() + side > width or ends[1::2].max() + side > height:
        larger = cv2.copyMakeBorder(pixels, 0, side, 0, side, cv2.BORDER_CONSTANT)
        _paint(larger, ends, mixed, side)
        pixels[:] = larger[:height, :width]
        return
    total = np.abs(ends[2:] - ends[:2]).sum(axis=0)
    counts = total + side
    # Of each step, which of its line it is, and of how many.
    first, totals = np.array([counts.cumsum() - counts, total]).repeat(counts, axis=1)
    at = np.arange(len(first)) - first
    share = np.minimum(at, totals) / (totals + 1)
    one, other = mixed.repeat(counts, axis=2)
    mix = one * (1 - share)
    mix += other * share
    colors = np.zeros((len(at), channels), np.uint8)
    colors[:, :3] = np.rint(mix, out=mix).clip(0, 255, out=mix).T
    # A pixel at a time, in a third of the time that its channels take. One after the
    # other: where one line crosses another, the later one is seen.
    kind = np.dtype((np.void, channels))
    painted = _places(ends, counts, at, side, width)
    pixels.view(kind).reshape(-1).put(painted, colors.view(kind).repeat(side))


def _places(ends: Array, counts: Array, at: Array, side: int, width: int) -> Array:
    """[m, side]: what each of m steps paints, pixels by their number in an image of that
    width. A line has `counts` of them, of which `at` is the number of each.

    Of the square at each pixel that is what the next square leaves, its rear column or
    row; and of the last one all, as if the line went straight on.
    """
    x, y = ends[:2]
    way_x, way_y = ends[2:] - ends[:2]
    size_x, size_y = np.abs(way_x), np.abs(way_y)
    is_steep = size_x < size_y
    step_x, step_y = np.where(way_x < 0, -1, 1), np.where(way_y < 0, -width, width)
    on = np.where(is_steep, step_y, step_x)
    # All that is known of a line is brought to its steps at once.
    known = np.array(
        [
            np.maximum(size_x + size_y, 1),
            np.minimum(size_x, size_y),
            on,
            step_x + step_y - 2 * on,
            x + y * width,
            np.where(way_x < 0, side - 1, 0),
            np.where(way_y < 0, (side - 1) * width, 0),
            is_steep,
        ]
    )
    steps: list[Array] = list(known.repeat(counts, axis=1))
    total, short, on, turn, corner, rear_x, rear_y, is_steep = steps
    # Of OpenCV's LineIterator with 4 neighbours: so many steps before this one, and before
    # the end, have gone aside.
    turns = np.minimum(-((1 - at) * short // total), short)
    is_row = is_steep.astype(bool)
    is_row[:-1] ^= turns[1:] > turns[:-1]
    corner += on * at
    corner += turn * turns
    corner += np.where(is_row, rear_y, rear_x)
    square = np.arange(side)
    return (
        np.array([width * square, square]).take(is_row, axis=0) + corner[:, np.newaxis]
    )
