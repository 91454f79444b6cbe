"""Who falls is helped up at once; who falls again and again waits longer each time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ovms_mp.supervisor.restarts import (
    LONGEST_DELAY_SECONDS,
    STEADY_SECONDS,
    Restarts,
)


def test_delays_double_until_they_are_long_enough() -> None:
    restarts = Restarts()
    delays = [restarts.delay(0.0) for _ in range(10)]
    assert delays == [0, 0.5, 1, 2, 4, 8, 16, 30, 30, 30]
    assert restarts.in_a_row == 10


def test_a_worker_that_was_well_begins_anew() -> None:
    restarts = Restarts()
    for _ in range(5):
        restarts.delay(1.0)
    assert restarts.delay(STEADY_SECONDS) == 0
    assert restarts.in_a_row == 1
    assert restarts.delay(0.0) == 0.5


@given(st.lists(st.floats(0, STEADY_SECONDS, exclude_max=True), max_size=1000))
def test_no_delay_is_too_long_and_none_shorter_than_the_one_before(
    served: list[float],
) -> None:
    restarts = Restarts()
    delays = [restarts.delay(each) for each in served]
    assert delays == sorted(delays)
    assert all(each <= LONGEST_DELAY_SECONDS for each in delays)
