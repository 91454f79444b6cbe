"""Laws of alarms."""

from __future__ import annotations

import gc
import threading
import time
import weakref

from ovms_mp.servable.alarms import Alarms
from tests.unit.servable.support import alarm_threads
from tests.wire.waiting import until

GENEROUS = 30.0  # seconds that a busy machine may need


GAP = 0.05


def test_alarms_go_off_in_the_order_of_their_times_in_one_thread():
    others = alarm_threads()
    for _ in range(100):
        alarms, told, done = Alarms(), list[int](), threading.Event()
        begun = time.monotonic()
        alarms.after(4 * GAP, done.set)
        for number in (3, 1, 2):
            alarms.after(number * GAP, lambda n=number, told=told: told.append(n))
        is_in_time = time.monotonic() - begun < GAP
        if is_in_time:  # or their times are others than they seem
            assert len(alarm_threads() - others) == 1
        assert done.wait(GENEROUS)
        assert until(lambda: alarm_threads() <= others)
        assert sorted(told) == [1, 2, 3]
        if is_in_time:
            assert told == [1, 2, 3]
            return
    raise AssertionError("four alarms take longer to set than they are apart")


def test_one_that_no_clock_can_wait_for_keeps_no_other_from_going_off():
    others = alarm_threads()
    alarms, done = Alarms(), threading.Event()
    far = alarms.after(1e12, done.set)
    own = alarm_threads() - others
    assert len(own) == 1
    alarms.after(0.02, done.set)
    assert done.wait(GENEROUS)
    assert alarm_threads() - others == own
    far.cancel()
    alarms.after(0, done.set)  # wakes the thread, which finds nothing more to do
    assert until(lambda: alarm_threads() <= others)


def test_one_that_is_called_off_does_not_go_off_and_holds_nothing():
    class Owner:
        def ring(self) -> None:
            raise AssertionError("it was called off")

    alarms, done, owner = Alarms(), threading.Event(), Owner()
    gone = weakref.ref(owner)
    alarm = alarms.after(0.3, owner.ring)  # a busy machine is not always here before
    alarms.after(0.4, done.set)
    alarm.cancel()
    del owner
    gc.collect()
    assert gone() is None
    assert done.wait(GENEROUS)


def test_one_that_raises_does_not_stop_the_others():
    def fail() -> None:
        raise ValueError("no")

    alarms, done = Alarms(), threading.Event()
    alarms.after(0.01, fail)
    alarms.after(0.02, done.set)
    assert done.wait(GENEROUS)


def test_those_that_were_called_off_are_swept_out():
    alarms = Alarms()
    for _ in range(10_000):
        alarms.after(3600, lambda: None).cancel()
    assert len(alarms._heap) < 200


def test_alarms_work_again_after_their_thread_has_ended():
    alarms = Alarms()
    for _ in range(2):
        done = threading.Event()
        alarms.after(0.01, done.set)
        assert done.wait(GENEROUS)
        assert until(lambda: not alarms._is_running)
