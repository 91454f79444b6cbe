"""Custom operators of MediaPipe's TFLite models (mediapipe/util/tflite), put together from
OpenVINO's. Tensors of TFLite are NHWC, and so are those of the outputs.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import openvino as ov
from flatbuffers import flexbuffers  # pyright: ignore[reportMissingTypeStubs]  # it has none
from openvino import opset13
from openvino.frontend import NodeContext

from ovms_mp.core.tensor import Array

# OpenVINO's functions have no types that a checker could read, nor has flexbuffers.
op: Final[Any] = opset13
_options: Final[Any] = flexbuffers

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


def landmarks_to_transform_matrix(
    node: NodeContext, options: bytes
) -> Sequence[ov.Output]:
    """Landmarks2TransformMatrix of face_landmark_with_attention, version 2: where in the
    picture a part of a face is, from landmarks [1, n, 3] in its pixels; a matrix
    [1, 4, 4] that takes pixels of the part to those of the picture.
    """
    said = _said(options)
    points = op.squeeze(_input(node, 0), _integers(0))
    cos, sin = _turn(points, said)
    subset = _taken(points, 0, *said["subset_idxs"])
    x, y = _taken(subset, 1, 0), _taken(subset, 1, 1)
    middle_x, width = _extent(x * cos - y * sin)
    middle_y, height = _extent(x * sin + y * cos)
    scale_x = width * _floats(said["scale_x"] / said["output_width"])
    scale_y = height * _floats(said["scale_y"] / said["output_height"])
    half_x, half_y = (
        _floats(said["output_width"] / 2),
        _floats(said["output_height"] / 2),
    )
    zero, one = _floats([[0.0]]), _floats([[1.0]])
    cells: list[Any] = []
    # To the middle of the part, scaled, turned back, and to where its middle is.
    for first, second, middle in (
        (cos * scale_x, sin * scale_y, middle_x * cos + middle_y * sin),
        (zero - sin * scale_x, cos * scale_y, middle_y * cos - middle_x * sin),
    ):
        cells += [first, second, zero, middle - first * half_x - second * half_y]
    cells += [zero, zero, one, zero, zero, zero, zero, one]
    return op.reshape(op.concat(cells, 1), _integers(1, 4, 4), False).outputs()


def transform_tensor_bilinear(node: NodeContext, options: bytes) -> Sequence[ov.Output]:
    """TransformTensorBilinear, version 2: the part of a picture [1, h, w, c] where a
    matrix [1, 4, 4] says, as large as the options say; 0 beside the picture.
    """
    said = _said(options)
    width: int = said["output_width"]
    height: int = said["output_height"]
    rows, columns = np.indices((height, width), np.float32)
    # A pixel is at its middle; the 1 is what a matrix shifts.
    pixels = np.stack([columns + 0.5, rows + 0.5, np.ones_like(rows)], axis=-1)
    places = op.matmul(
        _floats(pixels.reshape(-1, 3)), _plane(_input(node, 1)), False, True
    ) - _floats(0.5)
    edges = _edges(_input(node, 0))
    within = op.logical_and(
        op.greater_equal(places, _floats(0.0)), op.less_equal(places, _floats(edges))
    )
    is_inside = op.reduce_min(
        op.convert(within, np.float32), _integers(1), keep_dims=True
    )
    grid = places * _floats(2 / edges) - _floats(1.0)
    found = op.grid_sample(
        _transposed(_input(node, 0), 0, 3, 1, 2),
        op.reshape(grid, _integers(1, height, width, 2), False),
        {"align_corners": True, "mode": "bilinear", "padding_mode": "zeros"},
    )
    is_inside = op.reshape(is_inside, _integers(1, height, width, 1), False)
    return (_transposed(found, 0, 2, 3, 1) * is_inside).outputs()


def transform_landmarks(node: NodeContext, options: bytes) -> Sequence[ov.Output]:
    """TransformLandmarks, version 2: landmarks [1, n, 2 or 3] taken by a matrix
    [1, 4, 4]; their depth stays as it is.
    """
    landmarks = _input(node, 0)
    dimensions: int = landmarks.get_partial_shape()[2].get_length()
    plane = _taken(landmarks, 2, 0, 1)
    one = _taken(plane, 2, 0) * _floats(0.0) + _floats(1.0)
    moved = op.matmul(op.concat([plane, one], 2), _plane(_input(node, 1)), False, True)
    rest = [_taken(landmarks, 2, axis) for axis in range(2, dimensions)]
    return op.concat([moved, *rest], 2).outputs()


def _turn(points: Any, said: Mapping[str, Any]) -> tuple[Any, Any]:
    """Cosine and sine of what turns the line between two points to its target."""
    left = _taken(points, 0, said["left_rotation_idx"])
    right = _taken(points, 0, said["right_rotation_idx"])
    x, y = (_taken(right - left, 1, axis) for axis in (0, 1))
    length = op.sqrt(x * x + y * y)
    is_point = op.equal(length, _floats(0.0))  # which has the direction of x, as atan2
    length = op.select(is_point, _floats(1.0), length)
    along, across = op.select(is_point, _floats(1.0), x / length), y / length
    target: float = said["target_rotation_radians"]
    cos, sin = _floats(np.cos(target)), _floats(np.sin(target))
    return along * cos + across * sin, along * sin - across * cos


def _extent(values: Any) -> tuple[Any, Any]:
    """The middle between the least and the most of [n, 1], and how far they are apart."""
    most = op.reduce_max(values, _integers(0), keep_dims=True)
    least = op.reduce_min(values, _integers(0), keep_dims=True)
    return (most + least) * _floats(0.5), most - least


def _edges(picture: Any) -> Array:
    """The last column and the last row of a picture [1, h, w, c]."""
    _, height, width, _ = picture.get_partial_shape().to_shape()
    return np.array([width - 1, height - 1], np.float32)


def _plane(matrix: Any) -> Any:
    """What a matrix [1, 4, 4] does to x, y and 1: [2, 3]."""
    return op.squeeze(_taken(_taken(matrix, 1, 0, 1), 2, 0, 1, 3), _integers(0))


def _taken(tensor: Any, axis: int, *numbers: int) -> Any:
    """Some of a tensor along an axis, which stays."""
    return op.gather(tensor, _integers(*numbers), _integers(axis))


def _said(options: bytes) -> Mapping[str, Any]:
    """Options that are written as a map."""
    return _options.Loads(options)


def _integers(*values: int) -> Any:
    return op.constant(np.array(values, np.int64))


def _floats(values: Any) -> Any:
    return op.constant(np.array(values, np.float32))


def _input(node: NodeContext, number: int) -> Any:
    get: Any = node.get_input
    return get(number)


def _transposed(tensor: Any, *order: int) -> Any:
    return op.transpose(tensor, _integers(*order))
