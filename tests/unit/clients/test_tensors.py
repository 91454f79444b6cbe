"""What a client encodes is what KServe means, and what it decodes is what was sent."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from ovms_mp_clients import ClientError
from ovms_mp_clients.tensors import decode, encode
from ovms_mp_protos import kserve

DTYPES = ["?", "u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8"]


def echo(request):
    """The response whose outputs are a request's inputs."""
    response = kserve.ModelInferResponse(id=request.id)
    for each in request.inputs:
        response.outputs.add(name=each.name, datatype=each.datatype, shape=each.shape)
    response.raw_output_contents.extend(request.raw_input_contents)
    for key in request.parameters:
        response.parameters[key].CopyFrom(request.parameters[key])
    return kserve.ModelInferResponse.FromString(response.SerializeToString())


@given(
    st.sampled_from(DTYPES).flatmap(
        lambda dtype: hnp.arrays(
            dtype, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5)
        )
    )
)
def test_arrays_come_back_with_values_dtype_and_shape(array):
    result = decode(echo(encode("m", {"x": array})))
    assert result["x"].dtype == array.dtype
    assert result["x"].shape == array.shape
    assert result["x"].tobytes() == array.tobytes()


def test_a_view_that_is_not_contiguous_is_sent_as_it_reads():
    array = np.arange(12).reshape(3, 4)[:, ::2].T
    assert (decode(echo(encode("m", {"x": array})))["x"] == array).all()


def test_strings_and_bytes_are_bytes():
    result = decode(echo(encode("m", {"x": ["a", "é", ""], "y": [b"\x00"]})))
    assert result.outputs["x"] == [b"a", "é".encode(), b""]
    assert result.outputs["y"] == [b"\x00"]
    with pytest.raises(TypeError, match="'x' is BYTES"):
        result["x"]


def test_parameters_keep_their_kinds():
    request = encode("m", {}, parameters={"b": True, "i": 1, "f": 0.5, "s": "t"})
    kinds = {
        key: request.parameters[key].WhichOneof("parameter_choice")
        for key in request.parameters
    }
    assert kinds == {
        "b": "bool_param",
        "i": "int64_param",
        "f": "double_param",
        "s": "string_param",
    }
    assert decode(echo(request)).parameters == {"b": True, "i": 1, "f": 0.5, "s": "t"}


def test_a_dtype_without_a_kserve_name_is_refused():
    with pytest.raises(
        TypeError, match="input 'x': KServe has no datatype for complex64"
    ):
        encode("m", {"x": np.zeros(1, np.complex64)})


def answered(datatype: str, shape: list[int], **contents: object):
    response = kserve.ModelInferResponse()
    tensor = response.outputs.add(name="y", datatype=datatype, shape=shape)
    for field, values in contents.items():
        getattr(tensor.contents, field).extend(values)
    return response


@pytest.mark.parametrize(
    ("datatype", "field", "values"),
    [
        ("BOOL", "bool_contents", [True, False]),
        ("INT8", "int_contents", [-1, 1]),
        ("INT64", "int64_contents", [-1, 1]),
        ("UINT16", "uint_contents", [0, 65535]),
        ("UINT64", "uint64_contents", [0, 1 << 63]),
        ("FP32", "fp32_contents", [0.5, 1.5]),
        ("FP64", "fp64_contents", [0.1, 0.2]),
    ],
)
def test_elements_that_are_not_raw_are_read_as_well(datatype, field, values):
    result = decode(answered(datatype, [1, 2], **{field: values}))
    assert result["y"].tolist() == [values]
    sent = encode("m", {"x": result["y"]}).inputs[0]
    assert (sent.datatype, list(sent.shape)) == (datatype, [1, 2])
    assert not result["y"].flags.writeable


def test_strings_that_are_not_raw_are_read_as_well():
    result = decode(answered("BYTES", [2], bytes_contents=[b"a", b""]))
    assert result.outputs["y"] == [b"a", b""]


@pytest.mark.parametrize(
    ("datatype", "shape", "raw"),
    [
        ("FP32", [2], b"1234567"),
        ("FP32", [2], b"1234"),
        ("BF16", [1], b"12"),
        ("BYTES", [1], b"\x05\0\0\0abcd"),
        ("BYTES", [1], b"\x05\0"),
    ],
)
def test_an_output_that_does_not_hold_what_it_says_is_an_error(datatype, shape, raw):
    response = answered(datatype, shape)
    response.raw_output_contents.append(raw)
    with pytest.raises(ClientError) as raised:
        decode(response)
    assert str(raised.value) == f"output 'y' does not hold {datatype} {shape}"


def test_contents_for_other_outputs_than_there_are_are_an_error():
    response = answered("FP32", [1])
    response.raw_output_contents.extend([b"1234", b"1234"])
    with pytest.raises(ClientError, match="has 1 outputs and contents for 2"):
        decode(response)
