"""A frame becomes the tensor that a model takes: FrameToTensorCalculator.

    node {
      calculator: "FrameToTensorCalculator"
      input_stream: "IMAGE:frame"        # ImageFrame
      output_stream: "OVTENSOR:image"    # [1, height, width, channels]
      node_options: {
        [type.googleapis.com/ovms_mp.FrameToTensorCalculatorOptions] {
          width: 128
          height: 128
          keep_aspect_ratio: true
          mean: 127.5
          scale: 127.5
        }
      }
    }

Without options the tensor is a view of the frame, in the frame's element type and
without a copy. A mean or a scale makes it FP32 unless element_type says otherwise.
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
    TensorInfo,
)
from ovms_mp.core.image import ImageFrame, Pixels
from ovms_mp.core.tensor import Array

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ovms_mp.calculator import Context, InferenceSession, NodeInfo

_OPTIONS: Final = graph.FrameToTensorCalculatorOptions


def resized(pixels: Pixels, width: int, height: int) -> Pixels:
    """`pixels` [H, W, C] stretched to [height, width, C]: itself when that is its size.

    Shrinking averages, so that thin things stay; enlarging is bilinear.
    """
    if pixels.shape[:2] == (height, width):
        return pixels
    shrinks = width * height < pixels.shape[1] * pixels.shape[0]
    kind = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    # OpenCV drops the axis of a single channel.
    stretched = cv2.resize(pixels, (width, height), interpolation=kind)
    return stretched.reshape(height, width, pixels.shape[2])


def letterboxed(pixels: Pixels, width: int, height: int) -> Pixels:
    """`pixels` [H, W, C] as large as it fits in [height, width, C], with its aspect
    ratio, in the middle; zeros around it.
    """
    ratio = min(width / pixels.shape[1], height / pixels.shape[0])
    inner_width = max(1, round(pixels.shape[1] * ratio))
    inner_height = max(1, round(pixels.shape[0] * ratio))
    inner = resized(pixels, inner_width, inner_height)
    if inner.shape[:2] == (height, width):
        return inner
    left = (width - inner_width) // 2
    top = (height - inner_height) // 2
    boxed = np.zeros((height, width, pixels.shape[2]), pixels.dtype)
    boxed[top : top + inner_height, left : left + inner_width] = inner
    return boxed


class FrameToTensorCalculator(Calculator):
    """Resizes a frame and normalises its values."""

    timestamp_offset = 0

    frame = Input(ImageFrame, "IMAGE")
    tensor: Output[Array] = Output(np.ndarray, "OVTENSOR")
    options = Options(_OPTIONS)

    @classmethod
    def check(cls, node: NodeInfo) -> None:
        """Refuse sizes and numbers that no frame could be brought to."""
        options = node.options.get(_OPTIONS.DESCRIPTOR.full_name, _OPTIONS())
        if options.width < 0 or options.height < 0:
            msg = f"width {options.width} and height {options.height} are 0 or more"
            raise ContractError(msg)
        if options.keep_aspect_ratio and not (options.width and options.height):
            msg = "keep_aspect_ratio takes a width and a height"
            raise ContractError(msg)
        if options.scale == 0:
            msg = "scale is not 0"
            raise ContractError(msg)
        is_normalised = options.HasField("mean") or options.HasField("scale")
        wants_integers = (
            options.HasField("element_type") and options.element_type == _OPTIONS.UINT8
        )
        if is_normalised and wants_integers:
            msg = "element_type UINT8 takes neither mean nor scale"
            raise ContractError(msg)

    @classmethod
    def known_tensors(
        cls, node: NodeInfo, shared: Any, sessions: Mapping[str, InferenceSession]
    ) -> Mapping[str, TensorInfo]:
        """The size and the type that the options say, and frames of that type if it
        is UINT8.
        """
        options = node.options.get(_OPTIONS.DESCRIPTOR.full_name, _OPTIONS())
        is_given = options.HasField("element_type")
        if not (is_given or options.HasField("mean") or options.HasField("scale")):
            return {}
        frame, tensor = node.inputs[0].name, node.outputs[0].name
        height, width = options.height or -1, options.width or -1
        is_bytes = is_given and options.element_type == _OPTIONS.UINT8
        datatype = "UINT8" if is_bytes else "FP32"
        known = {tensor: TensorInfo(tensor, datatype, (1, height, width, -1))}
        if is_bytes:
            known[frame] = TensorInfo(frame, datatype, (-1, -1, -1))
        return known

    @classmethod
    def foresee(
        cls,
        node: NodeInfo,
        shared: Any,
        side_packets: Mapping[str, object],
        coming: Mapping[str, Sequence[Foreseen]],
    ) -> Mapping[str, Sequence[Foreseen]]:
        """A tensor of the size that the options say, and of their type."""
        options = node.options.get(_OPTIONS.DESCRIPTOR.full_name, _OPTIONS())
        name = node.outputs[0].name
        told = cls.known_tensors(node, shared, {}).get(name)
        shape = 1, options.height or -1, options.width or -1, -1
        whose = f'a frame of "{node.name}"'
        datatype = "" if told is None else told.datatype
        return {name: [Foreseen(whose, datatype, shape)]}

    def process(self, ctx: Context) -> None:
        """One tensor for each frame."""
        options = self.options
        frame = ctx[self.frame]
        width = options.width or frame.width
        height = options.height or frame.height
        fit = letterboxed if options.keep_aspect_ratio else resized
        pixels = self._converted(fit(frame.pixels, width, height))
        ctx.send(self.tensor, pixels[None])

    def _converted(self, pixels: Pixels) -> Pixels:
        options = self.options
        is_normalised = options.HasField("mean") or options.HasField("scale")
        if not is_normalised and not options.HasField("element_type"):
            return pixels
        if options.HasField("element_type") and options.element_type == _OPTIONS.UINT8:
            if pixels.dtype != np.uint8:
                msg = f"element_type is UINT8, the frame has {pixels.dtype}"
                raise ValueError(msg)
            return pixels
        values = pixels.astype(np.float32)
        if is_normalised:
            values -= np.float32(options.mean)
            values /= np.float32(options.scale)
        return values
