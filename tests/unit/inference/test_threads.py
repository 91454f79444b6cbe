"""Threads that outlive their work."""

from __future__ import annotations

import threading
from queue import SimpleQueue

import pytest

from ovms_mp.inference.threads import Threads


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
