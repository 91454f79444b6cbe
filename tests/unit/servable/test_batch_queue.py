"""Laws of who goes together: nobody is forgotten, overtaken by his equals, or crowded."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from itertools import count

from hypothesis import given
from hypothesis import strategies as some

from ovms_mp.servable.batch_queue import BatchQueue

_numbers = count()


@dataclass(frozen=True)
class Guest:
    """Somebody who waits."""

    rows: int = 1
    key: Hashable | None = "k"
    asked: float = 0.0
    number: int = field(default_factory=lambda: next(_numbers))


def queue_of(*guests: Guest, rows: int = 4, delay: float = 0.0) -> BatchQueue[Guest]:
    queue: BatchQueue[Guest] = BatchQueue(rows, delay)
    for guest in guests:
        queue.add(guest)
    return queue


def test_as_many_rows_go_together_as_fit_and_no_later_one_slips_in():
    guests = [Guest(2), Guest(1), Guest(2), Guest(1)]
    queue = queue_of(*guests)
    assert queue.take(0) == guests[:2]
    assert queue.take(0) == guests[2:]
    assert queue.take(0) == []


def test_one_that_is_too_large_goes_by_himself():
    large, small = Guest(9), Guest(1)
    queue = queue_of(large, small)
    assert queue.take(0) == [large]
    assert queue.take(0) == [small]


def test_nobody_goes_with_another_key_nor_without_one():
    a, b, alone, again = Guest(key="a"), Guest(key="b"), Guest(key=None), Guest(key="a")
    queue = queue_of(a, b, alone, again)
    taken = [queue.take(0) for _ in range(4)]
    assert sorted(map(len, taken)) == [0, 1, 1, 2]
    assert [a, again] in taken


def test_who_has_waited_for_longest_is_in_the_next_batch():
    late, early, alone = Guest(asked=2, key="a"), Guest(asked=1), Guest(9, None, 0)
    queue = queue_of(late, early, alone)
    assert [queue.take(9)[0] for _ in range(3)] == [alone, early, late]


def test_a_batch_waits_until_it_is_full_or_its_first_member_has_waited_for_long_enough():
    first, second = Guest(asked=10), Guest(3, asked=11)
    queue = queue_of(first, delay=5)
    assert (queue.take(14), queue.due()) == ([], 15)
    queue.add(second)
    assert queue.take(14) == [first, second]
    queue = queue_of(first, delay=5)
    assert queue.take(15) == [first]
    assert queue.due() is None


def test_who_can_go_with_nobody_waits_for_nobody():
    alone = Guest(key=None, asked=10)
    assert queue_of(alone, delay=5).take(10) == [alone]


def test_who_leaves_is_in_no_batch():
    guests = [Guest(), Guest(), Guest(key=None)]
    queue = queue_of(*guests)
    for guest in (guests[0], guests[2], guests[0], Guest()):
        queue.remove(guest)
    assert len(queue) == 1
    assert queue.take(0) == [guests[1]]


GUESTS = some.lists(
    some.builds(
        Guest,
        rows=some.integers(1, 6),
        key=some.sampled_from(["a", "b", None]),
        asked=some.integers(0, 9).map(float),
    )
)


@given(GUESTS, some.sets(some.integers(0, 20)), some.integers(1, 5))
def test_everybody_who_stays_goes_once_in_order_and_no_batch_is_too_large(
    guests: list[Guest], leaving: set[int], rows: int
) -> None:
    queue = queue_of(*guests, rows=rows)
    for index, guest in enumerate(guests):
        if index in leaving:
            queue.remove(guest)
    batches: list[list[Guest]] = []
    while batch := queue.take(10):
        batches.append(batch)
    assert len(queue) == 0
    for batch in batches:
        assert len({guest.key for guest in batch}) == 1
        assert len(batch) == 1 or sum(guest.rows for guest in batch) <= rows
        assert len(batch) == 1 or batch[0].key is not None
    gone = [guest for batch in batches for guest in batch]
    stayed = [each for index, each in enumerate(guests) if index not in leaving]
    assert sorted(each.number for each in gone) == [each.number for each in stayed]
    for key in ("a", "b", None):
        numbers = [each.number for each in gone if each.key == key]
        assert numbers == sorted(numbers)


@given(GUESTS)
def test_to_take_all_leaves_nobody(guests: list[Guest]) -> None:
    queue = queue_of(*guests, delay=99)
    assert set(queue.take_all()) == set(guests)
    assert (len(queue), queue.take(1000), queue.due()) == (0, [], None)
