"""Version policies."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovms_mp.core.errors import ServingError
from ovms_mp.repository import document
from ovms_mp.repository.versions import (
    All,
    Latest,
    Specific,
    VersionPolicy,
    parse_policy,
    select,
)

VERSIONS = st.sets(st.integers(1, 50))


def parsed(text: str) -> VersionPolicy:
    return parse_policy(document.parse(text.encode(), "--model_version_policy"))


@given(VERSIONS, VERSIONS, st.integers(1, 60))
def test_latest_selects_the_highest_versions_that_did_not_fail(
    there: set[int], failed: set[int], count: int
) -> None:
    selected = select(Latest(count), there, failed)
    usable = there - failed
    assert set(selected) <= usable
    assert len(selected) == min(count, len(usable))
    assert all(left < min(selected) for left in usable - set(selected))


@given(VERSIONS, VERSIONS)
def test_all_and_specific_select_what_is_there_in_ascending_order(
    there: set[int], wanted: set[int]
) -> None:
    assert select(All(), there) == tuple(sorted(there))
    assert select(Specific(frozenset(wanted)), there) == tuple(sorted(there & wanted))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"latest": {"num_versions": 3}}', Latest(3)),
        ('{"latest": {}}', Latest(1)),
        ('{"all": {}}', All()),
        ('{"specific": {"versions": [1, 3, 1]}}', Specific(frozenset({1, 3}))),
        ('{"specific": {"versions": []}}', Specific(frozenset())),
    ],
)
def test_a_policy_is_an_object_with_one_key(text: str, expected: VersionPolicy) -> None:
    assert parsed(text) == expected


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ({}, 'expected one of the keys "latest", "all" and "specific"'),
        (
            {"all": {}, "latest": {}},
            'expected one of the keys "latest", "all" and "specific"',
        ),
        ({"newest": {}}, "newest: unknown key"),
        ({"all": {"x": 1}}, "all.x: unknown key"),
        ({"all": True}, "all: expected an object, got true"),
        (
            {"latest": {"num_versions": 0}},
            "latest.num_versions: expected an integer of at least 1, got 0",
        ),
        ({"specific": {}}, 'specific: key "versions" is missing'),
        (
            {"specific": {"versions": [1, "2"]}},
            'specific.versions[1]: expected an integer, got "2"',
        ),
        ([], "expected an object, got an array"),
    ],
)
def test_a_policy_that_is_none_is_refused_with_the_place(
    policy: object, expected: str
) -> None:
    with pytest.raises(ServingError) as caught:
        parsed(json.dumps(policy))
    assert caught.value.details == f"--model_version_policy: {expected}"
