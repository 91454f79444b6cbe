"""Where an inference runs, and what is measured of it."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from ovms_mp.core.pace import SHORT
from ovms_mp.core.shape import Dim
from ovms_mp.core.threads import Threads
from ovms_mp.inference.engine import TRIAL_SECONDS, Port, Ports
from ovms_mp.inference.model import PooledModel
from tests.unit.inference.slots import (
    DYNAMIC,
    STATIC,
    GatedSlot,
    SlowSlot,
    X,
    ports,
    run_until_short,
)

LARGE = np.zeros((100, 10), np.float32)

# Where it runs


def test_a_model_that_is_always_short_runs_in_the_thread_that_asks(
    threads: Threads,
) -> None:
    slot = SlowSlot(SHORT // 10)
    model = PooledModel(ports(), ports(), [slot], threads)
    assert not model.is_short
    run_until_short(model)
    assert model.infer([X]).is_settled
    assert slot.thread is threading.current_thread()


def test_a_model_that_becomes_slow_leaves_the_thread_that_asks(
    threads: Threads,
) -> None:
    slot = SlowSlot(SHORT // 10)
    model = PooledModel(ports(), ports(), [slot], threads)
    run_until_short(model)
    slot.nanoseconds = 10 * SHORT
    for _ in range(20):
        model.infer([X]).result(10)
    assert not model.is_short
    assert slot.thread is not threading.current_thread()


def test_what_may_be_of_any_size_runs_in_the_thread_that_asks_at_sizes_that_were_short(
    threads: Threads,
) -> None:
    slot = SlowSlot(SHORT // 10)
    model = PooledModel(ports(DYNAMIC), ports(DYNAMIC), [slot], threads)
    for _ in range(20):
        model.infer([X]).result(10)
    assert model.infer([X]).is_settled
    assert slot.thread is threading.current_thread()
    slot.nanoseconds = 10 * SHORT
    for _ in range(20):
        model.infer([LARGE]).result(10)
        assert slot.thread is not threading.current_thread()
    slot.nanoseconds = SHORT // 10
    model.infer([X]).result(10)
    assert slot.thread is threading.current_thread()


def test_of_sizes_without_end_the_first_are_forgotten(threads: Threads) -> None:
    """Whoever asks with ever new ones must not fill the memory."""
    slot = SlowSlot(SHORT // 10)
    model = PooledModel(ports(DYNAMIC), ports(DYNAMIC), [slot], threads)
    for _ in range(20):
        model.infer([X]).result(10)
    for length in range(200):
        model.infer([np.zeros((2, length), np.float32)]).result(10)
    model.infer([X]).result(10)
    assert slot.thread is not threading.current_thread()


def test_texts_never_run_in_the_thread_that_asks(threads: Threads) -> None:
    """Their number does not say how long they are."""
    slot = SlowSlot(0)
    texts = Ports([Port("x", frozenset({"x"}), None, "string", (Dim(1, 1),))])
    several = Ports([*texts, *ports(DYNAMIC)])
    model = PooledModel(several, ports(DYNAMIC), [slot], threads)
    for _ in range(20):
        model.infer([np.array(["text"]), X]).result(10)
    assert slot.thread is not threading.current_thread()


def test_one_long_inference_among_short_ones_changes_nothing(
    threads: Threads,
) -> None:
    """Whatever else the machine does may interrupt it for any time."""
    slot = SlowSlot(SHORT // 10)
    model = PooledModel(ports(), ports(), [slot], threads)
    for _ in range(30):
        model.infer([X]).result(10)
    slot.nanoseconds = 10**9
    model.infer([X]).result(10)
    assert model.is_short


# Trying out


def test_a_short_model_is_known_as_one_before_it_is_asked(threads: Threads) -> None:
    model = PooledModel(ports(), ports(), [SlowSlot(SHORT // 10)], threads)
    model.try_out()
    assert model.is_short
    assert model.busy == 0


@pytest.mark.parametrize("outcome", [ValueError("no"), None])
def test_a_trial_that_fails_leaves_the_model_to_its_users(
    threads: Threads, outcome: BaseException | None
) -> None:
    """What does not end by itself is stopped."""
    slot = GatedSlot()
    if outcome is not None:
        slot.outcomes.put(outcome)
    model = PooledModel(ports(), ports(), [slot], threads)
    try_out = threading.Thread(target=model.try_out)
    try_out.start()
    try_out.join(10)
    assert not try_out.is_alive()
    assert not model.is_short
    assert model.busy == 0
    assert slot.cancelled.is_set() == (outcome is None)


def test_a_long_model_infers_once_before_it_is_asked(threads: Threads) -> None:
    """What would be learnt of it is that it is long. A short one is tried several times,
    none is tried where its shape is not known.
    """
    tried: list[int] = []
    for nanoseconds, shape in ((10**9, STATIC), (SHORT // 10, STATIC), (1, DYNAMIC)):
        slot = SlowSlot(nanoseconds)
        model = PooledModel(ports(shape), ports(shape), [slot], threads)
        model.try_out()
        tried.append(slot.count)
        assert model.is_short == (nanoseconds == SHORT // 10)
    assert tried[0] == 1 and tried[1] > 2 and tried[2] == 0


def test_who_has_patience_has_a_model_that_has_inferred(threads: Threads) -> None:
    """Longer than anybody would wait who has only a moment."""
    slot = GatedSlot()
    model = PooledModel(ports(), ports(), [slot], threads)
    try_out = threading.Thread(target=model.try_out, args=(60,))
    try_out.start()
    slot.begun.get(timeout=10)
    try_out.join(2 * TRIAL_SECONDS)
    assert try_out.is_alive() and not slot.cancelled.is_set()
    slot.outcomes.put(None)
    try_out.join(10)
    assert not try_out.is_alive() and not slot.cancelled.is_set()
    assert model.busy == 0


# Measuring


def test_waiting_and_inferring_are_told_apart(
    model: PooledModel, slot: GatedSlot
) -> None:
    asked = [model.infer([X]) for _ in range(3)]
    slot.begun.get(timeout=10)
    is_running = time.perf_counter_ns()
    time.sleep(0.2)
    may_end = time.perf_counter_ns()
    for _ in asked:
        slot.outcomes.put(None)
    first, *others = (each.result(10) for each in asked)
    assert first.begun <= is_running and may_end <= min(each.begun for each in others)
    assert first.done - first.bound >= may_end - is_running >= 200e6
    for each in (first, *others):
        assert each.begun <= each.bound <= each.done <= each.ended
