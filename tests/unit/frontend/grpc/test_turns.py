"""Calls that are refused for want of room are told in turn, each as it was."""

from __future__ import annotations

import pytest

from ovms_mp.core.pending import Pending
from ovms_mp.frontend.grpc.turns import MAX_WAITING, Turns
from ovms_mp.frontend.transport.seam import Abort, Code
from tests.fakes.call import FakeCall

MANY = 2 * MAX_WAITING
SECONDS = 60
FULL = Abort(Code.RESOURCE_EXHAUSTED, "no room")


def test_all_of_a_crowd_are_told() -> None:
    turns = Turns()
    answers = [turns.answer(FULL, FakeCall()) for _ in range(MANY)]
    waiting = [each for each in answers if each is not None]
    for answer in waiting:
        with pytest.raises(Abort) as refused:
            answer.result(SECONDS)
        assert refused.value is FULL
    # However slow this machine is, not all of so many came at the pace of refusals.
    assert waiting


def test_there_are_no_more_than_so_many_who_wait() -> None:
    turns = Turns()
    answers = [turns.answer(FULL, FakeCall()) for _ in range(MANY)]
    waiting = [each for each in answers if each is not None]
    assert sum(not each.is_settled for each in waiting) <= MAX_WAITING
    for each in waiting:
        with pytest.raises(Abort):
            each.result(SECONDS)


def test_only_who_finds_no_room_waits() -> None:
    turns = Turns()
    other = Abort(Code.INVALID_ARGUMENT, "no")
    assert [turns.answer(other, FakeCall()) for _ in range(MANY)] == [None] * MANY


def test_who_has_no_time_to_wait_is_told_at_once() -> None:
    turns = Turns()
    hurried = [turns.answer(FULL, FakeCall(0.0)) for _ in range(MANY)]
    assert hurried == [None] * MANY


def test_who_has_left_is_not_told() -> None:
    turns = Turns()
    for _ in range(MANY):
        answer = turns.answer(FULL, FakeCall())
        if answer is not None and answer.cancel():
            break
    later = Pending[bytes]()
    turns.fail(later, FULL, FakeCall())
    with pytest.raises(Abort):
        later.result(SECONDS)
