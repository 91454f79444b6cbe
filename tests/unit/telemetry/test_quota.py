"""A flood of one kind is told in few lines, and with its size."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from ovms_mp.telemetry.quota import MAX_LINES, Quota
from tests.wire.waiting import until

NAME = "ovms_mp.of_this_test"


class Heard(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@pytest.fixture
def clock() -> list[float]:
    return [0.0]


@pytest.fixture
def quota(clock: list[float]) -> Iterator[Quota]:
    quota = Quota(lambda: clock[0])
    log = logging.getLogger(NAME)
    log.setLevel(logging.INFO)
    log.addFilter(quota)
    yield quota
    log.removeFilter(quota)
    quota.close()


@pytest.fixture
def heard() -> Iterator[list[str]]:
    handler = Heard()
    log = logging.getLogger(NAME)
    log.addHandler(handler)
    yield handler.lines
    log.removeHandler(handler)


def say(text: str, kind: str, times: int = 1) -> None:
    for _ in range(times):
        logging.getLogger(NAME).info(text, extra={"kind": kind})


def test_of_a_flood_some_lines_are_shown_and_the_rest_is_counted(
    quota: Quota, heard: list[str]
) -> None:
    say("x", "a", MAX_LINES + 990)
    assert heard == ["x"] * MAX_LINES
    quota.close()
    assert heard[MAX_LINES:] == ["a: 990 more within a second are not shown"]


def test_what_would_not_be_shown_is_counted_and_need_not_be_made(
    quota: Quota, heard: list[str]
) -> None:
    assert not quota.leaves_out("a")
    say("x", "a", MAX_LINES)
    # The first that is left out is a record still: who tells of it is made of that.
    assert not quota.leaves_out("a")
    say("x", "a")
    assert [quota.leaves_out(each) for each in "aaab"] == [True, True, True, False]
    quota.close()
    assert heard == ["x"] * MAX_LINES + ["a: 4 more within a second are not shown"]
    assert not quota.leaves_out("a")


def test_the_rest_is_told_by_itself_when_nothing_comes_after_it(
    quota: Quota, heard: list[str]
) -> None:
    say("x", "a", MAX_LINES + 1)
    assert until(lambda: len(heard) == MAX_LINES + 1)
    assert heard[-1] == "a: 1 more within a second are not shown"


def test_a_flood_of_one_kind_hides_nothing_of_another(
    quota: Quota, heard: list[str]
) -> None:
    say("x", "a", 1000)
    say("y", "b")
    assert heard[-1] == "y"


def test_who_is_not_too_fast_is_heard_always(
    quota: Quota, heard: list[str], clock: list[float]
) -> None:
    for _ in range(5):
        say("x", "a", MAX_LINES)
        clock[0] += 1.0
    assert heard == ["x"] * 5 * MAX_LINES


def test_the_first_exception_of_each_kind_has_its_traceback_in_any_flood(
    quota: Quota, heard: list[str]
) -> None:
    def fail(kind: type[Exception], text: str) -> None:
        try:
            raise kind(text)
        except kind:
            logging.getLogger(NAME).exception(text)

    def fail_elsewhere() -> None:
        try:
            raise ValueError
        except ValueError:
            logging.getLogger(NAME).exception("elsewhere")

    for _ in range(MAX_LINES + 5):
        fail(ValueError, "flood")
    fail(KeyError, "of another type")
    fail_elsewhere()
    assert heard == ["flood"] * MAX_LINES + ["of another type", "elsewhere"]
