"""What a tracker knows is drawn on the frame it knows it from: TrackOverlayCalculator.

    node {
      calculator: "TrackOverlayCalculator"
      input_stream: "IMAGE:frame"           # ImageFrame, SRGB
      input_stream: "TRACKS:tracks"         # [M, 7] FP32
      output_stream: "IMAGE:annotated"      # ImageFrame, SRGB, of the frame's size
      node_options: {
        [type.googleapis.com/ovms_mp.TrackOverlayCalculatorOptions] {
          line_thickness: 2
          label: "person"
        }
      }
    }

A row of tracks is x0, y0, x1, y1 as fractions of the frame's width and height, score,
class, id. An id has one colour, in every frame and every stream.
"""

from __future__ import annotations

import colorsys
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

import cv2
import numpy as np
from ovms_mp_protos import graph

from ovms_mp.calculator import (
    Calculator,
    ContractError,
    Input,
    Options,
    Output,
    TensorInfo,
    tagged,
)
from ovms_mp.core.image import ImageFormat, ImageFrame, Pixels
from ovms_mp.core.tensor import Array

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ovms_mp.calculator import Context, InferenceSession, NodeInfo

Colour: TypeAlias = tuple[int, int, int]

_OPTIONS: Final = graph.TrackOverlayCalculatorOptions

_BLACK: Final[Colour] = (0, 0, 0)
_WHITE: Final[Colour] = (255, 255, 255)
_FONT: Final = cv2.FONT_HERSHEY_SIMPLEX
_TRACK_COLUMNS: Final = 7
_THICKEST: Final = 255  # OpenCV's limit is 32767; nobody wants to see that

# Steps of the golden ratio around the colour circle never come close to a recent one.
_HUE_STEP: Final = 0.618034


class Style(NamedTuple):
    """How tracks are drawn: pixels, and a text before each id."""

    line_thickness: int = 2
    label: str = ""


class _Box(NamedTuple):
    """Pixels, inside the frame."""

    left: int
    top: int
    right: int
    bottom: int


def colour_of(track_id: int) -> Colour:
    """A track's colour as RGB."""
    # Every second lap is paler: neighbours on the circle differ in more than hue.
    saturation = 0.9 if track_id % 2 else 0.65
    red, green, blue = colorsys.hsv_to_rgb(track_id * _HUE_STEP % 1, saturation, 1)
    return round(255 * red), round(255 * green), round(255 * blue)


def draw_tracks(pixels: Pixels, tracks: Array, style: Style) -> Pixels:
    """A copy of `pixels` [H, W, 3] uint8 RGB, with a box and a label for each row of
    `tracks` [M, 7] that is finite; what lies outside of the frame is cut off.

    Raises ValueError for tracks of another shape.
    """
    if tracks.ndim != 2 or tracks.shape[1] != _TRACK_COLUMNS:
        msg = f"tracks have shape [M, 7], not {list(tracks.shape)}"
        raise ValueError(msg)
    canvas = np.array(pixels, order="C")
    height, width, _ = canvas.shape
    limits = np.array([width, height, width, height])
    rows = tracks[np.isfinite(tracks).all(axis=1)].astype(np.float64)
    corners = np.clip(rows[:, :4] * limits, 0, limits - 1).round().astype(int)
    placed = [
        (_Box(*corner), int(track_id))
        for corner, track_id in zip(corners.tolist(), rows[:, 6].tolist(), strict=True)
    ]
    for box, track_id in placed:
        _draw_box(canvas, box, colour_of(track_id), style.line_thickness)
    # Labels last: no box of a neighbour crosses them.
    for box, track_id in placed:
        text = f"{style.label} {track_id}" if style.label else str(track_id)
        _draw_label(canvas, _outline(box, style), text, colour_of(track_id))
    return canvas


def _outline(box: _Box, style: Style) -> _Box:
    """Where the drawn lines end: half of them lies outside of the box."""
    half = style.line_thickness // 2
    return box._replace(left=box.left - half, top=box.top - half)


def _draw_box(canvas: Pixels, box: _Box, colour: Colour, thickness: int) -> None:
    corners = (box.left, box.top), (box.right, box.bottom)
    cv2.rectangle(canvas, *corners, color=colour, thickness=thickness)


def _draw_label(canvas: Pixels, box: _Box, text: str, colour: Colour) -> None:
    """Above the box, or inside where the frame ends above it."""
    height, width, _ = canvas.shape
    scale = max(0.4, height / 1150)
    weight = max(1, round(2 * scale))
    (text_width, text_height), _ = cv2.getTextSize(text, _FONT, scale, weight)
    margin = max(2, round(text_height / 4))
    across, down = text_width + 2 * margin, text_height + 2 * margin
    left = max(0, min(box.left, width - across))
    top = box.top - down if box.top >= down else box.top
    right, bottom = left + across, top + down
    cv2.rectangle(canvas, (left, top), (right, bottom), colour, cv2.FILLED)
    red, green, blue = colour
    # Luma of BT.601: which of black and white stands out more.
    is_bright = 0.299 * red + 0.587 * green + 0.114 * blue > 127
    origin = (left + margin, bottom - margin)
    ink = _BLACK if is_bright else _WHITE
    cv2.putText(canvas, text, origin, _FONT, scale, ink, weight, cv2.LINE_AA)


class TrackOverlayCalculator(Calculator):
    """Draws on a copy: whoever else reads the frame sees it as it was.

    A frame without tracks at its timestamp goes out as it came.
    """

    timestamp_offset = 0

    frame = Input(ImageFrame, "IMAGE")
    tracks: Input[Array] = Input(np.ndarray, "TRACKS")
    annotated = Output(ImageFrame, "IMAGE")
    options = Options(_OPTIONS)

    @classmethod
    def check(cls, node: NodeInfo) -> None:
        """Refuse lines without a thickness."""
        options = node.options.get(_OPTIONS.DESCRIPTOR.full_name, _OPTIONS())
        if not 1 <= options.line_thickness <= _THICKEST:
            msg = (
                f"line_thickness is between 1 and {_THICKEST}, "
                f"not {options.line_thickness}"
            )
            raise ContractError(msg)

    @classmethod
    def known_tensors(
        cls, node: NodeInfo, shared: Any, sessions: Mapping[str, InferenceSession]
    ) -> Mapping[str, TensorInfo]:
        """Frames in RGB, and tracks."""
        infos = [
            *(
                TensorInfo(each.name, "FP32", (-1, 7))
                for each in tagged(node.inputs, "TRACKS")
            ),
            *(
                TensorInfo(each.name, "UINT8", (-1, -1, 3))
                for each in (*tagged(node.inputs, "IMAGE"), *node.outputs)
            ),
        ]
        return {info.name: info for info in infos}

    def open(self, ctx: Context) -> None:
        """Take the style from the options."""
        options = self.options
        self._style = Style(options.line_thickness, options.label)

    def process(self, ctx: Context) -> None:
        """One frame out for each frame in."""
        frame = ctx.get(self.frame)
        tracks = ctx.get(self.tracks)
        if frame is None:
            return
        if tracks is None:
            ctx.send(self.annotated, frame)
            return
        if frame.format is not ImageFormat.SRGB:
            msg = f"frames are SRGB, not {frame.format.name}"
            raise ValueError(msg)
        pixels = draw_tracks(frame.pixels, tracks, self._style)
        ctx.send(self.annotated, ImageFrame(ImageFormat.SRGB, pixels))
