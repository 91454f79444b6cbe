"""Laws of a tensor's contents: raw or typed, they fit the shape or are refused."""

from __future__ import annotations

import numpy as np
import pytest

from ovms_mp.core.errors import Status
from ovms_mp.core.messages import InputTensor
from ovms_mp.core.tensor import Datatype
from ovms_mp.servable.boundary import Kind, to_payload
from tests.unit.servable.tensors import CONTENTS, EVERY, raw, refusal, typed

NUMERIC = (Kind.OVTENSOR, Kind.TENSOR, Kind.TFTENSOR, Kind.PY_TENSOR)
MEDIAPIPE = ["FP32", "FP16", "INT32", "INT8", "UINT8", "BOOL"]


@pytest.mark.parametrize(
    ("kind", "datatype"),
    [
        *((Kind.OVTENSOR, each) for each in EVERY),
        *((Kind.TFTENSOR, each) for each in EVERY),
        *((Kind.TENSOR, each) for each in MEDIAPIPE),
    ],
)
def test_raw_contents_become_a_view_on_the_request(kind: Kind, datatype: str):
    expected = np.arange(6).astype(Datatype[datatype].dtype).reshape(2, 3)
    message = memoryview(b"x" + expected.tobytes())
    array = to_payload(kind, raw(datatype, (2, 3), message[1:]))
    assert array.dtype == expected.dtype and array.shape == (2, 3)
    assert np.array_equal(array, expected)
    assert np.shares_memory(array, np.frombuffer(message, np.uint8))
    assert not array.flags.writeable


@pytest.mark.parametrize(
    ("kind", "datatype"),
    [
        (kind, datatype)
        for kind in NUMERIC
        for datatype in CONTENTS
        if kind is not Kind.TENSOR or datatype in MEDIAPIPE
    ],
)
def test_typed_contents_become_an_array_of_the_datatype(kind: Kind, datatype: str):
    array = np.asarray(to_payload(kind, typed(datatype, (2, 1), [0, 1])))
    assert array.dtype == Datatype[datatype].dtype
    assert array.tolist() == [[0], [1]]
    assert not array.flags.writeable


def test_typed_contents_of_the_datatype_itself_are_not_copied():
    values = np.arange(4, dtype=np.float32)
    tensor = InputTensor(
        "in", "FP32", (4,), contents=values, contents_field="fp32_contents"
    )
    assert np.shares_memory(to_payload(Kind.OVTENSOR, tensor), values)
    assert values.flags.writeable


def test_integers_too_wide_for_the_datatype_wrap():
    assert to_payload(Kind.OVTENSOR, typed("INT8", (2,), [300, -1])).tolist() == [
        44,
        -1,
    ]


@pytest.mark.parametrize("kind", [Kind.OVTENSOR, Kind.TFTENSOR])
def test_a_dimension_may_be_zero(kind: Kind):
    assert to_payload(kind, raw("FP32", (0, 3), b"")).shape == (0, 3)
    assert to_payload(kind, typed("FP32", (0, 3), [])).shape == (0, 3)


@pytest.mark.parametrize("kind", NUMERIC)
def test_no_dimensions_make_a_scalar(kind: Kind):
    array = np.asarray(to_payload(kind, raw("INT32", (), b"\x07\0\0\0")))
    assert array.shape == () and array == 7


@pytest.mark.parametrize("kind", [Kind.OVTENSOR, Kind.TFTENSOR, Kind.PY_TENSOR])
def test_no_dimension_is_negative(kind: Kind):
    assert refusal(kind, raw("FP32", (1, -1), b"1234")) == (
        Status.INVALID_SHAPE,
        "Negative dimension size is not acceptable: (1,-1); input name: in",
    )


@pytest.mark.parametrize("size", [0, -1])
def test_a_mediapipe_tensor_has_no_empty_dimension(size: int):
    assert refusal(Kind.TENSOR, raw("FP32", (1, size), b"")) == (
        Status.INVALID_SHAPE,
        f"Negative or zero dimension size is not acceptable: (1,{size}); "
        "input name: in",
    )


