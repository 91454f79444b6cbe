"""An image becomes a tensor of its size: OpenVINOConverterCalculator,
TensorConverterCalculator, TfLiteConverterCalculator.

    node {
      calculator: "OpenVINOConverterCalculator"
      input_stream: "IMAGE:frame"          # ImageFrame
      output_stream: "TENSORS:tensors"     # [[1, height, width, channels]]
      node_options: {
        [type.googleapis.com/mediapipe.OpenVINOConverterCalculatorOptions] {
          enable_normalization: true
          zero_center: true
        }
      }
    }

As MediaPipe's on a CPU, and OVMS's. Values of 0 to 255 become FP32 of -1 to 1, with
`zero_center: false` of 0 to 1, or of `output_tensor_float_range`; with custom
normalization value / custom_div - custom_sub. At most `max_num_channels` are kept.

The names differ in little. OpenVINO's leaves an image as it is, all its channels in
their own type, unless enable_normalization is set. TfLite's gives bytes with
use_quantized_tensors. TensorConverter and TfLite's take MATRIX, an array [rows, columns],
as well, which is a tensor [1, rows, columns, 1]; its numbers lie by columns unless
row_major_matrix is set. TensorConverter may give TENSOR, the array without the list.
OpenVINO's and TfLite's skip images when they fall behind (FixedSizeInputStreamHandler).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final, cast

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
from ovms_mp.core.image import ImageFrame
from ovms_mp.core.tensor import Array

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ovms_mp.calculator import Context, InferenceSession, NodeInfo
    from ovms_mp.core.image import Pixels

_OPENVINO: Final = graph.OpenVINOConverterCalculatorOptions
_TENSOR: Final = graph.TensorConverterCalculatorOptions
_TFLITE: Final = graph.TfLiteConverterCalculatorOptions
_DROPS: Final = "FixedSizeInputStreamHandler"
_MAX_CHANNELS: Final = (1, 3, 4)


class TensorConverterCalculator(Calculator):
    """Fails for images without pixels and of 16 bits, and for what is no matrix."""

    message: ClassVar[type[Any]] = _TENSOR

    timestamp_offset = 0

    frame = Input(ImageFrame, "IMAGE", optional=True)
    matrix: Input[Array] = Input(np.ndarray, "MATRIX", optional=True)
    tensors: Output[list[Array]] = Output(list, "TENSORS", optional=True)
    tensor: Output[Array] = Output(np.ndarray, "TENSOR", optional=True)
    options: Options[Any] = Options(_TENSOR)

    @classmethod
    def check(cls, node: NodeInfo) -> None:
        """One input, one output, and numbers that make sense."""
        if len(node.inputs) != 1:
            raise ContractError("one input is needed, IMAGE or MATRIX")
        if len(node.outputs) != 1:
            raise ContractError("one output is needed, TENSORS or TENSOR")
        options = cls._options_of(node)
        if options.max_num_channels not in _MAX_CHANNELS:
            raise ContractError(
                f"max_num_channels is 1, 3 or 4, not {options.max_num_channels}"
            )
        if options.use_custom_normalization and options.custom_div == 0:
            raise ContractError("custom_div is not 0")
        low, high = _range(options)
        if options.HasField("output_tensor_float_range") and not low < high:
            raise ContractError(f"the range of {low:g} to {high:g} is empty")

    @classmethod
    def _options_of(cls, node: NodeInfo) -> Any:
        return node.options.get(cls.message.DESCRIPTOR.full_name, cls.message())

    @classmethod
    def known_tensors(
        cls, node: NodeInfo, shared: Any, sessions: Mapping[str, InferenceSession]
    ) -> Mapping[str, TensorInfo]:
        """Frames of bytes, and floats where there is one tensor."""
        known = {
            each.name: TensorInfo(each.name, "UINT8", (-1, -1, -1))
            for each in tagged(node.inputs, "IMAGE")
        }
        for each in tagged(node.outputs, "TENSOR"):
            known[each.name] = TensorInfo(each.name, "FP32", (1, -1, -1, -1))
        return known

    @classmethod
    def foresee(
        cls,
        node: NodeInfo,
        shared: Any,
        side_packets: Mapping[str, object],
        coming: Mapping[str, Sequence[Foreseen]],
    ) -> Mapping[str, Sequence[Foreseen]]:
        """Tensors of the size of the images, where that is known."""
        taken, made = node.inputs[0], node.outputs[0]
        (image,) = coming.get(taken.name, [Foreseen("", "", (-1, -1, -1))])
        shape = (1, -1, -1, 1) if taken.tag == "MATRIX" else (1, *image.shape[:2], -1)
        datatype = cls.datatype(cls._options_of(node))
        return {made.name: [Foreseen(f'a tensor of "{node.name}"', datatype, shape)]}

    @classmethod
    def datatype(cls, options: Any) -> str:
        """Of the tensors; empty if that is the images' own."""
        return "FP32"

    def open(self, ctx: Context) -> None:
        """What a value is multiplied with, and what is added to it."""
        low, high = _range(self.options)
        self._scale = np.float32(np.float32(high - low) / np.float32(255))
        self._bias = np.float32(low)

    def process(self, ctx: Context) -> None:
        """One image or matrix."""
        if self.matrix:
            if not ctx.has(self.matrix):
                return
            made = self._of_matrix(ctx[self.matrix])
        else:
            frame = ctx.get(self.frame)
            if frame is None:
                return
            if not (frame.width and frame.height):
                raise ValueError(
                    f"an image of {frame.width}x{frame.height} has no pixels"
                )
            made = self._of_pixels(frame.pixels)
        if self.tensors:
            ctx.send(self.tensors, [made])
        else:
            ctx.send(self.tensor, made)

    def _of_pixels(self, pixels: Pixels) -> Array:
        """[1, height, width, channels] of [height, width, channels]."""
        chosen = self._chosen(pixels)
        if chosen.dtype not in {np.dtype(np.uint8), np.dtype(np.float32)}:
            raise ValueError(
                "Only byte-based (8 bit) and float (32 bit) images supported, "
                f"not {chosen.dtype}"
            )
        values = np.array(chosen, np.float32, order="C")
        values *= self._scale
        values += self._bias
        return values[np.newaxis]

    def _chosen(self, pixels: Pixels) -> Pixels:
        """The channels that are wanted, the right way up."""
        if self.options.flip_vertically:
            pixels = pixels[::-1]
        return pixels[..., : self.options.max_num_channels]

    def _of_matrix(self, matrix: object) -> Array:
        if not isinstance(matrix, np.ndarray):
            raise TypeError(f"expected an array, found {type(matrix).__name__}")
        array = cast("Array", matrix)
        if array.ndim != 2 or array.dtype != np.float32:
            raise ValueError(
                f"{array.dtype} {list(array.shape)} is no matrix; "
                "expected float32 [rows, columns]"
            )
        order = "C" if self.options.row_major_matrix else "F"
        return array.ravel(order).reshape(1, *array.shape, 1)


