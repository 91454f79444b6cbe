"""Where an inference runs, and what is measured of it."""

from __future__ import annotations

import threading
import time

from ovms_mp.inference.model import SHORT, PooledModel
from ovms_mp.inference.threads import Threads
from tests.unit.inference.slots import (
    DYNAMIC,
    GatedSlot,
    Observed,
    SlowSlot,
    X,
    await_,
    error_of,
    ports,
    run_until_short,
)

# Where it runs


def test_a_model_that_is_always_short_runs_in_the_thread_that_asks(
    threads: Threads,
) -> None:
    slot = SlowSlot(SHORT / 10)
    model = PooledModel(ports(), ports(), [slot], threads)
    assert not model.is_short
    run_until_short(model)
    assert model.infer([X]).is_settled
    assert slot.thread is threading.current_thread()


def test_a_model_that_becomes_slow_leaves_the_thread_that_asks(
    threads: Threads,
) -> None:
    slot = SlowSlot(SHORT / 10)
    model = PooledModel(ports(), ports(), [slot], threads)
    run_until_short(model)
    slot.seconds = 10 * SHORT
    for _ in range(20):
        model.infer([X]).result(10)
    assert not model.is_short
    assert slot.thread is not threading.current_thread()


def test_what_may_be_of_any_size_never_runs_in_the_thread_that_asks(
    threads: Threads,
) -> None:
    slot = SlowSlot(0)
    model = PooledModel(ports(DYNAMIC), ports(DYNAMIC), [slot], threads)
    for _ in range(100):
        model.infer([X]).result(10)
    assert not model.is_short
    assert slot.thread is not threading.current_thread()


# Measuring


def test_waiting_and_inferring_are_measured_apart(
    model: PooledModel, slot: GatedSlot
) -> None:
    observed = Observed()
    asked = [model.infer([X], observed) for _ in range(3)]
    time.sleep(0.2)
    for _ in asked:
        slot.outcomes.put(None)
    for each in asked:
        each.result(10)
    await_(lambda: observed.now_active == 0)
    assert observed.waits[0] < 0.2 <= min(observed.waits[1:])
    assert observed.times[0] >= 0.2 > max(observed.times[1:])
    assert observed.most_active == 1


def test_a_failed_inference_has_no_inference_time(
    model: PooledModel, slot: GatedSlot
) -> None:
    observed = Observed()
    asked = model.infer([X], observed)
    slot.outcomes.put(ValueError())
    error_of(asked)
    await_(lambda: observed.now_active == 0)
    assert len(observed.waits) == 1
    assert observed.times == []