@pytest.mark.parametrize("kind", NUMERIC)
def test_more_dimensions_than_an_array_has_are_told_by_their_number(kind: Kind):
    status, details = refusal(kind, raw("FP32", (1,) * 100_000, b"1234"))
    assert status is Status.INVALID_SHAPE
    assert details == (
        "Expected: at most 32 dimensions; Actual: 100000; input name: in"
    )


@pytest.mark.parametrize("kind", [Kind.OVTENSOR, Kind.TENSOR])
def test_raw_contents_have_the_size_of_the_shape(kind: Kind):
    assert refusal(kind, raw("FP32", (2, 2), b"1234567")) == (
        Status.INVALID_CONTENT_SIZE,
        "Expected: 16 bytes; Actual: 7 bytes; input name: in",
    )


def test_raw_contents_of_a_tensorflow_tensor_have_the_size_of_the_shape():
    assert refusal(Kind.TFTENSOR, raw("FP32", (2, 2), b"1234567")) == (
        Status.INVALID_CONTENT_SIZE,
        "Mediapipe deserialization content size mismatch; allocated TF Tensor: "
        "16 bytes vs KServe buffer: 7 bytes",
    )


@pytest.mark.parametrize("kind", NUMERIC)
def test_typed_contents_are_as_many_as_the_shape_says(kind: Kind):
    assert refusal(kind, typed("FP32", (2, 2), [1, 2, 3])) == (
        Status.INVALID_VALUE_COUNT,
        "Expected: 4 values; Actual: 3 values; input name: in",
    )


@pytest.mark.parametrize("kind", NUMERIC)
def test_values_in_another_datatypes_field_are_no_values(kind: Kind):
    tensor = InputTensor(
        "in",
        "INT32",
        (2,),
        contents=np.zeros(2, np.float32),
        contents_field="fp32_contents",
    )
    assert refusal(kind, tensor) == (
        Status.INVALID_VALUE_COUNT,
        "Expected: 2 values; Actual: 0 values; input name: in",
    )


@pytest.mark.parametrize("kind", NUMERIC)
def test_no_contents_at_all_are_no_values(kind: Kind):
    assert refusal(kind, InputTensor("in", "FP32", (2,)))[0] is (
        Status.INVALID_VALUE_COUNT
    )


@pytest.mark.parametrize("kind", NUMERIC)
@pytest.mark.parametrize("shape", [(2**33, 2**33), (2**62,) * 3])
def test_a_shape_that_nothing_can_hold_is_refused(kind: Kind, shape: tuple[int, ...]):
    assert refusal(kind, raw("FP32", shape, b"")) == (
        Status.INVALID_CONTENT_SIZE,
        "Provided shape and datatype declare too large buffer.",
    )


@pytest.mark.parametrize("kind", [Kind.OVTENSOR, Kind.TFTENSOR, Kind.PY_TENSOR])
def test_an_empty_shape_that_no_array_has_is_refused(kind: Kind):
    assert refusal(kind, raw("FP32", (2**62, 2**62, 0), b"")) == (
        Status.INVALID_CONTENT_SIZE,
        "Provided shape and datatype declare too large buffer.",
    )


def test_a_datatype_that_does_not_exist_is_refused():
    assert refusal(Kind.OVTENSOR, raw("BF16", (1,), b"ab")) == (
        Status.INVALID_PRECISION,
        "Unknown datatype: BF16; input name: in",
    )


@pytest.mark.parametrize("datatype", sorted({*EVERY, "BYTES", "X"} - {*MEDIAPIPE}))
def test_a_mediapipe_tensor_has_few_types(datatype: str):
    assert refusal(Kind.TENSOR, raw(datatype, (1,), b"12345678")) == (
        Status.INVALID_PRECISION,
        f"Not supported precision for Mediapipe tensor deserialization: {datatype}",
    )


@pytest.mark.parametrize("datatype", ["BYTES", "BF16"])
def test_a_tensorflow_tensor_holds_numbers(datatype: str):
    assert refusal(Kind.TFTENSOR, raw(datatype, (1,), b"12")) == (
        Status.INVALID_PRECISION,
        f"Not supported precision for Tensorflow tensor deserialization: {datatype}",
    )
