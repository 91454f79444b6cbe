"""Names, tags and indexes are valid where MediaPipe's are."""

from __future__ import annotations

import pytest

from ovms_mp.graph import names
from ovms_mp.graph.names import BadName

CHARACTERS = "!@#$%^&*(){}[]/=?+\\|-;:'\",<.> \0\n\té٣"


def numbered(*texts):
    found = names.numbered(texts, range(1, len(texts) + 1), "input_stream")
    names.check_indexes(found, "input_stream")
    return [(each.tag, each.index, each.name, each.line) for each in found]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("MALE:humphrey", ("MALE", 0, "humphrey")),
        ("ACTOR_1899:humphrey_1899", ("ACTOR_1899", 0, "humphrey_1899")),
        ("_1:_1", ("_1", 0, "_1")),
        ("humphrey_bogart", ("", None, "humphrey_bogart")),
        ("ACTRESS:3:mieko", ("ACTRESS", 3, "mieko")),
        ("A1:0:mieko1", ("A1", 0, "mieko1")),
        ("A1:10000:mieko1", ("A1", 10_000, "mieko1")),
    ],
)
def test_a_stream_is_a_name_with_a_tag_and_an_index_if_wanted(text, parts):
    assert names.parse(text) == parts


@pytest.mark.parametrize(
    "text",
    [
        *("", "A", "Aa", "aA", "1a", "1", ":name", "A:", "a:name", "Aa:name"),
        *("aA:name", "1A:name", "1:name", ":1:name", "A:1:", "A::name", "a:1:name"),
        *("Aa:1:name", "1A:1:name", "1:1:name", "A:1:N", "A:1:nN", "A:1:1name"),
        *("A:1:1", "A:-0:name", "A:-1:name", "A:01:name", "A:00:name"),
        *("A:10001:a", "A:1:a:", ":A:1:a", "A:1:a:a", "A:" + "9" * 5000 + ":a"),
        *("a\n", "A:1\n:a", "A\n:a"),
    ],
)
def test_what_is_no_name_of_a_stream_is_refused(text):
    with pytest.raises(BadName, match="expected"):
        names.parse(text)


@pytest.mark.parametrize("character", CHARACTERS)
def test_no_other_character_is_part_of_a_name(character):
    for text in (
        *("{0}", "{0}a", "a{0}", "{0}:a", "A{0}:a", "{0}A:a", "A:{0}:a"),
        *("A:{0}1:a", "A:1{0}:a", "A:1:a{0}", "{0}A:1:a"),
    ):
        with pytest.raises(BadName):
            names.parse(text.format(character))
    for text in ("{0}A", "A{0}", "{0}:1", "A{0}:1", "{0}A:1", "A:1{0}", "A:{0}1"):
        with pytest.raises(BadName):
            names.parse_tag_index(text.format(character))


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", ("", 0)),
        ("VIDEO", ("VIDEO", 0)),
        ("VIDEO:0", ("VIDEO", 0)),
        ("AUDIO:2", ("AUDIO", 2)),
        (":0", ("", 0)),
        (":100", ("", 100)),
    ],
)
def test_a_place_is_a_tag_or_an_index_or_both(text, parts):
    assert names.parse_tag_index(text) == parts


@pytest.mark.parametrize(
    "text",
    [
        *("a", "Aa", "aA", "1A", "1", ":", ":a", ":A", ":-0", ":-1", ":01", ":00"),
        *("A:", "A:a", "A:A", "A:-0", "A:-1", "A:01", "A:00", "A:1:", ":A:1"),
        *("A:1:2", "A:A:1", "A:10001"),
    ],
)
def test_what_is_no_place_is_refused(text):
    with pytest.raises(BadName, match="expected"):
        names.parse_tag_index(text)


def test_names_without_a_tag_count_up_beside_those_with_one():
    assert numbered("a", "T:b", "c") == [
        ("", 0, "a", 1),
        ("T", 0, "b", 2),
        ("", 1, "c", 3),
    ]


def test_indexes_may_come_in_any_order():
    assert [each[1] for each in numbered("A:2:c", "A:0:a", "A:1:b")] == [2, 0, 1]


@pytest.mark.parametrize(
    ("texts", "line", "problem"),
    [
        (("A:a", "A:b"), 2, "A:0 is used twice"),
        (("A:1:a", "A:0:b", "A:1:c"), 3, "A:1 is used twice"),
        (("A:0:a", "A:2:b"), 2, "the indexes of A are not 0 … 1"),
        (("A:10000:a",), 1, "the indexes of A are not 0 … 0"),
        (("a", "A"), 2, 'input_stream "A": expected'),
    ],
)
def test_an_index_that_is_used_twice_or_left_out_is_an_error(texts, line, problem):
    with pytest.raises(BadName, match=problem) as caught:
        numbered(*texts)
    assert caught.value.line == line
