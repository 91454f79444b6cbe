"""Images in other colours: ColorConvertCalculator.

    node {
      calculator: "ColorConvertCalculator"
      input_stream: "RGB_IN:frame"    # ImageFrame, SRGB
      output_stream: "GRAY_OUT:gray"  # ImageFrame, GRAY8
    }

As MediaPipe's: from RGBA_IN, GRAY_IN or BGR_IN to RGB_OUT, from RGB_IN to GRAY_OUT or
RGBA_OUT, from BGRA_IN to RGBA_OUT. Alpha that comes in is left out unless alpha goes out,
and is full where it is made. Frames have no format of their own for BGR and BGRA: they come
as SRGB and SRGBA, as OpenCV's users send them, and BGRA_OUT there is not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import cv2

from ovms_mp.calculator import Calculator, ContractError, Input, Output, TensorInfo
from ovms_mp.core.image import ImageFormat, ImageFrame

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ovms_mp.calculator import Context, InferenceSession, NodeInfo

_CONVERSIONS: Final = {
    ("RGBA_IN", "RGB_OUT"): cv2.COLOR_RGBA2RGB,
    ("GRAY_IN", "RGB_OUT"): cv2.COLOR_GRAY2RGB,
    ("RGB_IN", "GRAY_OUT"): cv2.COLOR_RGB2GRAY,
    ("RGB_IN", "RGBA_OUT"): cv2.COLOR_RGB2RGBA,
    ("BGR_IN", "RGB_OUT"): cv2.COLOR_BGR2RGB,
    ("BGRA_IN", "RGBA_OUT"): cv2.COLOR_BGRA2RGBA,
}
_FORMATS: Final = {
    "GRAY": ImageFormat.GRAY8,
    "RGB": ImageFormat.SRGB,
    "RGBA": ImageFormat.SRGBA,
    "BGR": ImageFormat.SRGB,
    "BGRA": ImageFormat.SRGBA,
}


class ColorConvertCalculator(Calculator):
    """Fails for images of another format than the stream's tag says, and without
    pixels.
    """

    timestamp_offset = 0

    rgb = Input(ImageFrame, "RGB_IN", optional=True)
    rgba = Input(ImageFrame, "RGBA_IN", optional=True)
    gray = Input(ImageFrame, "GRAY_IN", optional=True)
    bgr = Input(ImageFrame, "BGR_IN", optional=True)
    bgra = Input(ImageFrame, "BGRA_IN", optional=True)
    rgb_made = Output(ImageFrame, "RGB_OUT", optional=True)
    rgba_made = Output(ImageFrame, "RGBA_OUT", optional=True)
    gray_made = Output(ImageFrame, "GRAY_OUT", optional=True)

    @classmethod
    def check(cls, node: NodeInfo) -> None:
        """A conversion that there is."""
        tags = [each.tag for each in (*node.inputs, *node.outputs)]
        if tuple(tags) not in _CONVERSIONS:
            known = ", ".join(f"{a} to {b}" for a, b in _CONVERSIONS)
            raise ContractError(f"{' to '.join(tags)} is none of: {known}")

    @classmethod
    def known_tensors(
        cls, node: NodeInfo, shared: Any, sessions: Mapping[str, InferenceSession]
    ) -> Mapping[str, TensorInfo]:
        """Bytes, and how many of a pixel."""
        return {
            each.name: TensorInfo(
                each.name, "UINT8", (-1, -1, _format(each.tag).channels)
            )
            for each in (*node.inputs, *node.outputs)
        }

    def open(self, ctx: Context) -> None:
        """Which conversion."""
        given, made = self.node.inputs[0].tag, self.node.outputs[0].tag
        self._source: Any = self.rgb or self.rgba or self.gray or self.bgr or self.bgra
        self._target: Any = self.rgb_made or self.rgba_made or self.gray_made
        self._code = _CONVERSIONS[given, made]
        self._given, self._made = _format(given), _format(made)

    def process(self, ctx: Context) -> None:
        """One image."""
        frame: ImageFrame = ctx[self._source]
        if frame.format is not self._given:
            raise ValueError(
                f"an image of {frame.format.name}; expected {self._given.name}"
            )
        if not (frame.width and frame.height):
            raise ValueError(f"an image of {frame.width}x{frame.height} has no pixels")
        pixels = cv2.cvtColor(frame.pixels, self._code)
        # OpenCV drops the axis of a single channel.
        pixels = pixels.reshape(frame.height, frame.width, self._made.channels)
        ctx.send(self._target, ImageFrame(self._made, pixels))


def _format(tag: str) -> ImageFormat:
    return _FORMATS[tag.partition("_")[0]]
