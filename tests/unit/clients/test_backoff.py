"""Pauses grow, are not the same for everybody, and end."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ovms_mp_clients import Backoff, ConnectionLost
from ovms_mp_clients.backoff import Patience

LOSS = ConnectionLost("gone")


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def middle(low: float, high: float) -> float:
    return (low + high) / 2


def test_pauses_double_from_the_first_to_the_longest():
    patience = Patience(Backoff(0.5, 3.0, None), spread=middle)
    assert [patience.pause(LOSS) for _ in range(5)] == [0.5, 1.0, 2.0, 3.0, 3.0]


def test_an_answer_makes_the_next_pause_the_first_again():
    clock = Clock()
    patience = Patience(Backoff(0.5, 3.0, 10.0), clock=clock, spread=middle)
    patience.pause(LOSS)
    patience.pause(LOSS)
    patience.renew()
    clock.now += 100
    assert patience.pause(LOSS) == 0.5


def test_it_gives_up_with_the_loss_when_the_time_is_over_and_not_before():
    clock = Clock()
    patience = Patience(Backoff(4.0, 4.0, 10.0), clock=clock, spread=middle)
    pauses: list[float] = []
    for _ in range(3):
        pauses.append(patience.pause(LOSS))
        clock.now += pauses[-1]
    assert pauses == [4.0, 4.0, 2.0]
    with pytest.raises(ConnectionLost) as raised:
        patience.pause(LOSS)
    assert raised.value is LOSS


def test_without_time_it_gives_up_at_once():
    with pytest.raises(ConnectionLost):
        Patience(Backoff(give_up_after=0)).pause(LOSS)


@given(st.floats(0.8, 1.2))
def test_each_pause_is_up_to_a_fifth_longer_or_shorter(factor):
    def drawn(low: float, high: float) -> float:
        assert (low, high) == (0.8, 1.2)
        return factor

    assert Patience(Backoff(2.0), spread=drawn).pause(LOSS) == 2.0 * factor
