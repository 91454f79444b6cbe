"""Bytes and core.messages are two forms of one thing; protobuf itself is the judge."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ovms_mp_protos import kserve

from ovms_mp.core.errors import ServingError, Status
from ovms_mp.core.messages import (
    InferRequest,
    InferResponse,
    OutputTensor,
    ServableMetadata,
    TensorInfo,
)
from ovms_mp.frontend.grpc.codec import (
    decode_request,
    encode_metadata,
    encode_response,
    encode_stream_error,
    encode_stream_response,
    request_of,
)
from ovms_mp.frontend.grpc.wire import HARMLESS_SIZE, MalformedMessage, Scan, scan
from ovms_mp.servable.parameters import Uint64
from tests.unit.frontend.grpc.strategies import (
    INT64,
    NAMES,
    UINT64,
    mutilated,
    requests,
)


def comparable(value: object) -> object:
    """`value` so that equal means: the same bits and the same types."""
    match value:
        case np.ndarray():
            # Python's floats do not keep the bits of a signalling NaN.
            same = np.where(value == value, value, value.dtype.type(0))  # noqa: PLR0124
            return (value.dtype.str, (value != value).tolist(), same.tobytes())  # noqa: PLR0124
        case memoryview() | bytes():
            return bytes(value)
        case float():
            return np.float64(value).tobytes()
        case dict():
            return {name: comparable(each) for name, each in value.items()}
        case tuple() | list():
            return [comparable(each) for each in value]
        case _:
            return (type(value), value)


def parts(request: InferRequest) -> object:
    whole = [getattr(request, name) for name in request._fields if name != "inputs"]
    tensors = [[getattr(t, name) for name in t._fields] for t in request.inputs]
    return comparable([whole, tensors])


@given(requests())
def test_a_scanned_request_equals_the_one_that_protobuf_parses(
    message: kserve.ModelInferRequest,
) -> None:
    data = message.SerializeToString()
    assert parts(request_of(scan(data))) == parts(request_of(Scan(data)))


@given(requests())
def test_a_request_keeps_everything_that_the_message_says(
    message: kserve.ModelInferRequest,
) -> None:
    request = request_of(scan(message.SerializeToString()))
    assert request.model_name == message.model_name
    assert request.model_version == message.model_version
    assert request.id == message.id
    assert set(request.parameters) == set(message.parameters)
    assert request.raw_count == len(message.raw_input_contents)
    for index, (ours, theirs) in enumerate(
        zip(request.inputs, message.inputs, strict=True)
    ):
        assert (ours.name, ours.datatype) == (theirs.name, theirs.datatype)
        assert ours.shape == tuple(theirs.shape)
        if index < request.raw_count:
            assert ours.raw is not None
            assert bytes(ours.raw) == message.raw_input_contents[index]
        else:
            assert ours.raw is None


@settings(max_examples=300)
@given(mutilated())
def test_a_mutilated_request_is_refused_or_means_what_protobuf_says(
    data: bytes,
) -> None:
    try:
        scanned = request_of(scan(data))
    except MalformedMessage:
        return
    assert parts(scanned) == parts(request_of(Scan(data)))


@settings(max_examples=300)
@given(st.binary(max_size=40))
def test_any_bytes_are_refused_or_mean_what_protobuf_says(data: bytes) -> None:
    try:
        scanned = request_of(scan(data))
    except MalformedMessage:
        return
    assert parts(scanned) == parts(request_of(Scan(data)))


FIELDS = {
    "BOOL": ("bool_contents", [True, False], np.bool_),
    "INT8": ("int_contents", [-128, 127], np.int32),
    "INT16": ("int_contents", [-1, 2], np.int32),
    "INT32": ("int_contents", [-1, 2], np.int32),
    "INT64": ("int64_contents", [-(2**63), 1], np.int64),
    "UINT8": ("uint_contents", [0, 255], np.uint32),
    "UINT16": ("uint_contents", [0, 65535], np.uint32),
    "UINT32": ("uint_contents", [0, 2**32 - 1], np.uint32),
    "UINT64": ("uint64_contents", [0, 2**64 - 1], np.uint64),
    "FP32": ("fp32_contents", [0.5, -1.5], np.float32),
    "FP64": ("fp64_contents", [0.1, -1e300], np.float64),
}


@pytest.mark.parametrize("datatype", sorted(FIELDS))
@pytest.mark.parametrize("count", [1, HARMLESS_SIZE])
def test_typed_contents_come_in_the_type_that_they_have_on_the_wire(
    datatype: str, count: int
) -> None:
    field, values, dtype = FIELDS[datatype]
    message = kserve.ModelInferRequest()
    tensor = message.inputs.add(name="x", datatype=datatype, shape=[count, 2])
    getattr(tensor.contents, field).extend(values * count)
    (decoded,) = decode_request(message.SerializeToString()).inputs
    assert decoded.raw is None
    assert decoded.contents_field == field
    assert isinstance(decoded.contents, np.ndarray)
    assert decoded.contents.dtype == dtype
    assert decoded.contents.tolist() == values * count


def test_bytes_contents_come_as_a_list() -> None:
    message = kserve.ModelInferRequest()
    tensor = message.inputs.add(name="x", datatype="BYTES", shape=[2])
    tensor.contents.bytes_contents.extend([b"", b"abc"])
    (decoded,) = decode_request(message.SerializeToString()).inputs
    assert decoded.contents == [b"", b"abc"]
    assert decoded.contents_field == "bytes_contents"


def test_of_several_contents_the_datatype_chooses() -> None:
    message = kserve.ModelInferRequest()
    tensor = message.inputs.add(name="x", datatype="FP32", shape=[1])
    tensor.contents.int_contents.append(1)
    tensor.contents.fp32_contents.append(2.5)
    (decoded,) = decode_request(message.SerializeToString()).inputs
    assert decoded.contents_field == "fp32_contents"


def test_contents_in_a_field_of_another_datatype_are_told() -> None:
    message = kserve.ModelInferRequest()
    tensor = message.inputs.add(name="x", datatype="FP32", shape=[1])
    tensor.contents.int_contents.append(1)
    (decoded,) = decode_request(message.SerializeToString()).inputs
    assert decoded.contents_field == "int_contents"


def test_empty_contents_are_none() -> None:
    message = kserve.ModelInferRequest()
    message.inputs.add(name="x", datatype="FP32", shape=[0]).contents.SetInParent()
    (decoded,) = decode_request(message.SerializeToString()).inputs
    assert decoded.contents is None
    assert decoded.contents_field == ""


@pytest.mark.parametrize("field", sorted({field for field, _, _ in FIELDS.values()}))
def test_a_packed_field_of_no_elements_is_as_good_as_none(field: str) -> None:
    number = kserve.InferTensorContents.DESCRIPTOR.fields_by_name[field].number
    data = bytes([0x2A, 0x04, 0x2A, 0x02, number << 3 | 2, 0x00])
    for found in (scan(data), Scan(data)):
        (decoded,) = request_of(found).inputs
        assert decoded.contents is None
        assert decoded.contents_field == ""


@pytest.mark.parametrize("field", ["raw", "fp32_contents", "fp64_contents"])
def test_large_data_are_views_on_the_message(field: str) -> None:
    message = kserve.ModelInferRequest()
    tensor = message.inputs.add(name="x", datatype="FP32", shape=[HARMLESS_SIZE])
    if field == "raw":
        message.raw_input_contents.append(bytes(HARMLESS_SIZE * 4))
    else:
        getattr(tensor.contents, field).extend([0.5] * HARMLESS_SIZE)
    data = message.SerializeToString()
    (decoded,) = decode_request(data).inputs
    bulk = decoded.raw if field == "raw" else decoded.contents
    assert bulk is not None
    whole = np.frombuffer(data, np.uint8)
    assert np.shares_memory(np.asarray(bulk), whole)


def test_a_shape_that_no_array_has_is_refused() -> None:
    message = kserve.ModelInferRequest()
    message.inputs.add(name="x", datatype="FP32", shape=[1] * 17)
    with pytest.raises(ServingError) as caught:
        decode_request(message.SerializeToString())
    assert caught.value.status is Status.INVALID_NO_OF_SHAPE_DIMENSIONS
    assert caught.value.details == "Expected: at most 16; Actual: 17; input name: x"


def test_kinds_of_parameters_stay_apart() -> None:
    message = kserve.ModelInferRequest()
    message.parameters["bool"].bool_param = True
    message.parameters["int64"].int64_param = 1
    message.parameters["uint64"].uint64_param = 1
    message.parameters["double"].double_param = 1.0
    message.parameters["string"].string_param = "1"
    message.parameters["nothing"].SetInParent()
    decoded = decode_request(message.SerializeToString()).parameters
    assert {name: type(value) for name, value in decoded.items()} == {
        "bool": bool,
        "int64": int,
        "uint64": Uint64,
        "double": float,
        "string": str,
        "nothing": float,
    }
    assert math.isnan(float(decoded["nothing"]))


RESPONSES = st.builds(
    InferResponse,
    model_name=NAMES,
    model_version=NAMES,
    id=NAMES,
    parameters=st.dictionaries(
        NAMES,
        st.one_of(
            st.booleans(),
            INT64,
            UINT64.map(Uint64),
            st.floats(allow_nan=False),
            NAMES,
        ),
        max_size=3,
    ),
    outputs=st.lists(
        st.builds(
            OutputTensor,
            name=NAMES,
            datatype=NAMES,
            shape=st.lists(INT64, max_size=3).map(tuple),
            data=st.binary(max_size=300) | st.binary(max_size=9).map(memoryview),
        ),
        max_size=3,
    ).map(tuple),
)


def built_by_protobuf(response: InferResponse) -> kserve.ModelInferResponse:
    message = kserve.ModelInferResponse(
        model_name=response.model_name,
        model_version=response.model_version,
        id=response.id,
    )
    kinds = {
        bool: "bool_param",
        int: "int64_param",
        Uint64: "uint64_param",
        float: "double_param",
        str: "string_param",
    }
    for name, value in response.parameters.items():
        setattr(message.parameters[name], kinds[type(value)], value)
    for output in response.outputs:
        message.outputs.add(
            name=output.name, datatype=output.datatype, shape=output.shape
        )
        message.raw_output_contents.append(bytes(output.data))
    return message


@given(RESPONSES)
def test_a_response_is_what_protobuf_would_build(response: InferResponse) -> None:
    encoded = encode_response(response)
    expected = built_by_protobuf(response)
    assert kserve.ModelInferResponse.FromString(encoded) == expected
    assert len(encoded) == expected.ByteSize()


@given(RESPONSES)
def test_a_stream_response_holds_just_the_response(response: InferResponse) -> None:
    encoded = encode_stream_response(response)
    message = kserve.ModelStreamInferResponse.FromString(encoded)
    assert message.error_message == ""
    assert message.infer_response == built_by_protobuf(response)


@pytest.mark.parametrize("size", [0, 1, 127, 128, 16383, 16384, 2**21, 2**21 - 1])
def test_lengths_around_those_of_a_varint_are_right(size: int) -> None:
    output = OutputTensor("x", "UINT8", (size,), bytes(size))
    response = InferResponse("m", "1", outputs=(output,))
    message = kserve.ModelStreamInferResponse.FromString(
        encode_stream_response(response)
    )
    assert message.infer_response == built_by_protobuf(response)


def test_a_view_of_wide_elements_is_as_long_as_its_bytes() -> None:
    pixels = np.arange(12, dtype=np.float32).reshape(3, 4)
    output = OutputTensor("x", "FP32", (3, 4), pixels.data)
    encoded = encode_response(InferResponse("m", "1", outputs=(output,)))
    message = kserve.ModelInferResponse.FromString(encoded)
    assert message.raw_output_contents == [pixels.tobytes()]


def test_an_error_of_a_stream_tells_which_request_it_means() -> None:
    message = kserve.ModelStreamInferResponse.FromString(
        encode_stream_error("what happened", "NOT_FOUND", "graph", "7")
    )
    assert message.error_message == "what happened"
    assert message.infer_response.model_name == "graph"
    assert message.infer_response.id == "7"
    assert message.infer_response.parameters["error_code"].string_param == "NOT_FOUND"


def test_metadata_keep_names_shapes_and_order() -> None:
    metadata = ServableMetadata(
        "m", ("1", "2"), (TensorInfo("in", "FP32", (-1, 3)),), ()
    )
    message = kserve.ModelMetadataResponse.FromString(encode_metadata(metadata))
    assert message.name == "m"
    assert message.versions == ["1", "2"]
    assert message.platform == "OpenVINO"
    assert [(i.name, i.datatype, list(i.shape)) for i in message.inputs] == [
        ("in", "FP32", [-1, 3])
    ]
    assert not message.outputs
