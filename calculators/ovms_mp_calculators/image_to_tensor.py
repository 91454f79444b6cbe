"""An image, or a turned part of it, becomes a model's input: ImageToTensorCalculator.

    node {
      calculator: "ImageToTensorCalculator"
      input_stream: "IMAGE:image"                        # ImageFrame
      input_stream: "NORM_RECT:roi"                      # NormalizedRect, optional
      output_stream: "TENSORS:tensors"                   # [[1, height, width, channels]]
      output_stream: "LETTERBOX_PADDING:padding"         # left, top, right, bottom
      output_stream: "MATRIX:matrix"                     # [4, 4]: tensor to image
      node_options: {
        [type.googleapis.com/mediapipe.ImageToTensorCalculatorOptions] {
          output_tensor_width: 128
          output_tensor_height: 128
          keep_aspect_ratio: true
          output_tensor_float_range { min: -1 max: 1 }
          border_mode: BORDER_ZERO
        }
      }
    }

As MediaPipe's with OpenCV. One of the three ranges must be given: pixels of 0 to 255
become FP32, INT8 or UINT8 of that range. Of SRGBA alpha is left out, GRAY8 keeps its one
channel. `keep_aspect_ratio` widens the part rather than to stretch it, and what lies
outside the image is its border's pixel (BORDER_REPLICATE, the default) or black.

A rect of no width and no height, and an image without its rect, give nothing. Padding and
matrix are in fractions of the tensor and of the image. TENSOR instead of TENSORS is the
array without the list. `gpu_origin` has no meaning here.
"""

from __future__ import annotations

from dataclasses import dataclass
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
    TensorInfo,
    tagged,
)
from ovms_mp.core.image import ImageFormat, ImageFrame
from ovms_mp.core.tensor import Array, Datatype
from ovms_mp.formats.rect import NormalizedRect
from ovms_mp_calculators.image_region import (
    inverse_of,
    padded,
    region_of,
    rotated_matrix,
)
from ovms_mp_calculators.image_warp import MAX_SIDE, Places, places, repeated

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ovms_mp.calculator import Context, InferenceSession, NodeInfo
    from ovms_mp.core.image import Pixels

_OPTIONS: Final = graph.ImageToTensorCalculatorOptions
_CHANNELS: Final = {
    ImageFormat.GRAY8: 1,
    ImageFormat.SRGB: 3,
    ImageFormat.SRGBA: 3,
}
# So many pixels of a tensor have their places remembered; of 256x256 those take 0.4 MB.
_MOST_KEPT: Final = 1 << 17


@dataclass(slots=True)
class _Part:
    """What of an image becomes a tensor: `inverse` leads from there to the image's pixels,
    `matrix` if somebody asks for it the same in fractions.
    """

    width: int
    height: int
    inverse: Array
    padding: tuple[float, float, float, float]
    matrix: Array | None
    is_whole: bool
    places: Places | None = None


