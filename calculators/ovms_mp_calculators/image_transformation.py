"""Images are scaled, turned and flipped: ImageTransformationCalculator.

    node {
      calculator: "ImageTransformationCalculator"
      input_stream: "IMAGE:frame"                    # ImageFrame
      output_stream: "IMAGE:transformed"             # ImageFrame of the same format
      output_stream: "LETTERBOX_PADDING:padding"     # left, top, right, bottom
      node_options: {
        [type.googleapis.com/mediapipe.ImageTransformationCalculatorOptions] {
          output_width: 320
          output_height: 320
          scale_mode: FIT
        }
      }
    }

As MediaPipe's on a CPU: an image is scaled, then turned counterclockwise, then flipped.
FIT keeps the aspect ratio and pads, with padding_color or the border's pixels;
FILL_AND_CROP keeps it and gives an image smaller than wanted. Shrinking averages unless
interpolation_mode is NEAREST. Of an image that is already of the size wanted the turn is
one around its middle, whose last row or column comes from outside and is black.

Size, turn and flips may come as side packets or on streams of these names, too:
OUTPUT_DIMENSIONS, (width, height), ROTATION_DEGREES, FLIP_HORIZONTALLY, FLIP_VERTICALLY.
What came on a stream stays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import cv2
import numpy as np
from ovms_mp_protos import graph

from ovms_mp.calculator import (
    Calculator,
    ContractError,
    Foreseen,
    Input,
    Options,
    Output,
    SideInput,
    tagged,
)
from ovms_mp.core.image import ImageFrame

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ovms_mp.calculator import Context, NodeInfo
    from ovms_mp.core.image import Pixels

_OPTIONS: Final = graph.ImageTransformationCalculatorOptions
_SCALE: Final = graph.ScaleMode
_MAX_SIDE: Final = 1 << 15
_DEGREES: Final = {
    graph.RotationMode.UNKNOWN: 0,
    graph.RotationMode.ROTATION_0: 0,
    graph.RotationMode.ROTATION_90: 90,
    graph.RotationMode.ROTATION_180: 180,
    graph.RotationMode.ROTATION_270: 270,
}
_TURNS: Final = {
    90: cv2.ROTATE_90_COUNTERCLOCKWISE,
    180: cv2.ROTATE_180,
    270: cv2.ROTATE_90_CLOCKWISE,
}


class ImageTransformationCalculator(Calculator):
    """Fails for images without pixels, and for sizes and turns that there are not."""

    timestamp_offset = 0
    requires_side_inputs = True

    frame = Input(ImageFrame, "IMAGE")
    dimensions: Input[tuple[int, int]] = Input(
        tuple, "OUTPUT_DIMENSIONS", optional=True
    )
    degrees = Input(int, "ROTATION_DEGREES", optional=True)
    horizontally = Input(bool, "FLIP_HORIZONTALLY", optional=True)
    vertically = Input(bool, "FLIP_VERTICALLY", optional=True)
    side_dimensions = SideInput(Any, "OUTPUT_DIMENSIONS", optional=True)
    side_degrees = SideInput(int, "ROTATION_DEGREES", optional=True)
    side_horizontally = SideInput(bool, "FLIP_HORIZONTALLY", optional=True)
    side_vertically = SideInput(bool, "FLIP_VERTICALLY", optional=True)
    transformed = Output(ImageFrame, "IMAGE")
    padding: Output[tuple[float, ...]] = Output(
        tuple, "LETTERBOX_PADDING", optional=True
    )
    options = Options(_OPTIONS)

    @classmethod
    def check(cls, node: NodeInfo) -> None:
        """Sizes are sizes."""
        options = node.options.get(_OPTIONS.DESCRIPTOR.full_name, _OPTIONS())
        for side in (options.output_width, options.output_height):
            if not 0 <= side <= _MAX_SIDE:
                raise ContractError(f"output sizes are 0 to {_MAX_SIDE}, not {side}")

    @classmethod
    def foresee(
        cls,
        node: NodeInfo,
        shared: Any,
        side_packets: Mapping[str, object],
        coming: Mapping[str, Sequence[Foreseen]],
    ) -> Mapping[str, Sequence[Foreseen]]:
        """Images of the size that the options say, if nothing else says one."""
        options = node.options.get(_OPTIONS.DESCRIPTOR.full_name, _OPTIONS())
        others = (
            *tagged(node.inputs, "OUTPUT_DIMENSIONS"),
            *tagged(node.side_inputs, "OUTPUT_DIMENSIONS"),
        )
        size = options.output_height, options.output_width
        if others or 0 in size or options.scale_mode == _SCALE.FILL_AND_CROP:
            return {}
        (port,) = tagged(node.outputs, "IMAGE")
        return {port.name: [Foreseen(f'an image of "{node.name}"', "", (*size, -1))]}

    def open(self, ctx: Context) -> None:
        """Side packets before options."""
        options = self.options
        self._size = options.output_width, options.output_height
        self._angle = _DEGREES[options.rotation_mode]
        self._flips = options.flip_horizontally, options.flip_vertically
        color = options.padding_color
        self._color = color.red, color.green, color.blue
        if self.side_dimensions:
            self._size = _checked_size(ctx.side(self.side_dimensions))
        if self.side_degrees:
            self._angle = _checked_angle(ctx.side(self.side_degrees))
        if self.side_horizontally:
            self._flips = ctx.side(self.side_horizontally), self._flips[1]
        if self.side_vertically:
            self._flips = self._flips[0], ctx.side(self.side_vertically)

    def process(self, ctx: Context) -> None:
        """What came at one timestamp."""
        if self.degrees and ctx.has(self.degrees):
            self._angle = _checked_angle(ctx[self.degrees])
        if self.horizontally and ctx.has(self.horizontally):
            self._flips = ctx[self.horizontally], self._flips[1]
        if self.vertically and ctx.has(self.vertically):
            self._flips = self._flips[0], ctx[self.vertically]
        if self.dimensions:
            if not ctx.has(self.dimensions):
                return
            self._size = _checked_size(ctx[self.dimensions])
        frame = ctx.get(self.frame)
        if frame is None:
            return
        if not frame.width or not frame.height:
            raise ValueError(f"an image of {frame.width}x{frame.height} has no pixels")
        pixels, size = self._scaled(frame)
        if self.padding:
            ctx.send(self.padding, self._padding(frame, size))
        pixels = self._flipped(self._turned(pixels, size))
        # OpenCV drops the axis of a single channel.
        pixels = np.ascontiguousarray(pixels).reshape(*pixels.shape[:2], -1)
        ctx.send(self.transformed, ImageFrame(frame.format, pixels))

    def _scaled(self, frame: ImageFrame) -> tuple[Pixels, tuple[int, int]]:
        """The image, and the (width, height) that it is to have when it is turned."""
        width, height = self._size
        if not (width and height):
            if self._angle in {90, 270}:
                return frame.pixels, (frame.height, frame.width)
            return frame.pixels, (frame.width, frame.height)
        options = self.options
        if options.scale_mode in {_SCALE.DEFAULT, _SCALE.STRETCH}:
            shrinks = frame.width > width and frame.height > height
            return self._resized(frame.pixels, width, height, shrinks), self._size
        ratio = min(
            np.float32(width) / np.float32(frame.width),
            np.float32(height) / np.float32(frame.height),
        )
        inner = [
            # A half goes up, as C++ rounds.
            min(max(1, int(float(np.float32(side) * ratio) + 0.5)), most)
            for side, most in ((frame.width, width), (frame.height, height))
        ]
        pixels = self._resized(frame.pixels, inner[0], inner[1], bool(ratio < 1))
        if options.scale_mode == _SCALE.FILL_AND_CROP:
            return pixels, (inner[0], inner[1])
        left, top = (width - inner[0]) // 2, (height - inner[1]) // 2
        boxed = cv2.copyMakeBorder(
            pixels,
            top,
            height - inner[1] - top,
            left,
            width - inner[0] - left,
            cv2.BORDER_CONSTANT if options.constant_padding else cv2.BORDER_REPLICATE,
            value=self._color,
        )
        return boxed, self._size

    def _resized(
        self, pixels: Pixels, width: int, height: int, shrinks: bool
    ) -> Pixels:
        kind = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        if self.options.interpolation_mode == _OPTIONS.NEAREST:
            kind = cv2.INTER_NEAREST
        return cv2.resize(pixels, (width, height), interpolation=kind)

    def _padding(self, frame: ImageFrame, size: tuple[int, int]) -> tuple[float, ...]:
        if self.options.scale_mode != _SCALE.FIT:
            return (0.0,) * 4
        width, height = frame.width, frame.height
        if self._angle in {90, 270}:
            width, height = height, width
        given = np.float32(width) / np.float32(height)
        wanted = np.float32(size[0]) / np.float32(size[1])
        across = float((1 - given / wanted) / np.float32(2)) if given < wanted else 0.0
        along = float((1 - wanted / given) / np.float32(2)) if wanted < given else 0.0
        return across, along, across, along

    def _turned(self, pixels: Pixels, size: tuple[int, int]) -> Pixels:
        if not self._angle:
            return pixels
        height, width = pixels.shape[:2]
        if (width, height) != size:
            return cv2.rotate(pixels, _TURNS[self._angle])
        turn = cv2.getRotationMatrix2D((width / 2, height / 2), self._angle, 1.0)
        return cv2.warpAffine(pixels, turn, size)

    def _flipped(self, pixels: Pixels) -> Pixels:
        horizontally, vertically = self._flips
        if not (horizontally or vertically):
            return pixels
        return cv2.flip(
            pixels, -1 if horizontally and vertically else int(horizontally)
        )


def _checked_size(given: Sequence[int]) -> tuple[int, int]:
    width, height = (int(each) for each in given)
    if not (0 <= width <= _MAX_SIDE and 0 <= height <= _MAX_SIDE):
        raise ValueError(f"output sizes are 0 to {_MAX_SIDE}, not {width}x{height}")
    return width, height


def _checked_angle(degrees: int) -> int:
    if degrees % 90:
        raise ValueError(f"{degrees} degrees are no multiple of 90")
    return degrees % 360
