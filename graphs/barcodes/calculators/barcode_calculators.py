"""Barcodes, QR codes and their like are read in frames: BarcodeCalculator.

    node {
      calculator: "BarcodeCalculator"
      input_stream: "IMAGE:frame"           # ImageFrame, SRGB, SRGBA or GRAY8
      output_stream: "TEXTS:texts"          # list of str
      output_stream: "FORMATS:formats"      # list of str: EAN13, QRCode, ...
      output_stream: "CORNERS:corners"      # FP32 [codes, 4, 2], fractions of the frame
      output_stream: "RENDER_DATA:drawn"    # RenderData
    }

For each frame the codes from the top to the bottom. Corners are the top left one of the
code as it is read, the top right, bottom right and bottom left. Streams that nobody wants
may be left out. The library zxing-cpp does the reading.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import cv2
import numpy as np
import zxingcpp
from numpy.typing import NDArray

from ovms_mp.calculator import Calculator, Input, Output, TensorInfo
from ovms_mp.core.image import ImageFormat, ImageFrame
from ovms_mp.formats.render_data import Color, Line, RenderAnnotation, RenderData, Text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ovms_mp.calculator import Context, InferenceSession, NodeInfo

Floats = NDArray[np.float32]

_GREY_FROM: Final = {
    ImageFormat.SRGB: cv2.COLOR_RGB2GRAY,
    ImageFormat.SRGBA: cv2.COLOR_RGBA2GRAY,
}
_KINDS: Final = {
    "TEXTS": ("BYTES", (-1,)),
    "FORMATS": ("BYTES", (-1,)),
    "CORNERS": ("FP32", (-1, 4, 2)),
}
_GREEN: Final = Color(0, 170, 70)
_WHITE: Final = Color(255, 255, 255)
_LINE: Final = 3.0  # pixels
_TEXT_HEIGHT: Final = 0.03  # of the frame


class BarcodeCalculator(Calculator):
    """A frame without a code has empty lists."""

    timestamp_offset = 0

    frame = Input(ImageFrame, "IMAGE")
    texts: Output[list[str]] = Output(list, "TEXTS", optional=True)
    formats: Output[list[str]] = Output(list, "FORMATS", optional=True)
    corners: Output[Floats] = Output(np.ndarray, "CORNERS", optional=True)
    drawn = Output(RenderData, "RENDER_DATA", optional=True)

    @classmethod
    def known_tensors(
        cls, node: NodeInfo, shared: Any, sessions: Mapping[str, InferenceSession]
    ) -> Mapping[str, TensorInfo]:
        """What metadata tell of the graph."""
        return {
            port.name: TensorInfo(port.name, *_KINDS[port.tag])
            for port in node.outputs
            if port.tag in _KINDS
        }

    def process(self, ctx: Context) -> None:
        """One frame. Raises ValueError for one of more than 8 bits."""
        frame = ctx[self.frame]
        codes = zxingcpp.read_barcodes(_grey(frame))
        codes.sort(
            key=lambda code: (code.position.top_left.y, code.position.top_left.x)
        )
        size = np.array([frame.width, frame.height], np.float32)
        corners = _corners(codes) / size
        if self.texts:
            ctx.send(self.texts, [code.text for code in codes])
        if self.formats:
            ctx.send(self.formats, [code.format.name for code in codes])
        if self.corners:
            ctx.send(self.corners, corners)
        if self.drawn:
            ctx.send(self.drawn, RenderData(tuple(_drawn(codes, corners))))


def _grey(frame: ImageFrame) -> NDArray[np.uint8]:
    """The frame as [height, width]."""
    if frame.format is ImageFormat.GRAY8:
        return np.ascontiguousarray(frame.pixels[:, :, 0])
    if frame.format not in _GREY_FROM:
        raise ValueError(f"frames are SRGB, SRGBA or GRAY8, not {frame.format.name}")
    return np.asarray(cv2.cvtColor(frame.pixels, _GREY_FROM[frame.format]), np.uint8)


def _corners(codes: list[zxingcpp.Barcode]) -> Floats:
    """[codes, 4, 2], in pixels."""
    places = [code.position for code in codes]
    points = [
        (at.top_left, at.top_right, at.bottom_right, at.bottom_left) for at in places
    ]
    pairs = [[(each.x, each.y) for each in corners] for corners in points]
    return np.array(pairs, np.float32).reshape(-1, 4, 2)


def _drawn(
    codes: list[zxingcpp.Barcode], corners: Floats
) -> Iterator[RenderAnnotation]:
    """A line around each code, and below it what it says."""
    for code, places in zip(codes, corners.tolist(), strict=True):
        for start, end in pairwise([*places, places[0]]):
            yield RenderAnnotation(Line(*start, *end, normalized=True), _GREEN, _LINE)
        left = min(x for x, _ in places)
        baseline = max(y for _, y in places) + 1.6 * _TEXT_HEIGHT
        words = Text(
            code.text,
            left,
            baseline,
            _TEXT_HEIGHT,
            normalized=True,
            outline_thickness=_LINE,
        )
        yield RenderAnnotation(words, _WHITE, 2.0)
