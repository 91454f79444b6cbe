"""Slots: one user each, first come first served, none lost."""

from __future__ import annotations

import threading
from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovms_mp.core.errors import ServingError, Status
from ovms_mp.core.pending import Cancelled, Pending
from ovms_mp.inference.pool import SlotPool


def test_who_waits_longest_is_served_first() -> None:
    pool = SlotPool(["slot"])
    assert pool.take() == "slot"
    waiting = [pool.acquire() for _ in range(3)]
    served: list[int] = []
    for number, each in enumerate(waiting):
        each.on_settled(lambda _, number=number: served.append(number))
    for expected in ([0], [0, 1], [0, 1, 2]):
        pool.give("slot")
        assert served == expected
    assert (pool.busy, pool.waiting) == (1, 0)
    pool.give("slot")
    assert pool.busy == 0


def test_the_slot_that_was_used_last_goes_first() -> None:
    pool = SlotPool(["a", "b", "c"])
    pool.take()
    second = pool.take()
    assert second is not None
    pool.give(second)
    assert pool.take() == second


def test_who_gives_up_leaves_the_queue_at_once() -> None:
    pool = SlotPool(["slot"])
    pool.take()
    first, second = pool.acquire(), pool.acquire()
    assert first.cancel()
    assert pool.waiting == 1
    pool.give("slot")
    assert isinstance(first.error, Cancelled)
    assert second.value() == "slot"


def test_a_slot_passes_over_who_gives_up_just_now() -> None:
    pool = SlotPool(["slot"])
    pool.take()
    first, second = pool.acquire(), pool.acquire()
    # Watchers run between giving up and leaving the queue.
    first.on_settled(lambda _: pool.give("slot"))
    first.cancel()
    assert second.value() == "slot"
    assert (pool.busy, pool.waiting) == (1, 0)


def test_a_slot_once_had_cannot_be_cancelled_away() -> None:
    pool = SlotPool(["slot"])
    had = pool.acquire()
    assert not had.cancel()
    assert pool.busy == 1


def test_a_full_queue_refuses_and_recovers() -> None:
    pool = SlotPool(["slot"], max_waiting=2)
    pool.take()
    queued = [pool.acquire(), pool.acquire()]
    with pytest.raises(ServingError) as caught:
        pool.acquire()
    assert caught.value.status is Status.RESOURCE_EXHAUSTED
    queued[0].cancel()
    assert not pool.acquire().is_settled
    assert pool.waiting == 2


def test_closing_fails_who_waits_and_forgets_slots_that_come_back() -> None:
    pool = SlotPool(["a", "b"])
    assert {pool.take(), pool.take()} == {"a", "b"}
    waiting = pool.acquire()
    pool.close()
    with pytest.raises(ServingError, match="retired"):
        waiting.value()
    pool.give("a")
    assert pool.busy == 1
    for ask in (pool.take, pool.acquire):
        with pytest.raises(ServingError, match="retired"):
            ask()


@given(
    st.integers(1, 3),
    st.lists(
        st.tuples(
            st.sampled_from(["take", "acquire", "give", "cancel"]), st.integers(0, 9)
        )
    ),
)
def test_every_history_keeps_slots_and_order(
    size: int, history: list[tuple[str, int]]
) -> None:
    """Against a model of three lists: free slots, held ones, and who waits."""
    pool = SlotPool(range(size), max_waiting=4)
    free, held = deque(range(size)), list[int]()
    queue: deque[Pending[int]] = deque()
    for action, which in history:
        if action == "take":
            slot = pool.take()
            assert slot == (free.pop() if free else None)
            held += [] if slot is None else [slot]
        elif action == "acquire" and len(queue) < 4:
            asked = pool.acquire()
            if free:
                assert asked.value() == free.pop()
                held.append(asked.value())
            else:
                queue.append(asked)
        elif action == "give" and held:
            slot = held.pop(which % len(held))
            pool.give(slot)
            if queue:
                assert queue.popleft().value() == slot
                held.append(slot)
            else:
                free.append(slot)
        elif action == "cancel" and queue:
            given_up = queue[which % len(queue)]
            queue.remove(given_up)
            given_up.cancel()
        assert not any(each.is_settled for each in queue)
        assert (pool.busy, pool.waiting) == (len(held), len(queue))


def test_no_slot_is_lost_or_shared_between_threads() -> None:
    pool = SlotPool(range(3))
    holders = [0, 0, 0]
    trouble: list[str] = []
    finished = threading.Semaphore(0)

    def use(asked: Pending[int]) -> None:
        if asked.error is None:
            slot = asked.value()
            holders[slot] += 1
            if holders[slot] != 1:
                trouble.append(f"slot {slot} has {holders[slot]} users")
            holders[slot] -= 1
            pool.give(slot)
        finished.release()

    def work(seed: int) -> None:
        for turn in range(200):
            asked = pool.acquire()
            if (turn + seed) % 3 == 0:
                asked.cancel()
            asked.on_settled(use)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for _ in range(8 * 200):
        assert finished.acquire(timeout=10)
    assert trouble == []
    assert (pool.busy, pool.waiting) == (0, 0)
