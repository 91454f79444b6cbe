"""Custom operators of MediaPipe's TFLite models (mediapipe/util/tflite), put together from
OpenVINO's. Tensors of TFLite are NHWC, and so are those of the outputs.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import openvino as ov
from openvino import opset13
from openvino.frontend import NodeContext

# OpenVINO's functions have no types that a checker could read.
op: Final[Any] = opset13

# TfLiteTransposeConvParams: padding, width and height of the stride.
_PARAMS: Final = struct.Struct("<iii")
_PADDINGS: Final = {1: "same_upper", 2: "valid"}  # TfLitePadding


def convolution_2d_transpose_bias(
    node: NodeContext, options: bytes
) -> Sequence[ov.Output]:
    """Convolution2DTransposeBias of selfie_segmentation: a transposed convolution and a
    bias. Inputs are the image NHWC, weights OHWI, and the bias [O]. Raises ValueError for
    options that are not as TFLite writes them.
    """
    if len(options) < _PARAMS.size:
        raise ValueError("Convolution2DTransposeBias without padding and strides")
    padding, width, height = _PARAMS.unpack_from(options)
    if padding not in _PADDINGS:
        raise ValueError(f"Convolution2DTransposeBias with the padding {padding}")
    image, weights, bias = (_input(node, number) for number in range(3))
    output = op.convolution_backprop_data(
        _transposed(image, 0, 3, 1, 2),
        _transposed(weights, 3, 0, 1, 2),
        strides=[height, width],
        auto_pad=_PADDINGS[padding],
    )
    return op.add(_transposed(output, 0, 2, 3, 1), bias).outputs()


def _input(node: NodeContext, number: int) -> Any:
    get: Any = node.get_input
    return get(number)


def _transposed(tensor: Any, *order: int) -> Any:
    return op.transpose(tensor, op.constant(np.array(order, np.int64)))
