"""Laws of PyTensorOvTensorConverterCalculator."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ovms_mp_calculators.tensor_converter import PyTensorOvTensorConverterCalculator

from ovms_mp.calculator.pyovms import Tensor
from ovms_mp.core.errors import ServingError, Status
from ovms_mp.core.tensor import IN_GRAPHS, Datatype
from ovms_mp.graph.runner import CalculatorRunner

TO_PY = 'input_stream: "OVTENSOR:in" output_stream: "OVMS_PY_TENSOR:out"'
TO_OV = 'input_stream: "OVMS_PY_TENSOR:in" output_stream: "OVTENSOR:out"'
NAMED = 'tag_to_output_tensor_names { key: "OVMS_PY_TENSOR" value: "named" }'
EVERY = [datatype.name for datatype in IN_GRAPHS]


def node(streams: str, options: str | None = NAMED) -> CalculatorRunner:
    """`options` are the fields of the message; None is no message."""
    name = "mediapipe.PyTensorOvTensorConverterCalculatorOptions"
    given = f"node_options: {{ [type.googleapis.com/{name}]: {{ {options} }} }}"
    return CalculatorRunner(
        PyTensorOvTensorConverterCalculator,
        f'calculator: "PyTensorOvTensorConverterCalculator" {streams} '
        f"{'' if options is None else given}",
    )


def converted(streams: str, payload: Any) -> Any:
    runner = node(streams)
    runner.feed("in", payload, at=4)
    assert runner.error is None
    ((at, result),) = runner.outputs["out"]
    assert at == 4
    return result


def failure(streams: str, payload: Any) -> str:
    runner = node(streams)
    runner.feed("in", payload, at=0)
    assert runner.is_done and runner.error is not None
    assert runner.error.status is Status.MEDIAPIPE_EXECUTION_ERROR
    return runner.error.details


def refused_tensor(streams: str, payload: Any) -> str:
    """The text of a failure that is the tensor's fault."""
    details = failure(streams, payload)
    head = (
        "INVALID_ARGUMENT: CalculatorGraph::Run() failed: Calculator::Process() for "
        'node "PyTensorOvTensorConverterCalculator" failed: '
    )
    assert details.startswith(head)
    return details.removeprefix(head)


@pytest.mark.parametrize("datatype", EVERY)
def test_an_array_becomes_a_tensor_of_the_name_in_the_options(datatype: str):
    array = np.arange(6).astype(Datatype[datatype].dtype).reshape(2, 3)
    tensor = converted(TO_PY, array)
    assert isinstance(tensor, Tensor)
    assert (tensor.name, tensor.datatype, tensor.shape) == ("named", datatype, (2, 3))
    assert bytes(tensor) == array.tobytes()
    assert tensor.ptr == array.ctypes.data
    letter = {"INT64": "q", "UINT64": "Q"}.get(datatype, array.dtype.char)
    assert tensor.data.format == letter


@pytest.mark.parametrize("datatype", EVERY)
def test_a_tensor_becomes_an_array(datatype: str):
    array = np.arange(6).astype(Datatype[datatype].dtype).reshape(2, 3)
    result = converted(TO_OV, Tensor("x", array))
    assert result.dtype == array.dtype
    assert np.array_equal(result, array)
    assert np.shares_memory(result, array)
    assert not result.flags.writeable


def test_an_array_is_what_the_tensor_says_of_itself():
    data = np.array([1.5, 2.5], np.float32)
    result = converted(TO_OV, Tensor("x", data.tobytes(), (2, 1), "FP32"))
    assert result.tolist() == [[1.5], [2.5]]


@pytest.mark.parametrize("shape", [(), (0, 3), (1,)])
def test_small_shapes_survive_both_ways(shape: tuple[int, ...]):
    array = np.zeros(shape, np.int64)
    tensor = converted(TO_PY, array)
    assert tensor.shape == shape
    assert converted(TO_OV, tensor).shape == shape


def test_scattered_memory_becomes_dense():
    array = np.arange(12, dtype=np.int32).reshape(3, 4)[:, ::2]
    tensor = converted(TO_PY, array)
    assert np.frombuffer(tensor, np.int32).tolist() == array.reshape(-1).tolist()
    assert np.array_equal(converted(TO_OV, Tensor("x", array)), array)


BF16 = np.array([[0x3F80, 0x4000], [0x4040, 0x4080]], "<u2").view("V2")


