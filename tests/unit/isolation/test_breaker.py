"""When workers that keep ending are asked, and when they are started again."""

from __future__ import annotations

from itertools import product

import pytest

from ovms_mp.isolation.breaker import (
    DEATHS,
    HEALTHY_SECONDS,
    LONGEST_PAUSE,
    TRANSITIONS,
    Backoff,
    Breaker,
    Circuit,
    Event,
)


def test_the_table_has_every_pair() -> None:
    assert set(TRANSITIONS) == set(product(Circuit, Event))


def opened() -> Breaker:
    breaker = Breaker()
    for _ in range(DEATHS):
        assert breaker.circuit is Circuit.CLOSED
        breaker.died()
    assert breaker.circuit is Circuit.OPEN
    return breaker


def test_ends_in_a_row_open_it_and_an_answer_closes_it() -> None:
    breaker = opened()
    breaker.on(Event.READY)
    assert breaker.circuit is Circuit.HALF_OPEN
    breaker.answered()
    assert breaker.circuit is Circuit.CLOSED
    for _ in range(DEATHS - 1):
        breaker.died()
    assert breaker.circuit is Circuit.CLOSED


def test_an_end_on_trial_opens_it_again() -> None:
    breaker = opened()
    breaker.on(Event.READY)
    breaker.died()
    assert breaker.circuit is Circuit.OPEN


def test_an_answer_in_between_starts_the_count_again() -> None:
    breaker = Breaker()
    for _ in range(5 * DEATHS):
        breaker.died()
        breaker.answered()
    assert breaker.circuit is Circuit.CLOSED


def test_pauses_grow_up_to_a_limit_and_a_long_life_ends_them() -> None:
    backoff = Backoff()
    pauses = [backoff.pause(0.0, has_answered=False) for _ in range(30)]
    assert pauses[0] == 0.0
    assert pauses == sorted(pauses)
    assert pauses[-1] == LONGEST_PAUSE
    assert backoff.pause(HEALTHY_SECONDS, has_answered=False) == 0.0
    assert backoff.pause(0.0, has_answered=False) == pytest.approx(pauses[1])


def test_who_has_answered_is_started_again_at_once() -> None:
    """One request in many that ends its process does not keep the others waiting."""
    backoff = Backoff()
    assert [backoff.pause(0.1, has_answered=True) for _ in range(9)] == [0.0] * 9
    assert backoff.pause(0.1, has_answered=False) > 0.0
