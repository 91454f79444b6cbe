"""Threads that outlive their work."""

from __future__ import annotations

import threading
from functools import partial
from queue import Empty, SimpleQueue

import pytest

from ovms_mp.core.pending import Pending
from ovms_mp.core.threads import Threads, returning, takes_long


def test_work_runs_elsewhere_and_threads_are_used_again() -> None:
    threads = Threads("t")
    ran: SimpleQueue[threading.Thread] = SimpleQueue()
    used: set[threading.Thread] = set()
    for _ in range(20):
        threads.run(lambda: ran.put(threading.current_thread()))
        used.add(ran.get(timeout=10))
    threads.close()
    assert threading.current_thread() not in used
    assert len(used) <= 2  # one may still be on its way back when the next work comes
    assert not any(thread.is_alive() for thread in used)


def test_work_never_waits_for_other_work() -> None:
    threads = Threads("t")
    all_here = threading.Barrier(6)
    for _ in range(5):
        threads.run(lambda: all_here.wait(10))
    all_here.wait(10)
    threads.close()


def test_work_that_raises_ends_no_thread(caplog: pytest.LogCaptureFixture) -> None:
    threads = Threads("t")
    ran = threading.Event()

    def leave() -> None:
        raise SystemExit

    threads.run(leave)
    threads.run(ran.set)
    assert ran.wait(10)
    threads.close()
    assert "SystemExit" in caplog.text


def test_closing_waits_for_work_and_takes_no_more() -> None:
    threads = Threads("t")
    begun, go_on, done = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        assert go_on.wait(10)
        done.set()

    threads.run(work)
    assert begun.wait(10)
    threading.Timer(0.05, go_on.set).start()
    threads.close()
    assert done.is_set()
    with pytest.raises(RuntimeError):
        threads.run(work)


def test_short_work_waits_in_order_for_a_place() -> None:
    threads = Threads("t", 2)
    gate, both_here = threading.Event(), threading.Barrier(3)
    ran: list[int] = []

    def block() -> None:
        both_here.wait(10)
        assert gate.wait(10)

    for _ in range(2):
        threads.submit(block)
    both_here.wait(10)
    at_work, most = threading.Semaphore(2), threading.Event()

    def work(number: int) -> None:
        if not at_work.acquire(blocking=False):
            most.set()
        ran.append(number)
        at_work.release()

    for number in range(200):
        threads.submit(partial(work, number))
    assert not ran
    gate.set()
    threads.close()
    assert not most.is_set()
    assert sorted(ran) == list(range(200))
    # Of two that are at it one may be overtaken by the other.
    assert all(number - at <= 1 for at, number in enumerate(ran))


def test_a_thread_does_long_work_itself_when_it_returns_and_others_have_its_place() -> (
    None
):
    threads = Threads("t", 1)
    idents: SimpleQueue[int] = SimpleQueue()
    gate, short_done = threading.Event(), threading.Event()

    def long() -> None:
        idents.put(threading.get_ident())
        assert gate.wait(10)

    def ask() -> None:
        with returning:
            assert takes_long(long)
            assert not takes_long(long)  # one at a time
        idents.put(threading.get_ident())

    threads.submit(ask)
    threads.submit(short_done.set)
    # Though there is one place, and the thread that had it is at long work.
    assert short_done.wait(10)
    gate.set()
    threads.close()
    assert idents.get() == idents.get()


def test_a_thread_has_its_place_back_from_who_has_done_short_work() -> None:
    threads = Threads("t", 1)
    for _ in range(50):  # a place that is lost, or one too many, would show
        with_place = threading.Event()
        done = threading.Event()

        def ask(done: threading.Event = done) -> None:
            with returning:
                assert takes_long(done.set)

        threads.submit(ask)
        threads.submit(with_place.set)
        assert done.wait(10)
        assert with_place.wait(10)
    gate, inside = threading.Event(), SimpleQueue[int]()

    def block() -> None:
        inside.put(1)
        assert gate.wait(10)

    threads.submit(block)
    threads.submit(block)
    assert inside.get(timeout=10)
    with pytest.raises(Empty):
        inside.get(timeout=0.1)
    gate.set()
    threads.close()


def test_long_work_is_left_to_no_thread_that_might_wait_for_it() -> None:
    threads = Threads("t", 1)
    told: SimpleQueue[bool] = SimpleQueue()
    threads.submit(lambda: told.put(takes_long(threading.Event().set)))
    assert not told.get(timeout=10)
    with returning:  # no thread of ours
        assert not takes_long(threads.close)
    threads.close()


def test_who_waits_for_what_is_left_to_him_does_it() -> None:
    threads = Threads("t", 1)
    told: SimpleQueue[int] = SimpleQueue()

    def ask() -> None:
        result: Pending[int] = Pending()
        with returning:
            assert takes_long(lambda: result.complete(7))
        told.put(result.result(10))

    threads.submit(ask)
    assert told.get(timeout=10) == 7
    threads.close()


def test_what_waits_is_done_before_all_ends_and_nothing_is_taken_any_more() -> None:
    threads = Threads("t", 1)
    ran: list[int] = []
    gate = threading.Event()
    threads.submit(lambda: gate.wait(10))
    for number in range(20):
        threads.submit(partial(ran.append, number))
    threading.Timer(0.05, gate.set).start()
    threads.close()
    assert ran == list(range(20))
    with pytest.raises(RuntimeError):
        threads.submit(gate.set)
    assert not [each for each in threading.enumerate() if each.name.startswith("t-")]


def test_work_left_to_a_thread_is_done_though_what_left_it_fails(
    caplog: pytest.LogCaptureFixture,
) -> None:
    threads = Threads("t", 1)
    done = threading.Event()

    def ask() -> None:
        with returning:
            assert takes_long(done.set)
        raise ValueError("the work failed")

    threads.submit(ask)
    assert done.wait(10)
    threads.close()
    assert "the work failed" in caplog.text


def test_what_waits_is_done_though_threads_that_rest_have_ended() -> None:
    threads = Threads("t", 1)
    long, gate, done = threading.Event(), threading.Event(), threading.Event()
    at_long, at_gate = threading.Event(), threading.Event()

    def first() -> None:
        with returning:
            assert takes_long(lambda: (at_long.set(), long.wait(10)))

    def second() -> None:
        at_gate.set()
        assert gate.wait(10)
        with returning:
            assert takes_long(lambda: None)

    threads.submit(first)
    assert at_long.wait(10)
    threads.submit(second)
    assert at_gate.wait(10)
    long.set()
    resting = next(each for each in threading.enumerate() if each.name == "t-0")
    threads.submit(done.set)  # the second has the only place
    closing = threading.Thread(target=threads.close)
    closing.start()
    resting.join(10)
    assert not resting.is_alive()
    gate.set()
    closing.join(10)
    assert not closing.is_alive()
    assert done.is_set()


def test_where_no_thread_can_be_had_no_place_is_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    threads = Threads("t", 1)
    asked, waiting, done = threading.Event(), threading.Event(), threading.Event()

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    def ask() -> None:
        with returning:
            assert takes_long(asked.set)
        assert waiting.wait(10)

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError):
            threads.submit(done.set)
    threads.submit(ask)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        threads.submit(done.set)
        waiting.set()
        # By the thread that could not leave its place to another.
        assert done.wait(10)
    assert asked.is_set()
    threads.close()
