"""Images as JPEG and PNG: OpenCvEncodedImageToImageFrameCalculator,
OpenCvImageEncoderCalculator.

    node {
      calculator: "OpenCvEncodedImageToImageFrameCalculator"
      input_stream: "encoded"    # bytes, or an array of uint8 [n]
      output_stream: "frame"     # ImageFrame: grey, RGB or RGBA, of 8 or 16 bits
      node_options: {
        [type.googleapis.com/mediapipe.OpenCvEncodedImageToImageFrameCalculatorOptions] {
          apply_orientation_from_exif_data: true
        }
      }
    }

As MediaPipe's. A picture says how large it is before it is decoded; one of more than
8192 by 8192 pixels is refused. With apply_orientation_from_exif_data it stands upright,
and alpha is left out.

The encoder makes JPEGs of GRAY8 and SRGB frames, of a quality from 0, the default, to
100. Its payload is the message mediapipe.OpenCvImageEncoderCalculatorResults, which is
UINT8 [n], the file, where it leaves a graph.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

import cv2
import numpy as np
from google.protobuf.message import Message
from ovms_mp_protos import graph

from ovms_mp.calculator import Calculator, ContractError, Input, Options, Output
from ovms_mp.core.image import ImageFormat, ImageFrame
from ovms_mp.core.picture import MAX_PIXELS, picture_size

if TYPE_CHECKING:
    from ovms_mp.calculator import Context, NodeInfo
    from ovms_mp.core.image import Pixels
    from ovms_mp.core.tensor import Array

_DECODING: Final = graph.OpenCvEncodedImageToImageFrameCalculatorOptions
_ENCODING: Final = graph.OpenCvImageEncoderCalculatorOptions
_RESULTS: Final = graph.OpenCvImageEncoderCalculatorResults
_FORMATS: Final = {
    (each.channels, each.dtype): each
    for each in ImageFormat
    if each.dtype in {np.dtype(np.uint8), np.dtype(np.uint16)}
}
_TO_RGB: Final = {3: cv2.COLOR_BGR2RGB, 4: cv2.COLOR_BGRA2RGBA}


class OpenCvEncodedImageToImageFrameCalculator(Calculator):
    """Fails for what is no JPEG or PNG, is broken, or too large."""

    timestamp_offset = 0

    encoded = Input(Any)
    frame = Output(ImageFrame)
    options = Options(_DECODING)

    def open(self, ctx: Context) -> None:
        """How pictures are read."""
        is_upright = self.options.apply_orientation_from_exif_data
        upright = cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH
        self._flags = upright if is_upright else cv2.IMREAD_UNCHANGED

    def process(self, ctx: Context) -> None:
        """One picture."""
        data = _octets(ctx[self.encoded])
        size = picture_size(data)
        if size is None:
            raise ValueError("expected JPEG or PNG")
        if size[0] * size[1] > MAX_PIXELS:
            raise ValueError(
                f"a picture of {size[0]}x{size[1]}; at most {MAX_PIXELS} pixels"
            )
        pixels = _decoded(data, self._flags)
        image_format = _FORMATS.get((pixels.shape[2], pixels.dtype))
        if image_format is None:
            raise ValueError(
                f"Unsupported number of channels: {pixels.shape[2]} of {pixels.dtype}"
            )
        ctx.send(self.frame, ImageFrame(image_format, pixels))


class OpenCvImageEncoderCalculator(Calculator):
    """Fails for frames of other formats, and without pixels."""

    timestamp_offset = 0

    frame = Input(ImageFrame)
    encoded: Output[Any] = Output(Message)
    options = Options(_ENCODING)

    @classmethod
    def check(cls, node: NodeInfo) -> None:
        """A quality that there is."""
        options = node.options.get(_ENCODING.DESCRIPTOR.full_name, _ENCODING())
        if not 0 <= options.quality <= 100:
            raise ContractError(f"quality is 0 to 100, not {options.quality}")

    def process(self, ctx: Context) -> None:
        """One frame."""
        frame = ctx[self.frame]
        if frame.format not in {ImageFormat.GRAY8, ImageFormat.SRGB}:
            raise ValueError(
                f"Unsupported format: {frame.format.name}; expected GRAY8 or SRGB"
            )
        if not (0 < frame.width < 1 << 16 and 0 < frame.height < 1 << 16):
            raise ValueError(
                f"an image of {frame.width}x{frame.height} cannot be a JPEG"
            )
        is_gray = frame.format is ImageFormat.GRAY8
        pixels = frame.pixels
        if not is_gray:
            pixels = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
        quality = [cv2.IMWRITE_JPEG_QUALITY, self.options.quality]
        _, octets = cv2.imencode(".jpg", pixels, quality)
        made = _RESULTS(
            encoded_image=octets.tobytes(),
            height=frame.height,
            width=frame.width,
            colorspace=_RESULTS.GRAYSCALE if is_gray else _RESULTS.RGB,
        )
        ctx.send(self.encoded, made)


def _octets(payload: object) -> bytes:
    if isinstance(payload, bytes):
        return payload
    if isinstance(payload, np.ndarray):
        array = cast("Array", payload)
        if array.dtype == np.uint8 and array.ndim == 1:
            return array.tobytes()
    what = type(cast("object", payload)).__name__
    raise TypeError(f"an encoded image is bytes or an array of uint8 [n], not {what}")


def _decoded(data: bytes, flags: int) -> Pixels:
    """[height, width, channels], in RGB."""
    try:
        found: Any = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:
        found = None
    if found is None:
        raise ValueError("the image is broken")
    pixels = cast("Pixels", found)
    if pixels.ndim == 2:
        return pixels[:, :, np.newaxis]
    return cv2.cvtColor(pixels, _TO_RGB[pixels.shape[2]])