@pytest.mark.parametrize("array", [BF16, BF16.T, BF16[0, 0:0], BF16[1].reshape(2, 1)])
def test_bf16_is_bytes_to_a_handler_and_comes_back(array: Any):
    tensor = converted(TO_PY, array)
    assert (tensor.name, tensor.datatype, tensor.shape) == (
        "named",
        "BF16",
        array.shape,
    )
    assert memoryview(tensor).format == "B"
    assert bytes(tensor) == array.tobytes()
    back = converted(TO_OV, tensor)
    assert (back.dtype, back.shape) == (array.dtype, array.shape)
    assert back.tobytes() == array.tobytes()


@pytest.mark.parametrize(
    "options",
    [None, "", NAMED, 'tag_to_output_tensor_names { key: "OVTENSOR" value: "x" }'],
)
def test_the_options_are_ignored_towards_arrays(options: str | None):
    runner = node(TO_OV, options)
    runner.feed("in", Tensor("x", np.zeros(1)), at=0)
    assert runner.outputs["out"][0].payload.tolist() == [0]


def test_a_datatype_that_is_none_fails():
    text = refused_tensor(TO_PY, np.zeros(1, np.complex64))
    assert text == "Undefined precision in input tensor: complex64"
    text = refused_tensor(TO_OV, Tensor("x", b"abc", datatype="BYTES"))
    assert text == "Undefined precision in input python tensor: BYTES"


def test_a_negative_dimension_fails():
    text = refused_tensor(TO_OV, Tensor("x", b"abcd", (-1, 4), "UINT8"))
    assert text == "dimension negative during conversion: -1"


def test_a_buffer_that_does_not_fit_fails():
    text = refused_tensor(TO_OV, Tensor("x", b"abcd", (2, 4), "FP32"))
    assert text == "python buffer size: 4; OV tensor size: 32; mismatch"


def test_a_payload_of_the_other_side_fails():
    text = failure(TO_PY, Tensor("x", b"a"))
    assert text.endswith('The Packet stores "Tensor", but "ndarray" was requested.')
    text = failure(TO_OV, np.zeros(1))
    assert text.endswith('The Packet stores "ndarray", but "Tensor" was requested.')


@pytest.mark.parametrize(
    "streams",
    [
        'input_stream: "OVTENSOR:in" output_stream: "OVTENSOR:out"',
        'input_stream: "OVMS_PY_TENSOR:in" output_stream: "OVMS_PY_TENSOR:out"',
        'input_stream: "OVTENSOR:in"',
        f'{TO_PY} input_stream: "OVMS_PY_TENSOR:more"',
        f'{TO_PY} output_stream: "OVTENSOR:more"',
    ],
)
def test_one_stream_goes_in_and_one_comes_out(streams: str):
    with pytest.raises(ServingError, match="one input and one output stream are need"):
        node(streams)


@pytest.mark.parametrize(
    "streams",
    [
        'input_stream: "OVTENSOR1:in" output_stream: "OVMS_PY_TENSOR:out"',
        'input_stream: "in" output_stream: "OVTENSOR:out"',
        'input_stream: "OVTENSOR:0:in" input_stream: "OVTENSOR:1:i" '
        'output_stream: "OVMS_PY_TENSOR:out"',
    ],
)
def test_no_other_streams_are_taken(streams: str):
    with pytest.raises(ServingError) as caught:
        node(streams)
    assert caught.value.status is Status.MEDIAPIPE_GRAPH_INITIALIZATION_ERROR


@pytest.mark.parametrize(
    "options",
    [
        None,
        "",
        "tag_to_output_tensor_names {}",
        'tag_to_output_tensor_names { key: "OVTENSOR" value: "x" }',
    ],
)
def test_a_tensor_needs_a_name(options: str | None):
    with pytest.raises(ServingError, match="needs an entry with the key") as caught:
        node(TO_PY, options)
    assert caught.value.status is Status.MEDIAPIPE_GRAPH_INITIALIZATION_ERROR


def test_other_names_in_the_options_do_no_harm():
    other = 'tag_to_output_tensor_names { key: "OTHER" value: "x" }'
    runner = node(TO_PY, f"{other} {NAMED}")
    runner.feed("in", np.zeros(1), at=0)
    assert runner.outputs["out"][0].payload.name == "named"
