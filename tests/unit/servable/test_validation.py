"""Validation of requests for models: each check, in OVMS's order, in OVMS's words."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovms_mp.core.errors import ServingError, Status
from ovms_mp.core.messages import InferRequest, InputTensor
from ovms_mp.core.shape import Dim
from ovms_mp.core.tensor import Array, Datatype
from ovms_mp.inference.engine import Port, Ports
from ovms_mp.servable.validation import check_outputs, order_inputs, read_inputs
from tests.unit.servable.ports import port


def raw(
    name: str, shape: tuple[int, ...], datatype: str = "FP32", size: int = 40
) -> InputTensor:
    return InputTensor(name, datatype, shape, raw=bytes(size))


def typed(
    name: str,
    shape: tuple[int, ...],
    values: Array,
    datatype: str = "FP32",
    field: str = "fp32_contents",
) -> InputTensor:
    return InputTensor(name, datatype, shape, contents=values, contents_field=field)


def request(*inputs: InputTensor, raw_count: int | None = None) -> InferRequest:
    if raw_count is None:
        raw_count = sum(each.raw is not None for each in inputs)
    return InferRequest("model", inputs=inputs, raw_count=raw_count)


X = Ports([port("x", (1, 10))])
TWO = Ports([port("b", (1, 10)), port("a", (1, 10))])
FIT = raw("x", (1, 10))
TEN = np.zeros(10, np.float32)

TABLE = {
    "1 too many": (
        request(FIT, raw("y", (1, 10))),
        X,
        Status.INVALID_NO_OF_INPUTS,
        "Expected: 1; Actual: 2",
    ),
    "1 none": (
        request(),
        X,
        Status.INVALID_NO_OF_INPUTS,
        "Expected: 1; Actual: 0",
    ),
    "1 none wanted": (
        request(),
        Ports([]),
        Status.INVALID_NO_OF_INPUTS,
        "Expected: 0; Actual: 0",
    ),
    "2": (
        request(FIT, raw_count=3),
        X,
        Status.INVALID_MESSAGE_STRUCTURE,
        "Size of raw_input_contents: 3 is different than number of inputs: 1",
    ),
    "3": (
        request(raw("a", (1, 10)), typed("b", (1, 10), TEN), raw_count=2),
        TWO,
        Status.INVALID_MESSAGE_STRUCTURE,
        "Passing buffers both in InferInputTensor contents and in raw_input_contents "
        "is not allowed. Detected buffer in InferInputTensor contents for input: b",
    ),
    "4": (
        request(raw("b", (1, 10)), raw("c", (1, 10))),
        TWO,
        Status.INVALID_MISSING_INPUT,
        "Required input: a",
    ),
    "4 the same twice": (
        request(raw("b", (1, 10)), raw("b", (1, 10))),
        TWO,
        Status.INVALID_MISSING_INPUT,
        "Required input: a",
    ),
    "5": (
        request(raw("x", (1, -10))),
        X,
        Status.INVALID_SHAPE,
        "Negative or zero dimension size is not acceptable: (1,-10); input name: x",
    ),
    "7": (
        request(raw("x", (1, 10), "FP64", 80)),
        X,
        Status.INVALID_PRECISION,
        "Expected: FP32; Actual: FP64; input name: x",
    ),
    "8": (
        request(raw("x", (1, 10, 1))),
        X,
        Status.INVALID_NO_OF_SHAPE_DIMENSIONS,
        "Expected: (1,10); Actual: (1,10,1); input name: x",
    ),
    "8 none": (
        request(raw("x", ())),
        X,
        Status.INVALID_NO_OF_SHAPE_DIMENSIONS,
        "Expected: (1,10); Actual: (); input name: x",
    ),
    "9": (
        request(raw("x", (2, 10))),
        X,
        Status.INVALID_BATCH_SIZE,
        "Expected: 1; Actual: 2; input name: x",
    ),
    "10": (
        request(raw("x", (1, 11))),
        X,
        Status.INVALID_SHAPE,
        "Expected: (1,10); Actual: (1,11); input name: x",
    ),
    "10 ranges": (
        request(raw("x", (9, 4, 8))),
        Ports([port("x", (-1, 4, (2, 7)))]),
        Status.INVALID_SHAPE,
        "Expected: (-1,4,[2~7]); Actual: (9,4,8); input name: x",
    ),
    "9 a batch with a range": (
        request(raw("x", (9, 4))),
        Ports([port("x", ((2, 7), 4))]),
        Status.INVALID_BATCH_SIZE,
        "Expected: [2~7]; Actual: 9; input name: x",
    ),
    "9 below an open range": (
        request(raw("x", (2, 4))),
        Ports([port("x", ((3, -1), 4))]),
        Status.INVALID_BATCH_SIZE,
        "Expected: [3~]; Actual: 2; input name: x",
    ),
    "11": (
        request(raw("x", (1, 10), size=39)),
        X,
        Status.INVALID_CONTENT_SIZE,
        "Expected: 40 bytes; Actual: 39 bytes; input name: x",
    ),
    "11 too large for any memory": (
        request(raw("x", (2**62, 2**62))),
        Ports([port("x", (-1, -1))]),
        Status.INVALID_CONTENT_SIZE,
        "Shape dimensions overflow; input name: x",
    ),
    "12": (
        request(typed("x", (1, 10), TEN[:9])),
        X,
        Status.INVALID_VALUE_COUNT,
        "Expected: 10 values; Actual: 9 values; input name: x",
    ),
    "12 nothing": (
        request(InputTensor("x", "FP32", (1, 10))),
        X,
        Status.INVALID_VALUE_COUNT,
        "Expected: 10 values; Actual: 0 values; input name: x",
    ),
    "12 in another type's field": (
        request(typed("x", (1, 10), TEN.astype("<i4"), field="int_contents")),
        X,
        Status.INVALID_VALUE_COUNT,
        "Expected: 10 values; Actual: 0 values; input name: x",
    ),
}


@pytest.mark.parametrize(
    ("asked", "ports", "status", "details"), TABLE.values(), ids=TABLE.keys()
)
def test_each_check_has_the_status_and_words_of_ovms(
    asked: InferRequest, ports: Ports, status: Status, details: str
) -> None:
    with pytest.raises(ServingError) as caught:
        read_inputs(asked, ports)
    assert (caught.value.status, caught.value.details) == (status, details)


# One request that fails every check from the given one on; mended one by one, each
# tells of the next.
def test_checks_come_in_the_order_of_ovms() -> None:
    ports = Ports([port("x", (1, 10)), port("y", (1, 10))])
    values = typed("y", (1, 10), TEN)
    bad = InputTensor("x", "FP64", (2, -1, 3), raw=b"")
    y = raw("y", (1, 10))
    steps = [
        (request(bad, values, values, raw_count=1), Status.INVALID_NO_OF_INPUTS),
        (request(bad, values, raw_count=1), Status.INVALID_MESSAGE_STRUCTURE),
        (request(bad, values, raw_count=2), Status.INVALID_MESSAGE_STRUCTURE),
        (request(raw("z", (-1,)), y), Status.INVALID_MISSING_INPUT),
        (request(bad, y), Status.INVALID_SHAPE),
        (request(raw("x", (2, 1, 3), "FP64"), y), Status.INVALID_PRECISION),
        (request(raw("x", (2, 1, 3)), y), Status.INVALID_NO_OF_SHAPE_DIMENSIONS),
        (request(raw("x", (2, 3)), y), Status.INVALID_BATCH_SIZE),
        (request(raw("x", (1, 3)), y), Status.INVALID_SHAPE),
        (request(raw("x", (1, 10), size=1), y), Status.INVALID_CONTENT_SIZE),
    ]
    for asked, status in steps:
        with pytest.raises(ServingError) as caught:
            read_inputs(asked, ports)
        assert caught.value.status is status
    assert len(read_inputs(request(FIT, y), ports)) == 2


def test_inputs_are_judged_in_the_order_of_names() -> None:
    wrong = request(raw("b", (1, 11)), raw("a", (1, 12)))
    with pytest.raises(ServingError, match=r"input name: a$"):
        read_inputs(wrong, TWO)


WIRE = {
    Datatype.BOOL: ("bool_contents", np.bool_),
    Datatype.INT8: ("int_contents", np.int32),
    Datatype.INT16: ("int_contents", np.int32),
    Datatype.INT32: ("int_contents", np.int32),
    Datatype.INT64: ("int64_contents", np.int64),
    Datatype.UINT8: ("uint_contents", np.uint32),
    Datatype.UINT16: ("uint_contents", np.uint32),
    Datatype.UINT32: ("uint_contents", np.uint32),
    Datatype.UINT64: ("uint64_contents", np.uint64),
    Datatype.FP32: ("fp32_contents", np.float32),
    Datatype.FP64: ("fp64_contents", np.float64),
    Datatype.FP16: ("fp32_contents", np.float32),
}


@pytest.mark.parametrize("datatype", list(Datatype), ids=lambda datatype: datatype.name)
def test_raw_contents_of_every_datatype_become_arrays(datatype: Datatype) -> None:
    ports = Ports([port("x", (1, 3), datatype)])
    numbers = np.array([[1, 0, 100]])
    is_opaque = datatype.dtype.kind == "V"  # bfloat16: any two bytes will do
    sent = numbers.astype("<u2" if is_opaque else datatype.dtype).view(datatype.dtype)
    tensor = InputTensor("x", datatype.name, (1, 3), raw=sent.tobytes())
    (got,) = read_inputs(request(tensor), ports)
    assert got.dtype == datatype.dtype
    assert np.array_equal(got, sent)


@pytest.mark.parametrize("datatype", list(WIRE), ids=lambda datatype: datatype.name)
def test_typed_contents_become_arrays_of_the_inputs_datatype(
    datatype: Datatype,
) -> None:
    ports = Ports([port("x", (1, 3), datatype)])
    field, dtype = WIRE[datatype]
    values = np.array([1, 0, 100]).astype(dtype)
    (got,) = read_inputs(
        request(typed("x", (1, 3), values, datatype.name, field)), ports
    )
    assert got.dtype == datatype.dtype
    assert np.array_equal(got, values.reshape(1, 3).astype(datatype.dtype))


@pytest.mark.parametrize("datatype", list(Datatype), ids=lambda datatype: datatype.name)
def test_no_values_at_all_are_those_of_a_shape_without_elements(
    datatype: Datatype,
) -> None:
    ports = Ports([port("x", (-1, 3), datatype)])
    (got,) = read_inputs(request(InputTensor("x", datatype.name, (0, 3))), ports)
    assert (got.dtype, got.shape) == (datatype.dtype, (0, 3))


def test_bfloat16_of_typed_contents_is_the_nearest_one() -> None:
    ports = Ports([port("x", (1, 9), Datatype.BF16)])
    values = np.array(
        [1, -2.5, 0, np.inf, 3.4e38, 1 + 2**-8, 1 + 3 * 2**-8, 1e-40, np.nan],
        np.float32,
    )
    (got,) = read_inputs(request(typed("x", (1, 9), values, "BF16")), ports)
    bits = np.zeros((9, 2), "<u2")
    bits[:, 1] = got.reshape(-1).view("<u2")
    numbers = bits.view("<f4").ravel()
    # Ties go to the even one, what is too large for it to infinity.
    assert numbers[:4].tolist() == [1, -2.5, 0, np.inf]
    assert numbers[4] == np.inf
    assert numbers[5:7].tolist() == [1, 1 + 2**-6]
    assert numbers[7] == pytest.approx(1e-40, rel=1e-2)
    assert np.isnan(numbers[8])


@pytest.mark.parametrize(
    ("datatype", "bad"),
    [
        ("BYTES", port("x", (1, 10))),
        ("BYTES", port("x", (1, 3, 3, 4, 4), Datatype.UINT8, "u8")),
        ("BYTES", port("x", (1, 3, 3, 3), Datatype.BOOL, "boolean")),
        ("FP8", port("x", (1, 10), None, "f8e4m3")),
        ("FP32", port("x", (1, 10), None, "f8e4m3")),
    ],
)
def test_what_is_not_there_yet_says_so_and_names_the_input(
    datatype: str, bad: Port
) -> None:
    with pytest.raises(ServingError, match=r"not supported; input name: x$") as caught:
        read_inputs(request(raw("x", (1, 10), datatype)), Ports([bad]))
    assert caught.value.status is Status.NOT_IMPLEMENTED


def test_an_output_that_cannot_be_sent_is_named() -> None:
    with pytest.raises(ServingError, match=r"u4 .* output name: y") as caught:
        check_outputs(Ports([port("y", (1,), None, "u4")]))
    assert caught.value.status is Status.NOT_IMPLEMENTED


def test_an_input_may_go_by_any_of_its_names() -> None:
    both = frozenset({"image", "serving/image:0"})
    ports = Ports([Port("image", both, Datatype.FP32, "f32", (Dim(1, 1),))])
    for name in ("image", "image:0", "serving/image:0", "serving/image"):
        assert read_inputs(request(raw(name, (1,), size=4)), ports)
        assert order_inputs({name: np.zeros(1, np.float32)}, ports)


def test_raw_contents_are_not_copied() -> None:
    buffer = bytearray(range(40))
    tensor = InputTensor("x", "FP32", (1, 10), raw=memoryview(buffer))
    (got,) = read_inputs(request(tensor), X)
    assert np.shares_memory(got, np.frombuffer(buffer, np.uint8))


def test_zero_is_a_length() -> None:
    ports = Ports([port("x", (-1, 10))])
    (got,) = read_inputs(request(raw("x", (0, 10), size=0)), ports)
    assert got.shape == (0, 10)


def test_a_shape_of_unknown_rank_takes_any() -> None:
    ports = Ports([port("x", None)])
    for shape in [(), (4,), (2, 1, 2)]:
        size = 4 * int(np.prod(shape))
        (got,) = read_inputs(request(raw("x", shape, size=size)), ports)
        assert got.shape == shape


tensors = st.builds(
    InputTensor,
    name=st.sampled_from(["a", "b", "a:0", "c", ""]),
    datatype=st.sampled_from(["FP32", "INT64", "BYTES", "", "BF16"]),
    shape=st.lists(
        st.sampled_from([-(2**63), -1, 0, 1, 2, 10, 2**31, 2**62, 2**63 - 1]),
        max_size=4,
    ).map(tuple),
    raw=st.none() | st.binary(max_size=50) | st.just(bytes(40)),
    contents=st.none() | st.sampled_from([TEN, TEN[:0]]) | st.just([b"a"]),
    contents_field=st.sampled_from(["", "fp32_contents", "bytes_contents"]),
)


@given(
    st.builds(
        InferRequest,
        model_name=st.just("model"),
        inputs=st.lists(tensors, max_size=3).map(tuple),
        raw_count=st.integers(0, 3),
    ),
    st.sampled_from(
        [
            TWO,
            Ports([port("a", (-1, -1)), port("b", (0, (2, 5)))]),
            Ports([port("a", None)]),
            Ports([port("a", (-1, -1, -1), Datatype.INT64)]),
        ]
    ),
)
def test_any_request_is_either_arrays_that_fit_or_a_serving_error(
    asked: InferRequest, ports: Ports
) -> None:
    try:
        arrays = read_inputs(asked, ports)
    except ServingError:
        return
    for array, each in zip(arrays, ports, strict=True):
        assert each.datatype is not None
        assert array.dtype == each.datatype.dtype
        if each.shape is not None:
            assert len(array.shape) == len(each.shape)
            assert all(map(Dim.admits, each.shape, array.shape))
