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

    from ovms_mp.core.tensor import Array
    from ovms_mp.formats.render_data import Color, RenderAnnotation
    from ovms_mp_calculators.annotation_shapes import Canvas, Edges


def gradient_lines(canvas: Canvas, alike: Sequence[RenderAnnotation]) -> None:
    """A square at each pixel of a line that goes along the axes only, in a colour between
    those of its ends.
    """
    frame = 0, 0, canvas.width, canvas.height
    seen: list[Edges] = []
    mixed: list[tuple[Color, Color]] = []
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
            mixed.append((shape.color1, shape.color2))
    if seen:
        side = thickness_of(alike[0].thickness)
        _paint(canvas, np.array(seen), np.array(mixed), side)


def _paint(canvas: Canvas, ends: Array, mixed: Array, side: int) -> None:
    """`ends` is [n, 4], `mixed` [n, 2, 3]: the colours there.

    Of the square at each pixel that is painted which the next square leaves, its rear
    column or row; of the last one all.
    """
    width, height = canvas.width, canvas.height
    way = ends[:, 2:] - ends[:, :2]
    counts = np.abs(way).sum(axis=1) + 1
    first = np.cumsum(counts) - counts
    line = np.repeat(np.arange(len(ends)), counts)
    axis = _axes(way, first, line)
    # Pixels by their number in the image.
    steps = (np.sign(way) * (1, width))[line, axis]
    before = np.cumsum(steps) - steps
    corners = before + (ends[:, 0] + ends[:, 1] * width - before[first])[line]
    rear, reach = (way < 0) * (side - 1), np.arange(side)
    left = corners + (rear * (1, width))[line, axis]
    left = np.ravel(left[:, np.newaxis] + np.outer(np.where(axis, 1, width), reach))
    share = (np.arange(len(line)) - first[line]) / counts[line]
    one, other = mixed.transpose(1, 2, 0)[:, :, line]
    colors = np.zeros((len(line), canvas.pixels.shape[2]), np.uint8)
    colors[:, :3] = (one * (1 - share) + other * share).round().clip(0, 255).T
    is_inside = None
    if ends[:, ::2].max() + side > width or ends[:, 1::2].max() + side > height:
        across = corners % width + np.where(axis, 0, rear[line, 0])
        across = np.ravel(across[:, np.newaxis] + np.outer(axis, reach))
        is_inside = (across < width) & (left < width * height)
    # A pixel at a time, in half of the time that its channels take.
    pixels, painted = _as_pixels(canvas.pixels), np.repeat(_as_pixels(colors), side)
    # One line after the other: where one crosses another, the later one is seen.
    for (x, y), begin, end in zip(
        ends[:, 2:].tolist(), first.tolist(), (first + counts - 1).tolist(), strict=True
    ):
        part = slice(begin * side, end * side)
        if is_inside is None:
            pixels[left[part]] = painted[part]
        else:
            pixels[left[part][is_inside[part]]] = painted[part][is_inside[part]]
        canvas.pixels[y : y + side, x : x + side] = colors[end]


def _as_pixels(channels: Array) -> Array:
    """A view with an element for each pixel, [n], of uint8 [..., channels]."""
    return channels.view(np.dtype((np.void, channels.shape[-1]))).reshape(-1)


def _axes(way: Array, first: Array, line: Array) -> Array:
    """The steps of OpenCV's LineIterator with 4 neighbours: 0 is along x, 1 along y."""
    across, down = np.abs(way).T
    long, short = np.maximum(across, down), np.minimum(across, down)
    of = np.repeat(np.arange(len(way)), short)
    turn = np.arange(len(of)) - (np.cumsum(short) - short)[of]
    is_short = np.zeros(len(line), bool)
    is_short[first[of] + turn + turn * long[of] // short[of] + 1] = True
    return (is_short ^ (across < down)[line]).astype(np.intp)
