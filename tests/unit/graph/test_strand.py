"""A strand keeps order and never runs two calls at a time."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

from ovms_mp.graph.strand import Strand, inline


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
