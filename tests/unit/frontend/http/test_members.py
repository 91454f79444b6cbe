"""A member that is named twice is found, wherever it is, and nothing else is."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ovms_mp.frontend.http.errors import Refusal
from ovms_mp.frontend.http.members import ensure_single


class Pairs(tuple[tuple[str, Any], ...]):
    """An object as it is written, whatever names it has."""

    __slots__ = ()


_LEAF = st.none() | st.booleans() | st.integers(-9, 9) | st.text('a:"\\{', max_size=4)
_NAME = st.sampled_from(["a", "b", 'c": ', "\\", "é"])
_DOCUMENTS = st.recursive(
    _LEAF,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(st.tuples(_NAME, inner), max_size=3).map(Pairs)
    ),
    max_leaves=12,
)


def written(said: Any) -> str:
    match said:
        case Pairs():
            inside = (f"{json.dumps(name)} : {written(each)}" for name, each in said)
            return "{" + ",".join(inside) + "}"
        case list():
            return "[" + ", ".join(map(written, said)) + "]"
        case _:
            return json.dumps(said)


def has_two(said: Any) -> bool:
    match said:
        case Pairs():
            names = [name for name, _ in said]
            return len({*names}) < len(names) or any(has_two(each) for _, each in said)
        case list():
            return any(map(has_two, said))
        case _:
            return False


@given(_DOCUMENTS)
@example([[Pairs([("a", 1), ("a", 2)])]])
@example([1, Pairs([("a", [Pairs([("b", 1), ("b", 1)])])])])
@example([[Pairs([("a", ":"), ("b", 1)])]])
def test_two_of_a_name_are_refused_and_nothing_else_is(document: Any) -> None:
    text = written(document).encode()
    if not has_two(document):
        ensure_single(text, orjson.loads(text))
        return
    with pytest.raises(Refusal, match="two members have the name"):
        ensure_single(text, orjson.loads(text))


def test_a_name_that_is_written_in_another_way_is_the_same() -> None:
    text = rb'{"inputs": [], "\u0069nputs": [7]}'
    with pytest.raises(Refusal) as refused:
        ensure_single(text, orjson.loads(text))
    assert refused.value.text == (
        "The file is not valid json - two members have the name inputs"
    )


def test_numbers_of_any_length_do_no_harm() -> None:
    text = b'[[{"a": 1e%s}], {"b": %s, "b": 1}]' % (b"0" * 6000, b"1" * 6000)
    with pytest.raises(Refusal, match="the name b"):
        ensure_single(text, [])
