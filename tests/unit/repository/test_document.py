"""Strict JSON, and complaints that name the place."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovms_mp.core.errors import ServingError, Status
from ovms_mp.repository import document
from ovms_mp.repository.document import Node

JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


def complaint(content: str | bytes) -> str:
    raw = content.encode() if isinstance(content, str) else content
    with pytest.raises(ServingError) as caught:
        document.parse(raw, "c.json")
    assert caught.value.status is Status.JSON_INVALID
    return caught.value.details


def value(content: str) -> Node:
    return document.parse(content.encode(), "c.json")


@given(JSON_VALUES)
def test_every_json_value_of_sane_depth_is_read_as_it_was_written(
    wanted: object,
) -> None:
    assert value(json.dumps(wanted)).value == wanted


@given(st.binary())
def test_no_bytes_do_worse_than_json_invalid(content: bytes) -> None:
    refusal = None
    try:
        document.parse(content, "c.json")
    except ServingError as error:
        refusal = error
    if refusal is not None:
        assert refusal.status is Status.JSON_INVALID
        assert refusal.details.startswith("c.json")


def test_a_syntax_error_is_told_with_line_and_column() -> None:
    text = '{"model_config_list": [\n  {"config" {}}\n]}'
    assert complaint(text).startswith("c.json: line 2, column 13: ")


def test_a_byte_order_mark_is_no_error() -> None:
    assert value("\ufeff[]").elements() == []


def test_bytes_that_are_not_utf8_are_told_by_their_position() -> None:
    assert complaint(b'{"a": "\xff"}') == "c.json: byte 7 is not UTF-8"


def test_a_number_may_not_have_thousands_of_digits() -> None:
    assert complaint("9" * 5000) == "c.json: a number has too many digits"


@pytest.mark.parametrize("depth", [65, 5_000, 1_000_000])
def test_what_is_nested_too_deeply_is_refused(depth: int) -> None:
    text = "[" * depth + "]" * depth
    assert complaint(text) == "c.json: nested deeper than 64 levels"


def test_what_is_nested_just_deeply_enough_is_read() -> None:
    node = value("[" * 64 + "]" * 64)
    for _ in range(63):
        (node,) = node.elements()
    assert node.elements() == []


def test_a_key_given_twice_is_told_with_its_place() -> None:
    node = value('{"a": {"b": 1, "c": 2, "b": 1}}').members(("a",))["a"]
    with pytest.raises(ServingError) as caught:
        node.members(("b", "c"))
    assert caught.value.details == 'c.json: a: key "b" is given twice'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("NaN", "expected a finite number, got nan"),
        ("-Infinity", "expected a finite number, got -inf"),
        ("1e999", "expected a finite number, got inf"),
        ("null", "expected a string, a number or a boolean, got null"),
        ('"\\u0000"', "NUL or a lone surrogate in a string"),
    ],
)
def test_a_scalar_is_a_string_a_boolean_or_a_finite_number(
    text: str, expected: str
) -> None:
    with pytest.raises(ServingError) as caught:
        value(text).scalar()
    assert caught.value.details == f"c.json: {expected}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("true", "expected an integer, got true"),
        ("4.0", "expected an integer, got 4.0"),
        ('"4"', 'expected an integer, got "4"'),
        ("NaN", "expected an integer, got NaN"),
        ("0", "expected an integer of at least 1, got 0"),
        (
            str(2**63),
            "expected an integer of at least 1, got 9223372036854775808",
        ),
    ],
)
def test_an_integer_is_neither_a_boolean_nor_a_float_and_has_64_bits(
    text: str, expected: str
) -> None:
    with pytest.raises(ServingError) as caught:
        value(text).integer(1)
    assert caught.value.details == f"c.json: {expected}"


def test_a_string_that_no_file_can_be_called_is_refused() -> None:
    for text in ('"a\\u0000b"', '"\\ud800"'):
        with pytest.raises(ServingError):
            value(text).text()
    assert value('"\\ud83d\\ude00"').text() == "\U0001f600"


def test_an_unknown_key_is_told_with_its_place() -> None:
    with pytest.raises(ServingError) as caught:
        value('{"known": 1, "un known": 2}').members(("known",))
    assert caught.value.details == 'c.json: "un known": unknown key'


def test_a_missing_key_is_told_with_the_object_it_is_missing_in() -> None:
    node = value('{"list": [{}]}').members(("list",))["list"].elements()[0]
    with pytest.raises(ServingError) as caught:
        node.members(("name",), ("name",))
    assert caught.value.details == 'c.json: list[0]: key "name" is missing'


def test_a_file_that_is_not_there_is_file_invalid(tmp_path: Path) -> None:
    for path in (tmp_path / "none.json", tmp_path):
        with pytest.raises(ServingError) as caught:
            document.read(path)
        assert caught.value.status is Status.FILE_INVALID
        assert str(path) in caught.value.details


def test_a_file_may_have_4_mib_and_no_byte_more(tmp_path: Path) -> None:
    file = tmp_path / "c.json"
    file.write_bytes(b"[]" + b" " * (4 * 1024 * 1024 - 2))
    assert document.read(file).elements() == []
    file.write_bytes(b"[]" + b" " * (4 * 1024 * 1024 - 1))
    with pytest.raises(ServingError) as caught:
        document.read(file)
    assert caught.value.details == f"{file}: larger than 4194304 bytes"
