"""Refusals have a pace: who asks again at once is told later, and nobody much later."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovms_mp.frontend.pace import BURST, LONGEST, RATE, Pace

MANY = 2000

arrivals = st.lists(st.floats(0, 2 / RATE), min_size=1, max_size=300).map(
    lambda gaps: [sum(gaps[: n + 1]) for n in range(len(gaps))]
)


@given(arrivals)
def test_each_is_told_after_those_before_him_and_soon(
    arrivals: Sequence[float],
) -> None:
    pace = Pace()
    due = [pace.due(now) for now in arrivals]
    assert all(earlier <= later for earlier, later in pairwise(due))
    for now, at in zip(arrivals, due, strict=True):
        assert at <= now + LONGEST


@given(arrivals)
def test_no_more_are_told_than_the_pace_has_unless_they_would_wait_too_long(
    arrivals: Sequence[float],
) -> None:
    pace = Pace()
    told = [(now, max(now, pace.due(now))) for now in arrivals]
    for (_, at), (came, later) in zip(told, told[BURST + 1 :], strict=False):
        is_late = later >= came + LONGEST
        assert is_late or later - at > 0.9 / RATE


def test_a_few_are_told_at_once_and_a_crowd_waits_as_long_as_it_may() -> None:
    pace = Pace()
    waits = [pace.due(0.0) for _ in range(MANY)]
    assert all(at < 1e-9 for at in waits[:BURST])
    assert all(at > 1e-9 for at in waits[BURST:])
    assert waits[-1] == LONGEST
    # When nobody has asked for a while, it is as it was.
    assert [pace.due(60.0) for _ in range(BURST)] == pytest.approx(
        [60 - (BURST - n - 1) / RATE for n in range(BURST)]
    )
