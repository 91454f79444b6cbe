"""Laws of a graph's boundary: what tensors become packets, and packets tensors."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest

from ovms_mp.calculator.pyovms import Tensor
from ovms_mp.core.errors import ServingError, Status
from ovms_mp.core.image import ImageFormat, ImageFrame
from ovms_mp.core.messages import InferRequest, InferResponse, InputTensor
from ovms_mp.core.tensor import Datatype
from ovms_mp.formats.detection import Box, Detection
from ovms_mp.formats.landmark import LandmarkList
from ovms_mp.servable.boundary import (
    Kind,
    check_coherence,
    kind_of,
    to_output,
    to_payload,
    to_response,
)
from tests.unit.servable.tensors import EVERY, raw, refusal, typed

ARRAYS = (Kind.OVTENSOR, Kind.TENSOR, Kind.TFTENSOR)


# Tags


@pytest.mark.parametrize(
    ("tag", "kind"),
    [
        ("REQUEST", Kind.REQUEST),
        ("RESPONSE", Kind.RESPONSE),
        ("OVTENSOR", Kind.OVTENSOR),
        ("OVTENSOR_2", Kind.OVTENSOR),
        ("", Kind.OVTENSOR),
        ("SOME", Kind.OVTENSOR),
        ("TENSOR", Kind.TENSOR),
        ("TENSOR1", Kind.TENSOR),
        ("TFTENSOR_1", Kind.TFTENSOR),
        ("IMAGE_LEFT", Kind.IMAGE),
        ("OVMS_PY_TENSOR", Kind.PY_TENSOR),
        ("OVMS_PY_TENSOR_2", Kind.PY_TENSOR),
    ],
)
def test_a_tag_tells_by_its_beginning_what_packets_carry(tag: str, kind: Kind):
    assert kind_of(tag) is kind


@pytest.mark.parametrize(
    "tag", ["TFLITE_TENSOR_1", "HTTP_REQUEST_PAYLOAD", "HTTP_RESPONSE_PAYLOAD"]
)
def test_a_tag_whose_packets_cannot_be_made_is_refused(tag: str):
    with pytest.raises(ServingError, match=tag) as caught:
        kind_of(tag)
    assert caught.value.status is Status.NOT_IMPLEMENTED


# The whole request


def test_raw_buffers_are_as_many_as_inputs():
    inputs = (raw("UINT8", (1,), b"a"), InputTensor("b", "UINT8", (1,)))
    request = InferRequest("g", inputs=inputs, raw_count=1)
    with pytest.raises(ServingError) as caught:
        check_coherence(request)
    assert caught.value.status is Status.INVALID_MESSAGE_STRUCTURE
    assert caught.value.details == (
        "Size of raw_input_contents: 1 is different than number of inputs: 2"
    )


def test_raw_and_typed_contents_do_not_mix():
    inputs = (raw("UINT8", (1,), b"a"), typed("UINT8", (1,), [1]))
    request = InferRequest("g", inputs=inputs, raw_count=2)
    with pytest.raises(ServingError) as caught:
        check_coherence(request)
    assert caught.value.status is Status.INVALID_MESSAGE_STRUCTURE
    assert caught.value.details == (
        "Passing buffers both in InferInputTensor contents and in raw_input_contents "
        "is not allowed. Detected buffer in InferInputTensor contents for input: in"
    )


def test_coherent_requests_pass():
    check_coherence(InferRequest("g"))
    check_coherence(InferRequest("g", inputs=(typed("UINT8", (1,), [1]),)))
    check_coherence(InferRequest("g", inputs=(raw("UINT8", (1,), b"a"),), raw_count=1))


# Images

FORMATS = {
    ("UINT8", 1): ImageFormat.GRAY8,
    ("UINT8", 3): ImageFormat.SRGB,
    ("UINT8", 4): ImageFormat.SRGBA,
    ("INT8", 1): ImageFormat.GRAY8,
    ("INT8", 3): ImageFormat.SRGB,
    ("INT8", 4): ImageFormat.SRGBA,
    ("UINT16", 1): ImageFormat.GRAY16,
    ("UINT16", 3): ImageFormat.SRGB48,
    ("UINT16", 4): ImageFormat.SRGBA64,
    ("INT16", 1): ImageFormat.GRAY16,
    ("INT16", 3): ImageFormat.SRGB48,
    ("INT16", 4): ImageFormat.SRGBA64,
    ("FP16", 1): ImageFormat.GRAY16,
    ("FP16", 3): ImageFormat.SRGB48,
    ("FP16", 4): ImageFormat.SRGBA64,
    ("FP32", 1): ImageFormat.VEC32F1,
    ("FP32", 2): ImageFormat.VEC32F2,
    ("FP32", 4): ImageFormat.VEC32F4,
}


@pytest.mark.parametrize("datatype", EVERY)
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5])
def test_datatype_and_channels_make_the_image_format(datatype: str, channels: int):
    size = 2 * 3 * channels * Datatype[datatype].dtype.itemsize
    data = bytes(index % 256 for index in range(size))
    tensor = raw(datatype, (2, 3, channels), data)
    expected = FORMATS.get((datatype, channels))
    if expected is None:
        assert refusal(Kind.IMAGE, tensor) == (
            Status.INVALID_INPUT_FORMAT,
            "Invalid KFS request datatype, conversion to Mediapipe ImageFrame format "
            "failed.",
        )
        return
    frame = to_payload(Kind.IMAGE, tensor)
    assert isinstance(frame, ImageFrame)
    assert frame.format is expected
    assert (frame.height, frame.width) == (2, 3)
    assert frame.pixels.tobytes() == data
    assert not frame.pixels.flags.writeable


def test_an_image_of_an_unknown_datatype_is_refused():
    status, _ = refusal(Kind.IMAGE, raw("BF16", (1, 1, 3), b"abcdef"))
    assert status is Status.INVALID_INPUT_FORMAT


def test_an_image_comes_raw():
    assert refusal(Kind.IMAGE, typed("UINT8", (1, 1, 3), [1, 2, 3])) == (
        Status.MEDIAPIPE_EXECUTION_ERROR,
        "",
    )


def test_an_image_has_three_dimensions():
    assert refusal(Kind.IMAGE, raw("UINT8", (1, 1, 1, 3), b"abc")) == (
        Status.INVALID_SHAPE,
        "Invalid Mediapipe Image input shape size. Expected: 3; Actual: 4",
    )


@pytest.mark.parametrize(
    ("axis", "what"), [(0, "height"), (1, "width"), (2, "number of channels")]
)
@pytest.mark.parametrize("value", [0, -1])
def test_an_image_has_no_empty_dimension(axis: int, what: str, value: int):
    shape = [1, 1, 3]
    shape[axis] = value
    assert refusal(Kind.IMAGE, raw("UINT8", tuple(shape), b"abc")) == (
        Status.INVALID_SHAPE,
        f"Invalid Mediapipe Image input {what}. Expected greater than 0; "
        f"Actual: {value}; Expected layout - HWC.",
    )


def test_an_image_has_the_size_of_its_shape():
    assert refusal(Kind.IMAGE, raw("UINT16", (2, 2, 3), b"abc")) == (
        Status.INVALID_CONTENT_SIZE,
        "Invalid Mediapipe Image input buffer size. Actual: 3; Expected: 24",
    )


# Python tensors


@pytest.mark.parametrize("datatype", EVERY)
def test_a_python_tensor_of_a_known_datatype_has_its_format_and_shape(datatype: str):
    expected = np.arange(6).astype(Datatype[datatype].dtype).reshape(2, 3)
    data = expected.tobytes()
    tensor = to_payload(Kind.PY_TENSOR, raw(datatype, (2, 3), data))
    assert isinstance(tensor, Tensor)
    assert (tensor.name, tensor.datatype, tensor.shape) == ("in", datatype, (2, 3))
    view = memoryview(tensor)
    assert np.dtype(view.format) == expected.dtype
    assert view.format == {"INT64": "q", "UINT64": "Q"}.get(datatype, view.format)
    assert view.shape == (2, 3)
    assert tensor.ptr == np.frombuffer(data, np.uint8).ctypes.data
    assert np.array_equal(np.array(tensor), expected)


@pytest.mark.parametrize("datatype", ["BYTES", "BF16", "my_type", ""])
def test_a_python_tensor_of_another_datatype_is_bytes_as_they_were_sent(datatype: str):
    tensor = to_payload(Kind.PY_TENSOR, raw(datatype, (7, 9), b"\1\0\0\0a"))
    assert (tensor.datatype, tensor.shape, tensor.size) == (datatype, (7, 9), 5)
    view = memoryview(tensor)
    assert (view.format, view.shape) == ("B", (5,))
    assert bytes(tensor) == b"\1\0\0\0a"


def test_typed_bytes_become_length_prefixed():
    tensor = InputTensor(
        "in", "BYTES", (2,), contents=[b"ab", b""], contents_field="bytes_contents"
    )
    assert bytes(to_payload(Kind.PY_TENSOR, tensor)) == (
        struct.pack("<I", 2) + b"ab" + struct.pack("<I", 0)
    )
    assert bytes(to_payload(Kind.PY_TENSOR, InputTensor("in", "BYTES", (0,)))) == b""


def test_a_custom_datatype_comes_raw():
    assert refusal(Kind.PY_TENSOR, typed("my_type", (1,), [1])) == (
        Status.INVALID_PRECISION,
        "Provided datatype is invalid, custom datatypes are allowed only when "
        "raw_input_contents is used.",
    )


def test_a_python_tensor_has_the_size_of_its_shape():
    assert refusal(Kind.PY_TENSOR, raw("FP32", (2,), b"abc")) == (
        Status.INVALID_CONTENT_SIZE,
        "Invalid Python tensor buffer size. Actual: 3; Expected: 8",
    )


def test_numbers_are_no_bytes():
    tensor = InputTensor(
        "in",
        "BYTES",
        (1,),
        contents=np.zeros(1, np.int32),
        contents_field="int_contents",
    )
    status, details = refusal(Kind.PY_TENSOR, tensor)
    assert status is Status.INVALID_VALUE_COUNT
    assert "int_contents" in details


# Outputs


@pytest.mark.parametrize("kind", ARRAYS)
def test_detections_leave_as_fp32_rows(kind: Kind):
    found = Detection(Box(0.25, 0.5, 0.125, 1.0), (0.75,), (3,))
    output = to_output(kind, "out", [found, found])
    assert (output.datatype, output.shape) == ("FP32", (2, 6))
    rows = np.frombuffer(output.data, np.float32).reshape(2, 6)
    assert rows.tolist() == [[0.25, 0.5, 0.125, 1.0, 0.75, 3.0]] * 2


def test_landmark_lists_of_different_lengths_are_an_error_that_names_the_stream():
    lists = [LandmarkList(np.zeros((count, 3), np.float32)) for count in (1, 2)]
    with pytest.raises(ServingError, match='output stream "out": landmark lists'):
        to_output(Kind.OVTENSOR, "out", lists)


@pytest.mark.parametrize("kind", ARRAYS)
@pytest.mark.parametrize("datatype", EVERY)
def test_an_array_leaves_under_its_streams_name(kind: Kind, datatype: str):
    array = np.arange(6).astype(Datatype[datatype].dtype).reshape(2, 3)
    output = to_output(kind, "out", array)
    assert (output.name, output.datatype, output.shape) == ("out", datatype, (2, 3))
    assert bytes(output.data) == array.tobytes()
    large = np.resize(array, (2, 30_000))
    output = to_output(kind, "out", large)
    assert bytes(output.data) == large.tobytes()
    assert np.shares_memory(np.frombuffer(output.data, np.uint8), large)


@pytest.mark.parametrize(
    "array",
    [
        np.arange(12, dtype=np.int32).reshape(3, 4)[:, ::2],
        np.arange(12, dtype=np.int32).reshape(3, 4).T,
        np.arange(12, dtype=np.int32)[::-1],
        np.broadcast_to(np.int32(5), (2, 2)),
        np.arange(3, dtype=">i4"),
        np.array(5, np.int32),
        np.zeros((0, 3), np.int32),
    ],
    ids=["columns", "fortran", "reversed", "broadcast", "big-endian", "scalar", "none"],
)
def test_what_leaves_is_dense_and_little_endian(array: Any):
    output = to_output(Kind.OVTENSOR, "out", array)
    assert (output.datatype, output.shape) == ("INT32", array.shape)
    assert bytes(output.data) == array.astype("<i4").tobytes()


@pytest.mark.parametrize(
    ("image_format", "datatype"),
    [
        (ImageFormat.GRAY8, "UINT8"),
        (ImageFormat.SRGB, "UINT8"),
        (ImageFormat.SRGBA, "UINT8"),
        (ImageFormat.GRAY16, "UINT16"),
        (ImageFormat.SRGB48, "UINT16"),
        (ImageFormat.SRGBA64, "UINT16"),
        (ImageFormat.VEC32F1, "FP32"),
        (ImageFormat.VEC32F2, "FP32"),
        (ImageFormat.VEC32F4, "FP32"),
    ],
)
def test_a_frame_leaves_as_height_width_channels(
    image_format: ImageFormat, datatype: str
):
    pixels = np.ones((2, 3, image_format.channels), image_format.dtype)
    output = to_output(Kind.IMAGE, "out", ImageFrame(image_format, pixels))
    assert (output.datatype, output.shape) == (datatype, pixels.shape)
    assert bytes(output.data) == pixels.tobytes()


def test_a_region_of_a_frame_leaves_dense():
    pixels = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)[1:3, 1:3]
    output = to_output(Kind.IMAGE, "out", ImageFrame(ImageFormat.SRGB, pixels))
    assert bytes(output.data) == pixels.tobytes()


def test_a_python_tensor_leaves_under_its_own_name_shape_and_datatype():
    tensor = Tensor("mine", b"\1\0\0\0a", [1], "BYTES")
    output = to_output(Kind.PY_TENSOR, "out", tensor)
    assert (output.name, output.datatype, output.shape) == ("mine", "BYTES", (1,))
    assert bytes(output.data) == b"\1\0\0\0a"


def test_a_scattered_python_tensor_leaves_dense():
    array = np.arange(6, dtype=np.float16).reshape(2, 3).T
    output = to_output(Kind.PY_TENSOR, "out", Tensor("x", array))
    assert bytes(output.data) == array.tobytes()


@pytest.mark.parametrize(
    ("kind", "payload", "details"),
    [
        (
            Kind.OVTENSOR,
            [1, None],
            'output stream "out" carries list; a stream of tensors takes numpy.ndarray',
        ),
        (
            Kind.OVTENSOR,
            np.zeros(1, "S3"),
            'output stream "out" carries an array of |S3, for which there is no '
            "datatype",
        ),
        (
            Kind.IMAGE,
            np.zeros((1, 1, 3), np.uint8),
            'output stream "out" carries ndarray; IMAGE takes ImageFrame',
        ),
        (
            Kind.PY_TENSOR,
            np.zeros(1),
            'output stream "out" carries ndarray; OVMS_PY_TENSOR takes pyovms.Tensor',
        ),
    ],
)
def test_a_payload_of_the_wrong_type_is_named(kind: Kind, payload: Any, details: str):
    with pytest.raises(ServingError) as caught:
        to_output(kind, "out", payload)
    assert caught.value.status is Status.OV_INTERNAL_SERIALIZATION_ERROR
    assert caught.value.details == details


def test_a_response_is_its_own_message():
    response = InferResponse("m", "1")
    assert to_response(response) is response
    with pytest.raises(ServingError, match="carries NoneType; RESPONSE takes"):
        to_response(None)


@pytest.mark.parametrize("kind", [Kind.REQUEST, Kind.RESPONSE])
def test_whole_messages_are_not_converted_tensor_by_tensor(kind: Kind):
    with pytest.raises(ValueError, match="itself"):
        to_payload(kind, raw("UINT8", (1,), b"a"))
    with pytest.raises(ValueError, match="whole"):
        to_output(kind, "out", None)
