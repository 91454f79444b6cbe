"""A strand keeps order and never runs two calls at a time."""

from __future__ import annotations

import queue
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from ovms_mp.core.pace import SHORT, Pace
from ovms_mp.core.strand import Strand, inline
from ovms_mp.core.threads import Threads, returning, takes_long


def run(call):
    call()


def test_calls_run_in_order_and_one_at_a_time_on_any_pool():
    seen, inside, overlaps = [], threading.Lock(), []
    done = threading.Event()

    def call(n):
        if not inside.acquire(blocking=False):
            overlaps.append(n)
            return
        seen.append(n)
        inside.release()
        if n == 999:
            done.set()

    with ThreadPoolExecutor(4) as pool:
        strand = Strand(pool.submit, run)
        for n in range(1000):
            strand.post(lambda n=n: call(n))
        assert done.wait(10)
    assert seen == list(range(1000)) and not overlaps


def test_strands_share_a_thread_fairly():
    seen, gate, done = [], threading.Event(), threading.Event()
    with ThreadPoolExecutor(1) as pool:
        one, two = Strand(pool.submit, run), Strand(pool.submit, run)
        one.post(gate.wait)
        for _ in range(3):
            one.post(lambda: seen.append(1))
        two.post(lambda: seen.append(2))
        one.post(done.set)
        gate.set()
        assert done.wait(10)
    assert seen.index(2) <= 1


def test_a_call_that_raises_does_not_stop_the_next(caplog):
    seen = []
    strand = Strand(inline, run)
    strand.post(lambda: 1 // 0)
    strand.post(lambda: seen.append(1))
    assert seen == [1] and "ZeroDivisionError" in caplog.text


def test_a_call_may_post_to_its_own_strand():
    seen = []
    strand = Strand(inline, run)
    strand.post(lambda: (strand.post(lambda: seen.append(2)), seen.append(1)))
    assert seen == [1, 2]


def test_after_its_pool_is_shut_down_a_strand_still_ends_its_calls():
    seen = []
    pool = ThreadPoolExecutor(1)
    strand = Strand(pool.submit, run)
    pool.shutdown()
    strand.post(lambda: (strand.post(lambda: seen.append(2)), seen.append(1)))
    assert seen == [1, 2]


@pytest.fixture
def pool():
    with ThreadPoolExecutor(1) as pool:
        yield pool


def short() -> Pace:
    pace = Pace(faster=0, slower=1, most=10 * SHORT, short=5 * SHORT)
    pace.settle(0)
    return pace


def thread_of(strand, *, is_light=True):
    """The thread that the strand makes its next call in."""
    ran = queue.SimpleQueue()
    strand.post(lambda: ran.put(threading.get_ident()), is_light=is_light)
    return ran.get(timeout=10)


def test_a_strand_at_rest_makes_short_calls_in_the_thread_that_posts(pool):
    here = threading.get_ident()
    assert thread_of(Strand(pool.submit, run, short())) == here
    assert thread_of(Strand(pool.submit, run)) != here


def test_a_call_that_is_not_light_never_runs_in_the_thread_that_posts(pool):
    strand = Strand(pool.submit, run, short())
    assert thread_of(strand, is_light=False) != threading.get_ident()


def test_a_strand_whose_calls_get_long_leaves_the_thread_that_posts(pool):
    strand = Strand(pool.submit, run, short())

    def work():
        end = time.thread_time_ns() + 6 * SHORT
        while time.thread_time_ns() < end:
            pass

    strand.post(work)
    assert thread_of(strand) != threading.get_ident()


def test_who_posts_makes_one_call_and_leaves_what_follows_to_the_pool(pool):
    strand, threads = Strand(pool.submit, run, short()), queue.SimpleQueue()

    def call():
        threads.put(threading.get_ident())

    strand.post(lambda: (strand.post(call), call()))
    first, second = (threads.get(timeout=10) for _ in range(2))
    assert first == threading.get_ident() != second


def test_calls_of_a_short_strand_run_in_order_and_one_at_a_time():
    seen, inside, overlaps = [], threading.Lock(), []

    def call(poster, n):
        if not inside.acquire(blocking=False):
            overlaps.append(n)
            return
        seen.append((poster, n))
        inside.release()

    def post(poster):
        for n in range(500):
            strand.post(lambda n=n: call(poster, n))

    with ThreadPoolExecutor(2) as pool:
        strand = Strand(pool.submit, run, short())
        posters = [threading.Thread(target=post, args=(n,)) for n in range(3)]
        for poster in posters:
            poster.start()
        for poster in posters:
            poster.join()
        done = threading.Event()
        strand.post(done.set)
        assert done.wait(10)
    assert not overlaps
    for poster in range(3):
        assert [n for p, n in seen if p == poster] == list(range(500))


def test_a_thread_that_is_done_with_its_work_goes_on_with_one_strand(pool):
    """Others are the pool's, since they may go on at the same time."""
    threads, ran, worker = Threads("t"), queue.SimpleQueue(), queue.SimpleQueue()
    strands = {name: Strand(pool.submit, run) for name in ("first", "second")}

    def work():
        worker.put(threading.get_ident())
        for name, strand in strands.items():
            strand.post(lambda name=name: ran.put((name, threading.get_ident())))

    threads.run(work)
    found = dict(ran.get(timeout=10) for _ in range(2))
    threads.close()
    assert found["first"] == worker.get(timeout=10) != found["second"]


def test_a_strand_goes_on_even_if_the_work_before_it_fails(pool, caplog):
    threads, ran = Threads("t"), threading.Event()
    strand = Strand(pool.submit, run)

    def work():
        strand.post(ran.set)
        raise ValueError("the work failed")

    threads.run(work)
    assert ran.wait(10)
    threads.close()
    assert "the work failed" in caplog.text


def test_a_thread_with_long_work_before_it_leaves_even_the_latest_call_to_others():
    """The call comes between the look for one and the end of the turn."""
    threads, gate, ran = Threads("t", 2), threading.Event(), queue.SimpleQueue()

    class Late(list):
        is_first = True

        def append(self, item):
            if self.is_first:
                self.is_first = False
                strand._calls.append(lambda: ran.put(threading.get_ident()))
            super().append(item)

    def call():
        with returning:
            assert takes_long(lambda: gate.wait(10))
        ran.put(threading.get_ident())

    strand = Strand(threads.submit, run)
    strand._turn = Late([None])
    strand.post(call)
    first = ran.get(timeout=10)
    assert ran.get(timeout=5) != first
    gate.set()
    threads.close()
