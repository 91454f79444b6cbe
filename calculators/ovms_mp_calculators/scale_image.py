"""Images are cut to an aspect ratio and scaled: ScaleImageCalculator.

    node {
      calculator: "ScaleImageCalculator"
      input_stream: "frames"       # ImageFrame, SRGB or SRGBA; or FRAMES:frames
      output_stream: "scaled"      # ImageFrame; or FRAMES:scaled
      node_options: {
        [type.googleapis.com/mediapipe.ScaleImageCalculatorOptions] {
          target_width: 320
          target_height: 320
          output_format: SRGBA
        }
      }
    }

As MediaPipe's. What is wider than max_aspect_ratio or higher than min_aspect_ratio,
"16/9" and "9/16", loses its sides; an empty text sets no limit. The rest is scaled to fit
target_width and target_height, keeping its aspect ratio, with even sides; or to fill them
with preserve_aspect_ratio: false, with sides of multiples of scale_to_multiple_of. With
target_max_area larger images are shrunk to it. Shrinking averages; enlarging is done in
linear light, by `algorithm`, and of SRGB alone. An output_format adds an opaque alpha
channel, or leaves alpha out.

Headers of videos and other formats are not there: VIDEO_HEADER and OVERRIDE_OPTIONS are
refused, as is YCBCR420P. Alignment and post_sharpening_coefficient have no meaning.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np
from ovms_mp_protos import graph

from ovms_mp.calculator import Calculator, ContractError, Input, Options, Output
from ovms_mp.core.image import ImageFormat, ImageFrame

if TYPE_CHECKING:
    from ovms_mp.calculator import Context, NodeInfo
    from ovms_mp.core.image import Pixels

_OPTIONS: Final = graph.ScaleImageCalculatorOptions
_FORMATS: Final = {
    graph.ImageFormat.SRGB: ImageFormat.SRGB,
    graph.ImageFormat.SRGBA: ImageFormat.SRGBA,
}
_CONVERSIONS: Final = {
    ImageFormat.SRGB: cv2.COLOR_RGBA2RGB,
    ImageFormat.SRGBA: cv2.COLOR_RGB2RGBA,
}
_MAX_SIDE: Final = 1 << 15
_ENLARGING: Final = {
    _OPTIONS.DEFAULT: cv2.INTER_CUBIC,
    _OPTIONS.LINEAR: cv2.INTER_LINEAR,
    _OPTIONS.CUBIC: cv2.INTER_CUBIC,
    _OPTIONS.AREA: cv2.INTER_AREA,
    _OPTIONS.LANCZOS: cv2.INTER_LANCZOS4,
    _OPTIONS.DEFAULT_WITHOUT_UPSCALE: None,
}


class ScaleImageCalculator(Calculator):
    """Fails for images of other formats than the options say, and without pixels."""

    timestamp_offset = 0

    plain = Input(ImageFrame, "", optional=True)
    frames = Input(ImageFrame, "FRAMES", optional=True)
    plain_scaled = Output(ImageFrame, "", optional=True)
    scaled = Output(ImageFrame, "FRAMES", optional=True)
    options = Options(_OPTIONS)

    @classmethod
    def check(cls, node: NodeInfo) -> None:
        """One stream in and out, and sizes that there are."""
        if len(node.inputs) != 1 or len(node.outputs) != 1:
            raise ContractError("one input and one output are needed")
        options = node.options.get(_OPTIONS.DESCRIPTOR.full_name, _OPTIONS())
        for name in ("input_format", "output_format"):
            if options.HasField(name) and getattr(options, name) not in _FORMATS:
                raise ContractError(f"{name} is SRGB or SRGBA")
        for name in ("min_aspect_ratio", "max_aspect_ratio"):
            _ratio(getattr(options, name))
        for name in ("target_width", "target_height", "target_max_area"):
            if getattr(options, name) > _MAX_SIDE**2 or (
                name != "target_max_area" and getattr(options, name) > _MAX_SIDE
            ):
                raise ContractError(f"{name} is too large")
        if options.preserve_aspect_ratio and options.scale_to_multiple_of != 2:
            raise ContractError(
                "scale_to_multiple_of is 2 unless preserve_aspect_ratio is false"
            )

    def open(self, ctx: Context) -> None:
        """The limits."""
        options = self.options
        self._widest = _ratio(options.max_aspect_ratio)
        self._highest = _ratio(options.min_aspect_ratio)

    def process(self, ctx: Context) -> None:
        """One image."""
        frame = ctx.get(self.frames or self.plain)
        if frame is None:
            return
        made = self._format(frame)
        pixels = self._cut(frame.pixels)
        if frame.format is not made:
            pixels = cv2.cvtColor(pixels, _CONVERSIONS[made])
        width, height = self._size(pixels.shape[1], pixels.shape[0])
        scaled = ImageFrame(made, self._scaled(pixels, width, height))
        ctx.send(self.scaled or self.plain_scaled, scaled)

    def _format(self, frame: ImageFrame) -> ImageFormat:
        """The format that goes out."""
        if not (frame.width and frame.height):
            raise ValueError(
                "The input image did not have positive dimensions. dimensions: "
                f"{frame.width}x{frame.height}"
            )
        options, given = self.options, frame.format
        if options.HasField("input_format"):
            expected = _FORMATS[options.input_format]
            if given is not expected:
                raise ValueError(f"an image of {given.name}; expected {expected.name}")
        made = given
        if options.HasField("output_format"):
            made = _FORMATS[options.output_format]
        if given not in _FORMATS.values():
            raise ValueError(f"an image of {given.name}; expected SRGB or SRGBA")
        return made

    def _cut(self, pixels: Pixels) -> Pixels:
        """The middle, if the whole is too wide or too high."""
        height, width = pixels.shape[:2]
        ratio = width / height
        if math.inf in {self._widest, self._highest}:
            return pixels
        if 0 < self._widest < ratio:
            kept = int(height * self._widest) // 2 * 2
            start = (width - kept) // 2
            pixels = pixels[:, start : start + kept]
        elif 0 < ratio < self._highest:
            kept = int(width / self._highest) // 2 * 2
            start = (height - kept) // 2
            pixels = pixels[start : start + kept]
        if not pixels.size:
            raise ValueError(f"nothing is left of an image of {width}x{height}")
        return pixels

    def _size(self, width: int, height: int) -> tuple[int, int]:
        """What the part of that size is scaled to."""
        found = self._target(width, height)
        keeps_small = self.options.algorithm == _OPTIONS.DEFAULT_WITHOUT_UPSCALE
        if keeps_small and (found[0] > width or found[1] > height):
            return width, height
        return found

    def _target(self, width: int, height: int) -> tuple[int, int]:
        options = self.options
        keeps_ratio = options.preserve_aspect_ratio
        wanted = options.target_width, options.target_height
        if 0 < options.target_max_area < width * height:
            keeps_ratio = True
            wanted = -1, int(math.sqrt(options.target_max_area / (width / height)))
        if not keeps_ratio or (wanted[0] <= 0 and wanted[1] <= 0):
            multiple = max(options.scale_to_multiple_of, 1)
            sides = (
                side if side > 0 else given
                for side, given in zip(wanted, (width, height), strict=True)
            )
            wide, high = (side - side % multiple for side in sides)
            return wide, high
        if wanted[0] > 0:
            high = _even(int(wanted[0] / width * height))
            if wanted[1] <= 0 or high <= wanted[1]:
                return _even(wanted[0]), high
        if wanted[1] > 0:
            wide = _even(int(wanted[1] / height * width))
            if wanted[0] <= 0 or wide <= wanted[0]:
                return wide, _even(wanted[1])
        raise ValueError("Unable to set output dimensions based on target dimensions.")

    def _scaled(self, pixels: Pixels, width: int, height: int) -> Pixels:
        if (pixels.shape[1], pixels.shape[0]) == (width, height):
            return np.ascontiguousarray(pixels)
        if not (0 < width <= _MAX_SIDE and 0 < height <= _MAX_SIDE):
            raise ValueError(f"an image of {width}x{height} there is not")
        if pixels.shape[1] >= width and pixels.shape[0] >= height:
            return cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
        if pixels.shape[2] != 3:
            raise ValueError("only SRGB images are enlarged")
        kind = _ENLARGING[self.options.algorithm]
        assert kind is not None  # such images keep their size
        linear = cv2.LUT(pixels, _TO_LINEAR)
        enlarged: Pixels = cv2.resize(linear, (width, height), interpolation=kind)
        return np.take(_FROM_LINEAR, enlarged)


def _even(side: int) -> int:
    return max(side // 2 * 2, 1)


def _ratio(text: str) -> float:
    """0 for none. Raises ContractError for what is no ratio."""
    if not text:
        return 0.0
    try:
        over, under = map(float, text.split("/"))
    except ValueError as error:
        raise ContractError(f'"{text}" is no ratio, such as "16/9"') from error
    if over < 0 or under < 0 or (over == 0 and under == 0):
        raise ContractError(f'"{text}" is no ratio, such as "16/9"')
    return math.inf if under == 0 else over / under


def _to_linear() -> Pixels:
    """Light of 16 bits by values of sRGB."""
    values = np.arange(256) / 255
    light = np.where(
        np.arange(256) < 0.04045 * 255,
        values / 12.92,
        ((values + 0.055) / 1.055) ** 2.4,
    )
    return (light * 65535 + 0.5).astype(np.uint16)


def _from_linear() -> Pixels:
    """Values of sRGB by light of 16 bits."""
    light = np.arange(65536) / 65535
    values = np.where(
        np.arange(65536) < 0.0031308 * 65535,
        light * 12.92,
        1.055 * light ** (1 / 2.4) - 0.055,
    )
    return (values * 255 + 0.5).astype(np.uint8)


_TO_LINEAR: Final = _to_linear()
_FROM_LINEAR: Final = _from_linear()
