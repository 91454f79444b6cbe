"""What a model says of each pixel becomes a mask: TensorsToSegmentationCalculator.

    node {
      calculator: "TensorsToSegmentationCalculator"
      input_stream: "TENSORS:tensors"         # list of FP32, the first is looked at
      input_stream: "OUTPUT_SIZE:size"        # (width, height), optional
      output_stream: "MASK:mask"              # ImageFrame, VEC32F1
      node_options: {
        [type.googleapis.com/mediapipe.TensorsToSegmentationCalculatorOptions] {
          activation: SIGMOID
        }
      }
    }

As MediaPipe's on a CPU. The tensor is [height, width, channels] or [1, height, width,
channels]. NONE and SIGMOID take one channel, SOFTMAX takes two and gives the share of
`output_layer_index`. The mask is stretched to OUTPUT_SIZE, bilinear; without it, it has
the tensor's size. TENSOR instead of TENSORS is the array without the list. `gpu_origin`
has no meaning here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

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
from ovms_mp.core.image import ImageFormat, ImageFrame
from ovms_mp.core.tensor import Array
from ovms_mp_calculators.box_decoding import Floats, as_floats, foresee_first
from ovms_mp_calculators.model_tensors import named
from ovms_mp_calculators.tensors_to_landmarks import sigmoid

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ovms_mp.calculator import Context, Foreseen, InferenceSession, NodeInfo

_OPTIONS: Final = graph.TensorsToSegmentationCalculatorOptions
_CHANNELS: Final = {_OPTIONS.NONE: 1, _OPTIONS.SIGMOID: 1, _OPTIONS.SOFTMAX: 2}
_NO_TENSORS: Final = "a list without tensors makes no mask"
_MAX_SIDE: Final = (1 << 15) - 2


class TensorsToSegmentationCalculator(Calculator):
    """Fails for a tensor of another shape or type, and for sizes that no image has."""

    timestamp_offset = 0

    tensors: Input[list[Array]] = Input(list, "TENSORS", optional=True)
    tensor: Input[Array] = Input(np.ndarray, "TENSOR", optional=True)
    size: Input[tuple[int, int]] = Input(tuple, "OUTPUT_SIZE", optional=True)
    mask = Output(ImageFrame, "MASK")
    options = Options(_OPTIONS)

    @classmethod
    def check(cls, node: NodeInfo) -> None:
        """One input of tensors, and a channel that there is."""
        given = tagged(node.inputs, "TENSORS"), tagged(node.inputs, "TENSOR")
        if bool(given[0]) == bool(given[1]):
            raise ContractError("Either TENSOR or TENSORS must be connected")
        options = node.options.get(_OPTIONS.DESCRIPTOR.full_name, _OPTIONS())
        if options.activation == _OPTIONS.SOFTMAX and not (
            0 <= options.output_layer_index < 2
        ):
            raise ContractError(
                f"output_layer_index is 0 or 1, not {options.output_layer_index}"
            )

    @classmethod
    def known_tensors(
        cls, node: NodeInfo, shared: Any, sessions: Mapping[str, InferenceSession]
    ) -> Mapping[str, TensorInfo]:
        """Masks of floats."""
        name = node.outputs[0].name
        return {name: TensorInfo(name, "FP32", (-1, -1, 1))}

    @classmethod
    def foresee(
        cls,
        node: NodeInfo,
        shared: Any,
        side_packets: Mapping[str, object],
        coming: Mapping[str, Sequence[Foreseen]],
    ) -> Mapping[str, Sequence[Foreseen]]:
        """Refuse a model of other dimensions and channels."""
        options = node.options.get(_OPTIONS.DESCRIPTOR.full_name, _OPTIONS())
        (port,) = (*tagged(node.inputs, "TENSORS"), *tagged(node.inputs, "TENSOR"))
        tensors = coming.get(port.name)
        if tensors is None:
            return {}
        first = foresee_first(tensors, _NO_TENSORS)
        if not first.may_be((1, -1, -1, -1), (-1, -1, -1)):
            raise _no_planes(first.shape, first.whose)
        if first.shape[-1] >= 0:
            _check_channels(first.shape[-1], options.activation, first.whose)
        return {}

    def open(self, ctx: Context) -> None:
        """Options as they are asked for."""
        self._activation = self.options.activation
        self._chosen = self.options.output_layer_index

    def process(self, ctx: Context) -> None:
        """One mask."""
        tensor, whose = self._given(ctx)
        if tensor is None:
            return
        values = self._activated(_planes(tensor, whose), whose)
        height, width = values.shape
        if self.size:
            if not ctx.has(self.size):
                raise ValueError("OUTPUT_SIZE has no packet at this timestamp")
            width, height = _checked(ctx[self.size])
        if values.shape != (height, width):
            values = _stretched(values, width, height)
        mask = values.reshape(height, width, 1)
        ctx.send(self.mask, ImageFrame(ImageFormat.VEC32F1, mask))

    def _given(self, ctx: Context) -> tuple[object, str]:
        """And what a message calls it."""
        if self.tensor:
            return ctx.get(self.tensor), "a tensor"
        tensors = ctx.get(self.tensors)
        if tensors is None:
            return None, ""
        if not tensors:
            raise ValueError(_NO_TENSORS)
        return tensors[0], named(tensors, 0)

    def _activated(self, planes: Floats, whose: str) -> Floats:
        """[height, width] of [height, width, channels]."""
        activation = self._activation
        _check_channels(planes.shape[2], activation, whose)
        if activation == _OPTIONS.NONE:
            return np.ascontiguousarray(planes[..., 0])
        if activation == _OPTIONS.SOFTMAX:
            # Two shares are a sigmoid of how far they are apart.
            chosen = self._chosen
            return sigmoid(planes[..., chosen] - planes[..., 1 - chosen])
        return sigmoid(planes[..., 0])


def _planes(tensor: object, whose: str) -> Floats:
    array = as_floats(tensor, whose)
    planes = array[0] if array.ndim == 4 and array.shape[0] == 1 else array
    if planes.ndim != 3 or not all(planes.shape):
        raise _no_planes(array.shape, whose)
    return planes


def _no_planes(shape: tuple[int, ...], whose: str) -> ValueError:
    return ValueError(
        f"{whose} of shape {list(shape)}; expected [1, height, width, channels]"
    )


def _check_channels(found: int, activation: int, whose: str) -> None:
    expected = _CHANNELS[activation]
    if found != expected:
        name = _OPTIONS.Activation.Name(activation)
        raise ValueError(
            f"{whose} of {found} channels; activation {name} takes {expected}"
        )


def _stretched(values: Floats, width: int, height: int) -> Floats:
    """As MediaPipe's OpenCV does it on every processor: weights are floats.

    Intel's routines, which some processors let OpenCV use, take doubles: 2e-5 of a logit
    apart. The switch is this thread's own.
    """
    used = cv2.ipp.useIPP()
    cv2.ipp.setUseIPP(False)
    try:
        return np.asarray(cv2.resize(values, (width, height)), np.float32)
    finally:
        cv2.ipp.setUseIPP(used)


def _checked(size: tuple[int, int]) -> tuple[int, int]:
    width, height = size
    if not (0 < width <= _MAX_SIDE and 0 < height <= _MAX_SIDE):
        raise ValueError(
            f"a mask of {width}x{height}; expected 1x1 to {_MAX_SIDE}x{_MAX_SIDE}"
        )
    return width, height
