"""In pieces JSON means what it means at once."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ovms_mp.frontend.http import pieces
from ovms_mp.frontend.http.errors import Refusal
from ovms_mp.frontend.http.pieces import PIECE, LongArrays

LONG = json.dumps(list(range(PIECE)))


def numbers(text: str, datatype: str = "FP64") -> list[Any]:
    return pieces.read(text.encode(), datatype, "x").tolist()


def test_a_long_array_is_that_of_the_whole_document() -> None:
    text = f'{{"inputs": [{{"data" : {LONG}, "name": "x"}}, {{"data": [1]}}]}}'
    long = LongArrays(text.encode())
    assert len(long.rest) < 200
    first, second = orjson.loads(long.rest)["inputs"]
    found = long.of(first["data"])
    assert found is not None
    assert first["name"] == "x"
    assert numbers(found.decode()) == json.loads(LONG)
    assert long.of(second["data"]) is None


@pytest.mark.parametrize(
    "text",
    [
        f'{{"data": [{LONG}]}}',  # nested
        f'{{"data": ["{"x" * PIECE * 2}"]}}',
        f'{{"data": [{{"b64": "{"x" * PIECE * 2}"}}]}}',
        f'{{"x\\"data": {LONG}}}',  # another key
        f'{{"x": "data", "y": {LONG}}}',
        f'{{"x": "\\"data\\":[{"1," * PIECE}1]"}}',  # a string
        f'{{"data": [{"1," * PIECE}',  # not closed
        '{"data": [1, 2]}',
        '{"data": []}',
        '"data"',
        "",
    ],
)
def test_what_is_no_long_array_is_left_as_it_is(text: str) -> None:
    assert LongArrays(text.encode()).rest == text.encode()


def test_a_client_cannot_write_what_stands_for_an_array() -> None:
    long = LongArrays(f'{{"data": {LONG}, "b": [{{"0": 0}}]}}'.encode())
    assert long.of([{"0": 0}]) is None
    assert long.of([]) is None
    assert long.of([0]) is None


@settings(max_examples=10)
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1))
def test_pieces_come_together(some: list[float]) -> None:
    every = some * (PIECE // len(some))
    assert numbers(json.dumps(every)[1:-1]) == every


@pytest.mark.parametrize("at", [0, 1, PIECE // 2, -1])
@pytest.mark.parametrize("what", ["", "x", "1 2", "nul", "01"])
def test_what_is_no_number_is_found_in_any_piece(at: int, what: str) -> None:
    every = ["1"] * PIECE * 2
    every[at] = what
    with pytest.raises(Refusal, match="is not valid json"):
        numbers(",".join(every))


def test_values_are_judged_in_every_piece() -> None:
    every = ["1"] * PIECE * 2
    for wrong in ("null", "true", "300", "1.5"):
        with pytest.raises(Refusal, match="input name: x"):
            numbers(",".join([*every, wrong]), "UINT8")
    with pytest.raises(Refusal, match="strings"):
        numbers(",".join(every), "BYTES")


@settings(max_examples=10)
@given(st.integers(0, 3 * PIECE // 16))
def test_what_is_written_is_the_array(length: int) -> None:
    array = np.arange(length, dtype=np.float32)
    assert json.loads(b"".join(pieces.write(array))) == array.tolist()
