"""A part of an image, turned upright: ImageCroppingCalculator.

    node {
      calculator: "ImageCroppingCalculator"
      input_stream: "IMAGE:frame"        # ImageFrame
      input_stream: "NORM_RECT:roi"      # NormalizedRect; or RECT: Rect
      output_stream: "IMAGE:part"        # ImageFrame of the same format
      node_options: {
        [type.googleapis.com/mediapipe.ImageCroppingCalculatorOptions] {
          border_mode: BORDER_REPLICATE
        }
      }
    }

As MediaPipe's on a CPU: pixels are taken as they are, from the nearest place. Where the
part is comes from one of RECT, NORM_RECT, WIDTH and HEIGHT, or the options width and
height, or norm_width and norm_height; of the last three the centre is the image's, or
norm_center_x and norm_center_y, and `rotation` turns them. A rect of no size is the
whole image. What lies outside is black, or the border's pixel. With output_max_width and
output_max_height the part is shrunk to fit them.

An image without its rect gives nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np
from ovms_mp_protos import graph

from ovms_mp.calculator import (
    Calculator,
    ContractError,
    Input,
    Options,
    Output,
    tagged,
)
from ovms_mp.core.image import ImageFrame
from ovms_mp.formats.rect import NormalizedRect, Rect

if TYPE_CHECKING:
    from ovms_mp.calculator import Context, NodeInfo
    from ovms_mp.core.image import Pixels

_OPTIONS: Final = graph.ImageCroppingCalculatorOptions
_MAX_SIDE: Final = (1 << 15) - 2
_BORDERS: Final = {
    _OPTIONS.BORDER_ZERO: cv2.BORDER_CONSTANT,
    _OPTIONS.BORDER_REPLICATE: cv2.BORDER_REPLICATE,
}


@dataclass(frozen=True, slots=True)
class _Part:
    """In pixels; `rotation` in radians, clockwise as seen in the image."""

    width: int
    height: int
    center_x: float
    center_y: float
    rotation: float = 0.0


class ImageCroppingCalculator(Calculator):
    """Fails for images without pixels, and for parts of no or of too many pixels."""

    timestamp_offset = 0

    frame = Input(ImageFrame, "IMAGE")
    rect = Input(Rect, "RECT", optional=True)
    norm_rect = Input(NormalizedRect, "NORM_RECT", optional=True)
    width = Input(int, "WIDTH", optional=True)
    height = Input(int, "HEIGHT", optional=True)
    part = Output(ImageFrame, "IMAGE")
    options = Options(_OPTIONS)

    @classmethod
    def check(cls, node: NodeInfo) -> None:
        """One way to say which part."""
        options = node.options.get(_OPTIONS.DESCRIPTOR.full_name, _OPTIONS())
        ways = (
            bool(tagged(node.inputs, "RECT")),
            bool(tagged(node.inputs, "NORM_RECT")),
            bool(tagged(node.inputs, "WIDTH") and tagged(node.inputs, "HEIGHT")),
            options.HasField("norm_width") and options.HasField("norm_height"),
            options.HasField("width") and options.HasField("height"),
        )
        if sum(ways) != 1:
            raise ContractError("Illegal combination of input streams/options.")
        if options.border_mode not in _BORDERS:
            raise ContractError("border_mode is BORDER_ZERO or BORDER_REPLICATE")
        for name in ("output_max_width", "output_max_height"):
            if options.HasField(name) and getattr(options, name) < 1:
                raise ContractError(f"{name} is at least 1")

    def process(self, ctx: Context) -> None:
        """One image."""
        frame = ctx.get(self.frame)
        if frame is None:
            return
        if not (0 < frame.width <= _MAX_SIDE and 0 < frame.height <= _MAX_SIDE):
            raise ValueError(
                f"an image of {frame.width}x{frame.height}; "
                f"expected 1x1 to {_MAX_SIDE}x{_MAX_SIDE}"
            )
        for each in (self.rect, self.norm_rect, self.width, self.height):
            if each and not ctx.has(each):
                return
        part = self._placed(self._part(ctx, frame))
        if not (0 < part.width <= _MAX_SIDE and 0 < part.height <= _MAX_SIDE):
            raise ValueError(
                f"a part of {part.width}x{part.height}; "
                f"expected 1x1 to {_MAX_SIDE}x{_MAX_SIDE}"
            )
        pixels = self._cropped(frame.pixels, part)
        ctx.send(self.part, ImageFrame(frame.format, pixels))

    def _part(self, ctx: Context, frame: ImageFrame) -> _Part:
        width, height = frame.width, frame.height
        whole = _Part(width, height, width / 2, height / 2)
        if self.rect:
            rect = ctx[self.rect]
            if rect.width <= 0 or rect.height <= 0:
                return whole
            _check_finite(rect.rotation)
            return _Part(
                rect.width, rect.height, rect.x_center, rect.y_center, rect.rotation
            )
        if self.norm_rect:
            norm = ctx[self.norm_rect]
            sides = (norm.width, norm.height, norm.x_center, norm.y_center)
            _check_finite(*sides, norm.rotation)
            if norm.width <= 0 or norm.height <= 0:
                return whole
            wide, high, x, y = (
                np.array(sides, np.float32) * np.array([width, height] * 2, np.float32)
            ).tolist()
            return _Part(_rounded(wide), _rounded(high), x, y, norm.rotation)
        return self._optional(ctx, whole)

    def _optional(self, ctx: Context, whole: _Part) -> _Part:
        """Of a size that is said without a place."""
        options = self.options
        if self.width and self.height:
            width, height = ctx[self.width], ctx[self.height]
        elif options.HasField("width"):
            width, height = options.width, options.height
        else:
            width, height = whole.width, whole.height
            if options.norm_width > 0 and options.norm_height > 0:
                width = _rounded(
                    float(np.float32(options.norm_width) * np.float32(width))
                )
                height = _rounded(
                    float(np.float32(options.norm_height) * np.float32(height))
                )
        x, y = whole.center_x, whole.center_y
        if options.HasField("norm_center_x") and options.HasField("norm_center_y"):
            x = float(np.float32(options.norm_center_x) * np.float32(whole.width))
            y = float(np.float32(options.norm_center_y) * np.float32(whole.height))
        return _Part(width, height, x, y, options.rotation)

    def _placed(self, part: _Part) -> _Part:
        """One that is not turned begins at a whole pixel."""
        if part.rotation != 0:
            return part
        return _Part(
            part.width,
            part.height,
            _settled(part.center_x, part.width),
            _settled(part.center_y, part.height),
        )

    def _cropped(self, pixels: Pixels, part: _Part) -> Pixels:
        options = self.options
        width, height = np.float32(part.width), np.float32(part.height)
        scale = np.float32(1)
        if options.HasField("output_max_width"):
            scale = min(scale, np.float32(options.output_max_width) / width)
        if options.HasField("output_max_height"):
            scale = min(scale, np.float32(options.output_max_height) / height)
        corners = cv2.boxPoints(
            (
                (part.center_x, part.center_y),
                (part.width, part.height),
                np.float32(part.rotation * 180 / np.pi).item(),
            )
        )
        wide, high = width * scale, height * scale
        target = np.array([(0, high), (0, 0), (wide, 0), (wide, high)], np.float32)
        projection = cv2.getPerspectiveTransform(corners, target)
        # Of corners of pixels, where OpenCV means their middles.
        to_corners = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
        to_middles = np.array([[1, 0, -0.5], [0, 1, -0.5], [0, 0, 1]])
        size = max(1, int(wide)), max(1, int(high))
        cropped = cv2.warpPerspective(
            pixels,
            to_middles @ projection @ to_corners,
            size,
            flags=cv2.INTER_NEAREST,
            borderMode=_BORDERS[options.border_mode],
        )
        # OpenCV drops the axis of a single channel.
        return cropped.reshape(size[1], size[0], pixels.shape[2])


def _check_finite(*values: float) -> None:
    if not all(map(math.isfinite, values)):
        raise ValueError("the rect has values that are not finite")


def _rounded(value: float) -> int:
    """A half goes away from zero, as C++ rounds."""
    return int(math.copysign(math.floor(abs(value) + 0.5), value))


def _settled(center: float, size: int) -> float:
    """The centre of a part of `size` pixels that begins at one."""
    if size % 2 == 0:
        return float(_rounded(center))
    return _rounded(center + 0.5) - 0.5