class TfLiteConverterCalculator(TensorConverterCalculator):
    """The same, which can give bytes as well."""

    message = cast("type[Any]", _TFLITE)
    input_policy = _DROPS
    options: Options[Any] = Options(_TFLITE)

    @classmethod
    def datatype(cls, options: Any) -> str:
        """Bytes if they are wanted."""
        return "UINT8" if options.use_quantized_tensors else "FP32"

    def _of_pixels(self, pixels: Pixels) -> Array:
        if not self.options.use_quantized_tensors:
            return super()._of_pixels(pixels)
        if pixels.dtype != np.uint8:
            raise ValueError(
                "Only 8-bit input images are supported for quantization, "
                f"not {pixels.dtype}"
            )
        # As natively, not flipped.
        kept = pixels[..., : self.options.max_num_channels]
        return np.ascontiguousarray(kept)[np.newaxis]


class OpenVINOConverterCalculator(TensorConverterCalculator):
    """The same, for images alone, which it leaves as they are unless told otherwise."""

    message = cast("type[Any]", _OPENVINO)
    input_policy = _DROPS
    options: Options[Any] = Options(_OPENVINO)

    @classmethod
    def datatype(cls, options: Any) -> str:
        """Floats if they are wanted."""
        return "FP32" if options.enable_normalization else ""

    @classmethod
    def check(cls, node: NodeInfo) -> None:
        """An image in, a list out."""
        super().check(node)
        if node.inputs[0].tag != "IMAGE" or node.outputs[0].tag != "TENSORS":
            raise ContractError("one input IMAGE and one output TENSORS are needed")

    def _of_pixels(self, pixels: Pixels) -> Array:
        if self.options.enable_normalization:
            return super()._of_pixels(pixels)
        return pixels[np.newaxis]


def _range(options: Any) -> tuple[float, float]:
    """What 0 and 255 become."""
    if options.use_custom_normalization:
        low = -options.custom_sub
        return low, low + 255.0 / options.custom_div
    if options.HasField("output_tensor_float_range"):
        given = options.output_tensor_float_range
        return given.min, given.max
    return (-1.0 if options.zero_center else 0.0), 1.0
