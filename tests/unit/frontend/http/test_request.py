"""A body becomes the request that it is, or is refused with OVMS's text."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovms_mp.core.errors import ServingError
from ovms_mp.core.messages import InputTensor
from ovms_mp.frontend.http.errors import Refusal
from ovms_mp.frontend.http.request import Asked, decode, header_length
from ovms_mp.servable.parameters import Uint64


def ask(document: Any, binary: bytes = b"") -> Asked:
    text = json.dumps(document).encode()
    return decode("m", "", text + binary, len(text))


def one(binary: bytes = b"", **keys: Any) -> InputTensor:
    given = {"name": "x", "shape": [2], "datatype": "FP32", **keys}
    (tensor,) = ask({"inputs": [given]}, binary).request.inputs
    return tensor


def test_data_in_json_become_the_bytes_that_binary_data_are() -> None:
    numbers = np.array([1.5, -2], np.float32)
    for tensor in (
        one(data=[1.5, -2]),
        one(data=[[1.5], [-2]]),
        one(numbers.tobytes(), parameters={"binary_data_size": 8}),
        one(numbers.tobytes()),
    ):
        assert tensor.raw == numbers.tobytes()
        assert tensor.contents is None
        assert not tensor.parameters


def test_binary_data_are_views_on_the_body() -> None:
    said: dict[str, Any] = {"shape": [1], "datatype": "UINT8"}
    head = json.dumps({"inputs": [{"name": n, **said} for n in "ab"]}).encode()
    body = head + b"ab"
    request = decode("m", "", body, len(head)).request
    assert request.raw_count == 2
    for tensor, octet in zip(request.inputs, b"ab", strict=True):
        assert isinstance(tensor.raw, memoryview)
        assert tensor.raw.obj is body
        assert tensor.raw == bytes([octet])


def test_inputs_may_come_in_either_way() -> None:
    said: dict[str, Any] = {"shape": [1], "datatype": "INT8"}
    inputs = [{"name": "a", **said, "data": [1]}, {"name": "b", **said}]
    request = ask({"inputs": inputs}, b"\x02").request
    assert [each.raw for each in request.inputs] == [b"\x01", b"\x02"]
    assert request.raw_count == 2


def test_a_number_of_values_that_is_not_the_shapes_is_left_to_the_servable() -> None:
    tensor = one(data=[1, 2, 3])
    assert tensor.raw is None
    assert tensor.contents is not None
    assert len(tensor.contents) == 3


def test_an_image_may_be_all_that_follows() -> None:
    tensor = one(b"\xff\xd8...", shape=[1], datatype="BYTES")
    assert tensor.contents == [b"\xff\xd8..."]


def test_so_it_may_behind_its_length_as_ovms_documents() -> None:
    tensor = one(b"\x03\0\0\0\xff\xd8.", shape=[1], datatype="BYTES")
    assert (tensor.raw, tensor.contents) == (b"\x03\0\0\0\xff\xd8.", None)


def test_bytes_with_a_size_are_as_they_come() -> None:
    tensor = one(
        b"\x01\0\0\0a", shape=[1], datatype="BYTES", parameters={"binary_data_size": 5}
    )
    assert tensor.raw == b"\x01\0\0\0a"


def test_parameters_keep_their_kinds() -> None:
    given = {"s": "x", "b": True, "i": -(2**63), "u": 2**64 - 1, "f": 0.5}
    asked = ask(
        {
            "inputs": [{"name": "x", "shape": [0], "datatype": "FP32", "data": []}],
            "parameters": {**given, "binary_data_output": True},
            "id": "7",
        }
    )
    assert asked.request.parameters == given
    assert type(asked.request.parameters["u"]) is Uint64
    assert asked.request.id == "7"
    assert asked.wanted == (None, True)


def test_outputs_say_how_each_is_wanted() -> None:
    outputs = [
        {"name": "a", "parameters": {"binary_data": True}},
        {"name": "b", "parameters": {"binary_data": False}},
        {"name": "c"},
    ]
    inputs = [{"name": "x", "shape": [0], "datatype": "FP32", "data": []}]
    for default in (True, False):
        asked = ask(
            {
                "inputs": inputs,
                "outputs": outputs,
                "parameters": {"binary_data_output": default},
            }
        )
        assert asked.wanted.outputs == {"a": True, "b": False, "c": default}


X: dict[str, Any] = {"name": "x", "shape": [2], "datatype": "FP32"}


@pytest.mark.parametrize(
    ("document", "binary", "text"),
    [
        ([], b"", "Request body should be JSON object"),
        ({}, b"", "Invalid JSON structure, missing inputs"),
        ({"inputs": []}, b"", "Invalid JSON structure, missing inputs"),
        ({"inputs": {}}, b"", "Not valid ndarray detected - inputs is an array"),
        ({"inputs": [1]}, b"", "an input is an object"),
        ({"inputs": [{}]}, b"", "an input has a name"),
        ({"inputs": [{"name": "x"}]}, b"", "an input has a datatype; input name: x"),
        ({"inputs": [{**X, "shape": 2}]}, b"", "an input has a shape; input name: x"),
        ({"inputs": [{**X, "shape": [-1]}]}, b"", "integers from 0 on"),
        ({"inputs": [{**X, "shape": [True]}]}, b"", "integers from 0 on"),
        ({"inputs": [{**X, "shape": [2**63]}]}, b"", "integers from 0 on"),
        ({"inputs": [{**X, "data": 1}]}, b"", "data is an array; input name: x"),
        ({"inputs": [{**X, "data": [1, 2]}], "id": 1}, b"", "id is a string"),
        ({"inputs": [X], "parameters": []}, b"", "parse request parameters"),
        ({"inputs": [X], "parameters": {"a": None}}, b"", "parameter: a"),
        ({"inputs": [X], "parameters": {"a": []}}, b"", "parameter: a"),
        (
            {"inputs": [X], "parameters": {"binary_data_output": 1}},
            b"",
            "binary_data_output is true or false",
        ),
        ({"inputs": [X], "outputs": [1]}, b"12345678", "an output is an object"),
        ({"inputs": [X], "outputs": [{}]}, b"12345678", "an output has a name"),
        (
            {
                "inputs": [X],
                "outputs": [{"name": "y", "parameters": {"binary_data": "yes"}}],
            },
            b"12345678",
            "binary_data is true or false; output name: y",
        ),
        (
            {"inputs": [X]},
            b"1234567",
            "Received buffer size is smaller than binary_data_size parameter "
            "indicates - Expected: 8 bytes; Actual: 7 bytes; input name: x, "
            "without data and binary_data_size",
        ),
        (
            {"inputs": [{**X, "parameters": {"binary_data_size": 8}}]},
            b"1234567",
            "indicates - Expected: 8 bytes; Actual: 7 bytes; input name: x",
        ),
        ({"inputs": [X]}, b"123456789", "larger than the inputs take - 1 bytes"),
        (
            {"inputs": [{**X, "parameters": {"binary_data_size": -1}}]},
            b"",
            "binary_data_size parameter is invalid",
        ),
        (
            {"inputs": [{**X, "parameters": {"binary_data_size": "8"}}]},
            b"12345678",
            "binary_data_size parameter is invalid",
        ),
        (
            {"inputs": [{**X, "data": [1, 2], "parameters": {"binary_data_size": 8}}]},
            b"12345678",
            "Request contains values both in binary data and in content value",
        ),
        (
            {"inputs": [{**X, "datatype": "BYTES"}]},
            b"12",
            "BYTES without binary_data_size; input name: x",
        ),
        (
            {"inputs": [{**X, "datatype": "mine"}]},
            b"12",
            "mine without binary_data_size; input name: x",
        ),
        (
            {"inputs": [{**X, "datatype": "mine", "data": [1]}]},
            b"",
            "Unsupported data precision detected - mine; input name: x",
        ),
        ({"inputs": [X] * 5000}, b"", "more than 4096 inputs and outputs"),
    ],
)
def test_what_is_no_request_is_refused(document: Any, binary: bytes, text: str) -> None:
    with pytest.raises(Refusal) as caught:
        ask(document, binary)
    assert text in caught.value.text


def test_more_axes_than_there_are_is_an_error_of_grpcs() -> None:
    with pytest.raises(ServingError, match="at most 16; Actual: 17; input name: x"):
        one(shape=[1] * 17)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "The file is not valid json"),
        (b"{", "The file is not valid json"),
        (b'{"a": NaN}', "The file is not valid json"),
        (b'{"a": "\xff"}', "The file is not valid json"),
        (
            b'{"inputs": [{"name": "a", "shape": [1], "shape": [2]}]}',
            "The file is not valid json - two members have the name shape",
        ),
        (b"[" * 100_000, "JSON nesting depth exceeds the allowed limit"),
        (b'{"a":' * 100_000, "JSON nesting depth exceeds the allowed limit"),
    ],
)
def test_what_is_no_json_is_refused(body: bytes, text: str) -> None:
    with pytest.raises(Refusal) as caught:
        decode("m", "", body, len(body))
    assert caught.value.text.startswith(text)


@given(st.binary())
def test_no_bytes_do_anything_but_be_refused(body: bytes) -> None:
    with pytest.raises(Refusal):
        decode("m", "", body, len(body))


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)
_INPUT = st.fixed_dictionaries(
    {
        "name": st.text() | _JSON,
        "shape": st.lists(st.integers(-1, 3)) | _JSON,
        "datatype": st.sampled_from(["FP32", "BOOL", "BYTES", "INT64", "x"]) | _JSON,
    },
    optional={"data": st.lists(_JSON) | _JSON, "parameters": _JSON},
)


@given(st.fixed_dictionaries({"inputs": st.lists(_INPUT)}, optional={"id": _JSON}))
def test_no_document_is_anything_but_a_request_or_refused(document: Any) -> None:
    text = json.dumps(document).encode() if _is_plain(document) else b"{}"
    told = ""
    try:
        decode("m", "", text, len(text))
    except (Refusal, ServingError) as error:
        told = error.text
    assert len(told) < 4096


def _is_plain(value: Any) -> bool:
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize(
    "values", [["-1"], ["1.0"], [""], ["x"], ["1", "1"], ["9" * 5000], ["\u0661"]]
)
def test_a_header_that_is_no_length_is_refused(values: list[str]) -> None:
    with pytest.raises(Refusal, match="is invalid and couldn't be parsed"):
        header_length(values, b"123")


def test_the_header_says_where_json_ends() -> None:
    assert header_length([], b"123") == 3
    assert header_length(["2"], b"123") == 2
    with pytest.raises(Refusal, match="exceeds actual payload length"):
        header_length(["4"], b"123")
