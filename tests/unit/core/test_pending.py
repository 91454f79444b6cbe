"""A Pending is settled once, by whoever comes first, and tells everybody once."""

from __future__ import annotations

import threading

import pytest

from ovms_mp.core.pending import Cancelled, Pending


def test_the_first_to_settle_wins_and_the_others_are_told_so():
    pending = Pending[int]()
    assert pending.complete(1)
    assert not pending.complete(2)
    assert not pending.fail(ValueError())
    assert not pending.cancel()
    assert pending.value() == 1


def test_a_watcher_is_called_once_whether_it_comes_early_or_late():
    told = []
    pending = Pending[int]()
    pending.on_settled(lambda p: told.append(("early", p.value())))
    pending.complete(1)
    pending.on_settled(lambda p: told.append(("late", p.value())))
    assert told == [("early", 1), ("late", 1)]


def test_cancel_tells_the_producer_once_and_the_value_is_cancelled():
    told = []
    pending = Pending[int](lambda: told.append("cancelled"))
    assert pending.cancel() and not pending.cancel()
    assert told == ["cancelled"]
    with pytest.raises(Cancelled):
        pending.value()


def test_a_settled_pending_does_not_tell_its_producer_of_a_cancel():
    told = []
    pending = Pending[int](lambda: told.append("cancelled"))
    pending.complete(1)
    pending.cancel()
    assert told == []


def test_value_before_its_time_is_an_error_and_result_waits():
    pending = Pending[int]()
    with pytest.raises(RuntimeError):
        pending.value()
    with pytest.raises(TimeoutError):
        pending.result(timeout=0.01)
    thread = threading.Thread(target=lambda: pending.complete(3))
    thread.start()
    assert pending.result(timeout=5) == 3
    thread.join()


def settle(pending, value, won):
    if pending.complete(value):
        won.append(value)


def test_of_many_threads_one_settles():
    for _ in range(50):
        pending, won = Pending[int](), []
        threads = [
            threading.Thread(target=settle, args=(pending, n, won)) for n in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert won == [pending.value()]