class ImageToTensorCalculator(Calculator):
    """Fails for images of other formats than GRAY8, SRGB and SRGBA, without pixels, or
    of sides beyond 32766, and for rects that are not finite or of negative size.
    """

    timestamp_offset = 0

    frame = Input(ImageFrame, "IMAGE")
    rect = Input(NormalizedRect, "NORM_RECT", optional=True)
    tensors: Output[list[Array]] = Output(list, "TENSORS", optional=True)
    tensor: Output[Array] = Output(np.ndarray, "TENSOR", optional=True)
    padding: Output[tuple[float, ...]] = Output(
        tuple, "LETTERBOX_PADDING", optional=True
    )
    matrix: Output[Array] = Output(np.ndarray, "MATRIX", optional=True)
    options = Options(_OPTIONS)

    @classmethod
    def check(cls, node: NodeInfo) -> None:
        """One output of tensors, and a range that the numbers fit."""
        options = node.options.get(_OPTIONS.DESCRIPTOR.full_name, _OPTIONS())
        made = tagged(node.outputs, "TENSORS"), tagged(node.outputs, "TENSOR")
        if bool(made[0]) == bool(made[1]):
            raise ContractError("one output is needed, TENSORS or TENSOR")
        low, high = _limits(options)
        least, most, _ = _range(options)
        if not least < most or least < low or most > high:
            raise ContractError(
                f"the range of {least:g} to {most:g} is not a part of {low:g} to {high:g}"
            )
        for name in ("output_tensor_width", "output_tensor_height"):
            size = getattr(options, name)
            if options.HasField(name) and not 0 < size <= MAX_SIDE:
                raise ContractError(f"{name} {size} is not 1 to {MAX_SIDE}")

    @classmethod
    def known_tensors(
        cls, node: NodeInfo, shared: Any, sessions: Mapping[str, InferenceSession]
    ) -> Mapping[str, TensorInfo]:
        """Frames of bytes."""
        frames = tagged(node.inputs, "IMAGE")
        return {e.name: TensorInfo(e.name, "UINT8", (-1, -1, -1)) for e in frames}

    @classmethod
    def foresee(
        cls,
        node: NodeInfo,
        shared: Any,
        side_packets: Mapping[str, object],
        coming: Mapping[str, Sequence[Foreseen]],
    ) -> Mapping[str, Sequence[Foreseen]]:
        """A tensor of the size and of the type that the options say."""
        options = node.options.get(_OPTIONS.DESCRIPTOR.full_name, _OPTIONS())
        size = options.output_tensor_height or -1, options.output_tensor_width or -1
        datatype = Datatype.from_dtype(np.dtype(_range(options)[2]))
        (port,) = (*tagged(node.outputs, "TENSORS"), *tagged(node.outputs, "TENSOR"))
        whose = f'an image of "{node.name}"'
        name = "" if datatype is None else datatype.name
        return {port.name: [Foreseen(whose, name, (1, *size, -1))]}

    def open(self, ctx: Context) -> None:
        """What each value of a pixel becomes."""
        options = self.options
        least, most, dtype = _range(options)
        self._scale = np.float32(np.float32(most - least) / np.float32(255))
        self._least = np.float32(least)
        self._table: Array | None = None
        if dtype != np.float32:
            values = self._floats(np.arange(256, dtype=np.uint8))
            limits = np.iinfo(dtype)
            values = np.clip(np.rint(values), limits.min, limits.max)
            self._table = values.astype(dtype)
        is_zero = options.border_mode == _OPTIONS.BORDER_ZERO
        self._border = cv2.BORDER_CONSTANT if is_zero else cv2.BORDER_REPLICATE
        self._size = options.output_tensor_width, options.output_tensor_height
        self._keeps_aspect_ratio = options.keep_aspect_ratio
        self._last_size = 0, 0

    def process(self, ctx: Context) -> None:
        """One image."""
        frame = ctx.get(self.frame)
        rect = ctx.get(self.rect) if self.rect else None
        if frame is None or (self.rect and rect is None):
            return
        if rect is not None and rect.width == 0 and rect.height == 0:
            return
        _check_frame(frame)
        if rect is None:
            part = self._whole(frame.width, frame.height)
        else:
            part = self._part(frame.width, frame.height, rect)
        tensor = self._tensor(frame, part)
        if self.tensors:
            ctx.send(self.tensors, [tensor])
        else:
            ctx.send(self.tensor, tensor)
        if self.padding:
            ctx.send(self.padding, part.padding)
        if part.matrix is not None:
            ctx.send(self.matrix, part.matrix)

    def _whole(self, width: int, height: int) -> _Part:
        """One for all images of a size."""
        if (width, height) != self._last_size:
            self._last_size = width, height
            self._last = self._part(width, height, None)
            if self._last.matrix is not None:
                self._last.matrix.flags.writeable = False
            return self._last
        part = self._last
        # From the second image on it is worth to know where its pixels are.
        if part.places is None and part.width * part.height <= _MOST_KEPT:
            inverse = tuple(part.inverse.ravel().tolist())
            part.places = places(inverse, part.width, part.height)
        return part

    def _part(self, width: int, height: int, rect: NormalizedRect | None) -> _Part:
        wide, high = self._size
        wide, high = wide or width, high or height
        region, padding = region_of(width, height, rect), (0.0, 0.0, 0.0, 0.0)
        if self._keeps_aspect_ratio:
            region, padding = padded(region, wide, high)
        matrix = rotated_matrix(region, width, height) if self.matrix else None
        inverse = inverse_of(region, wide, high)
        return _Part(wide, high, inverse, padding, matrix, rect is None)

    def _tensor(self, frame: ImageFrame, part: _Part) -> Array:
        pixels = self._pixels(frame.pixels, part)
        if frame.format is ImageFormat.SRGBA:
            pixels = cv2.cvtColor(pixels, cv2.COLOR_RGBA2RGB)
        table = self._table
        values = self._floats(pixels) if table is None else cv2.LUT(pixels, table)
        return values.reshape(1, part.height, part.width, _CHANNELS[frame.format])

    def _pixels(self, image: Pixels, part: _Part) -> Pixels:
        border = self._border
        if part.places is not None:
            return cv2.remap(image, *part.places, cv2.INTER_LINEAR, borderMode=border)
        # Of a whole image the first one has to the last bit what its places give to others:
        # many pixels of it are just between two steps.
        if border == cv2.BORDER_REPLICATE and not part.is_whole:
            found = np.empty((part.height, part.width, image.shape[2]), np.uint8)
            repeated(image, part.inverse.tolist(), found)
            return found
        size = part.width, part.height
        how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        return cv2.warpPerspective(
            image, part.inverse, size, flags=how, borderMode=border
        )

    def _floats(self, pixels: Pixels) -> Array:
        values = np.multiply(pixels, self._scale, dtype=np.float32)
        if self._least:
            values += self._least
        return values


def _check_frame(frame: ImageFrame) -> None:
    if frame.format not in _CHANNELS:
        raise ValueError(
            f"Unsupported format: {frame.format.name}; expected GRAY8, SRGB or SRGBA"
        )
    if not (0 < frame.width <= MAX_SIDE and 0 < frame.height <= MAX_SIDE):
        raise ValueError(
            f"an image of {frame.width}x{frame.height}; "
            f"expected 1x1 to {MAX_SIDE}x{MAX_SIDE}"
        )


def _range(options: graph.ImageToTensorCalculatorOptions) -> tuple[float, float, Any]:
    """Smallest and largest value, and their dtype."""
    kind = options.WhichOneof("range")
    if kind is None:
        raise ContractError("Output tensor range is required.")
    given = getattr(options, kind)
    if kind == "output_tensor_float_range":
        return given.min, given.max, np.float32
    return given.min, given.max, np.int8 if given.min < 0 else np.uint8


def _limits(options: graph.ImageToTensorCalculatorOptions) -> tuple[float, float]:
    match options.WhichOneof("range"):
        case "output_tensor_int_range":
            return -128, 127
        case "output_tensor_uint_range":
            return 0, 255
        case _:
            return -np.inf, np.inf
