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
        _paint(canvas.pixels, np.array(seen), colors, side)


def _paint(pixels: Pixels, ends: Array, mixed: Array, side: int) -> None:
    """`ends` is [n, 4], `mixed` [2, 3, n]: the colours there."""
    height, width, channels = pixels.shape
    if ends[:, ::2].max() + side > width or ends[:, 1::2].max() + side > height:
        larger = cv2.copyMakeBorder(pixels, 0, side, 0, side, cv2.BORDER_CONSTANT)
        _paint(larger, ends, mixed, side)
        pixels[:] = larger[:height, :width]
        return
    total = np.abs(ends[:, 2:] - ends[:, :2]).sum(axis=1)
    counts = total + side
    line = np.arange(len(ends)).repeat(counts)
    at = np.arange(len(line)) - (counts.cumsum() - counts)[line]
    share = np.minimum(at, total[line]) / (total + 1)[line]
    one, other = mixed.take(line, axis=2)
    colors = np.zeros((len(line), channels), np.uint8)
    colors[:, :3] = (one * (1 - share) + other * share).round().clip(0, 255).T
    # A pixel at a time, in half of the time that its channels take. One after the other:
    # where one line crosses another, the later one is seen.
    kind = np.dtype((np.void, channels))
    painted = _places(ends, line, at, side, width)
    pixels.view(kind).reshape(-1)[painted] = colors.view(kind)


def _places(ends: Array, line: Array, at: Array, side: int, width: int) -> Array:
    """[m, side]: what each of m steps paints, pixels by their number in an image of that
    width. `line` is that of a step, and `at` its number there.

    Of the square at each pixel that is what the next square leaves, its rear column or
    row; and of the last one all, as if the line went straight on.
    """
    way = ends[:, 2:] - ends[:, :2]
    size = np.abs(way)
    total, short = size.sum(axis=1), size.min(axis=1)
    is_steep = size[:, 0] < size[:, 1]
    units = np.array([1, width])
    steps = np.where(way < 0, -units, units)
    # Of OpenCV's LineIterator with 4 neighbours: so many steps before this one, and before
    # the end, have gone aside.
    turns = -((1 - at) * short[line] // np.maximum(total, 1)[line])
    turns = np.minimum(turns, short[line])
    is_turn = np.empty(len(line), bool)
    np.greater(turns[1:], turns[:-1], out=is_turn[:-1])
    is_turn[-1] = False
    on = np.where(is_steep, steps[:, 1], steps[:, 0])
    more = steps.sum(axis=1) - 2 * on
    corners = (ends[:, :2] @ units)[line] + on[line] * at + more[line] * turns
    rear = np.where(way < 0, side - 1, 0) * units
    edges = rear[..., np.newaxis] + units[::-1, np.newaxis] * np.arange(side)
    axis = is_turn ^ is_steep[line]
    found = edges.reshape(-1, side).take(2 * line + axis, axis=0)
    found += corners[:, np.newaxis]
    return found
