"""Values in JSON are those of the tensor, or are refused."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from ovms_mp.core.tensor import BYTES, IN_GRAPHS, Datatype
from ovms_mp.frontend.http import values
from ovms_mp.frontend.http.errors import Refusal

NUMBERS = [each.name for each in IN_GRAPHS if each is not Datatype.BOOL]
INTEGERS = [each.name for each in Datatype if each.dtype.kind in "iu"]
FLOATS = ["FP16", "FP32", "FP64", "BF16"]


def there_and_back(array: np.ndarray, datatype: str) -> np.ndarray:
    told = values.in_json(array.tobytes(), datatype, "x")
    text = orjson.dumps(told, option=orjson.OPT_SERIALIZE_NUMPY)
    return values.numbers(orjson.loads(text), datatype, "x")


@given(st.data())
def test_every_array_of_every_datatype_comes_back_as_it_was(
    data: st.DataObject,
) -> None:
    datatype = data.draw(st.sampled_from(IN_GRAPHS))
    array = data.draw(arrays.arrays(datatype.dtype, st.integers(0, 20)))
    back = there_and_back(array, datatype.name)
    assert back.dtype == array.dtype
    np.testing.assert_array_equal(back, array)


@given(arrays.arrays(np.uint16, st.integers(0, 20)))
def test_bfloat16_comes_back_as_it_was(bits: np.ndarray) -> None:
    back = there_and_back(bits, "BF16")
    wide = (bits.astype(np.uint32) << 16).view(np.float32)
    again = (back.astype(np.uint32) << 16).view(np.float32)
    np.testing.assert_array_equal(again, wide)


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_bfloat16_is_the_nearest_there_is(number: float) -> None:
    try:
        (bits,) = values.numbers([number], "BF16", "x")
    except Refusal:
        assert abs(number) > 3.3e38  # rounds to infinity
        return
    near = [
        float(np.array([each << 16], np.uint32).view(np.float32)[0])
        for each in (int(bits) - 1, int(bits), int(bits) + 1)
        if 0 <= each < 1 << 16
    ]
    chosen = float(np.array([int(bits) << 16], np.uint32).view(np.float32)[0])
    distances = [abs(each - number) for each in near if math.isfinite(each)]
    assert abs(chosen - number) == min(distances)


def test_integers_of_64_bits_are_exact() -> None:
    most = [2**63 - 1, -(2**63)]
    assert values.numbers(most, "INT64", "x").tolist() == most
    assert values.numbers([2**64 - 1], "UINT64", "x").tolist() == [2**64 - 1]
    assert values.numbers([0.1], "FP64", "x")[0] == 0.1


@pytest.mark.parametrize("datatype", INTEGERS)
def test_an_integer_that_does_not_fit_is_refused(datatype: str) -> None:
    limits = np.iinfo(Datatype[datatype].dtype)
    for outside in (int(limits.max) + 1, int(limits.min) - 1):
        with pytest.raises(Refusal, match=f"{outside} is no {datatype}; input name: x"):
            values.numbers([0, outside], datatype, "x")


@pytest.mark.parametrize(
    ("datatype", "number"), [("FP16", 65520.0), ("FP32", 1e39), ("BF16", 3.4e38)]
)
def test_a_number_that_would_become_infinity_is_refused(
    datatype: str, number: float
) -> None:
    with pytest.raises(Refusal, match=f"is no {datatype}"):
        values.numbers([number], datatype, "x")


@pytest.mark.parametrize("datatype", FLOATS)
def test_what_is_no_number_is_a_word(datatype: str) -> None:
    words = ["NaN", 1.5, "Infinity", "-Infinity", 2]
    array = values.numbers(words, datatype, "x")
    told = values.in_json(array.tobytes(), datatype, "x")
    assert told == ["NaN", 1.5, "Infinity", "-Infinity", 2.0]


@pytest.mark.parametrize(
    ("data", "datatype", "actual"),
    [
        ([1.0], "INT32", "a number that is no integer"),
        ([1, True], "INT32", "true or false"),
        ([1], "BOOL", "an integer"),
        ([None], "FP32", "null"),
        ([1.0, "nan"], "FP32", "a string"),
        ([1.0, True], "FP32", "true or false"),
        ([1, [2]], "INT8", "an array"),
        ([{}], "UINT8", "an object"),
        ([2**64 * 1.0], "UINT64", "a number that is no integer"),
    ],
)
def test_what_is_no_such_value_is_refused(
    data: list[Any], datatype: str, actual: str
) -> None:
    with pytest.raises(Refusal, match=f"Actual: {actual}; input name: x"):
        values.numbers(data, datatype, "x")


def test_nested_arrays_are_those_of_a_tensor() -> None:
    nested = [[[1, 2], [3, 4]], [[5, 6], [7, 8]]]
    assert values.flattened(nested, "x") == [1, 2, 3, 4, 5, 6, 7, 8]
    for ragged in ([[1], [2, 3]], [[1], 2], [[[1]], [[2, 3]]]):
        with pytest.raises(Refusal, match="different lengths"):
            values.flattened(ragged, "x")
    deep: list[Any] = []
    for _ in range(values.MAX_DEPTH):
        deep = [deep]
    with pytest.raises(Refusal, match="nesting depth"):
        values.flattened(deep, "x")


def test_texts_are_strings_or_base64() -> None:
    data: list[Any] = [["zwölf", ""], [{"b64": "/9g="}, {"b64": ""}]]
    assert values.texts(data, "x") == ["zwölf".encode(), b"", b"\xff\xd8", b""]
    for wrong in ([1], [{"b64": "?"}], [{"b64": 1}], [{"b64": "", "c": 1}], [None]):
        with pytest.raises(Refusal, match="input name: x"):
            values.texts(wrong, "x")


def test_bytes_are_strings_where_they_are_text() -> None:
    def prefixed(*elements: bytes) -> bytes:
        return b"".join(len(e).to_bytes(4, "little") + e for e in elements)

    raw = prefixed("zwölf".encode(), b"", b"\xff\xd8")
    assert values.in_json(raw, BYTES, "x") == ["zwölf", "", {"b64": "/9g="}]
    for broken in (raw[:-1], b"\x01", b"\xff\xff\xff\xff"):
        with pytest.raises(Refusal, match="ask for binary_data; output: x"):
            values.in_json(broken, BYTES, "x")


def test_a_datatype_of_a_nodes_own_has_no_json() -> None:
    with pytest.raises(Refusal, match="ask for binary_data; output name: x"):
        values.in_json(b"", "my_type", "x")
    with pytest.raises(Refusal, match="my_type; input name: x"):
        values.numbers([1], "my_type", "x")
