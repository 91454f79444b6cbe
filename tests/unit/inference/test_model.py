"""A model as many use it at a time: turns, cancelling, closing, measuring."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from pathlib import Path
from queue import SimpleQueue
from statistics import median

import numpy as np
import pytest

from ovms_mp.core.errors import ServingError, Status
from ovms_mp.core.pending import Cancelled, Pending
from ovms_mp.core.threads import Threads, Work, returning
from ovms_mp.inference.engine import Inferred, TensorData
from ovms_mp.inference.model import PooledModel, Slot
from ovms_mp.inference.openvino import OpenVINOEngine
from tests.unit.inference import tiny
from tests.unit.inference.slots import (
    GatedSlot,
    LateSlot,
    X,
    await_,
    error_of,
    ports,
)
from tests.unit.inference.tiny import EXACT

# Turns


def test_inferences_run_in_the_order_they_were_asked_for(
    model: PooledModel, slot: GatedSlot
) -> None:
    asked = [model.infer([X + number]) for number in range(5)]
    assert (model.busy, model.waiting) == (1, 4)
    for number, each in enumerate(asked):
        assert slot.begun.get(timeout=10)[0, 0] == number
        slot.outcomes.put(None)
        assert each.result(10).outputs[0][0, 0] == number + 1
    assert (model.busy, model.waiting) == (0, 0)


def test_a_slot_is_free_when_its_result_is_told(
    model: PooledModel, slot: GatedSlot
) -> None:
    for outcome in (None, ValueError("no"), SystemExit()):
        busy: SimpleQueue[int] = SimpleQueue()
        asked = model.infer([X])
        asked.on_settled(lambda _, busy=busy: busy.put(model.busy))
        slot.outcomes.put(outcome)
        assert busy.get(timeout=10) == 0


def test_asking_never_blocks_even_from_who_is_told_a_result(
    model: PooledModel, slot: GatedSlot
) -> None:
    followers: SimpleQueue[Pending[Inferred]] = SimpleQueue()
    first = model.infer([X])
    first.on_settled(lambda _: followers.put(model.infer([X])))
    slot.outcomes.put(None)
    second = followers.get(timeout=10)
    slot.outcomes.put(None)
    assert second.result(10)


@pytest.mark.parametrize("length", [0, 1, 7])
def test_a_queue_too_long_is_refused(
    slot: GatedSlot, threads: Threads, length: int
) -> None:
    model = PooledModel(ports(), ports(), [slot], threads, max_queue_length=length)
    asked = [model.infer([X]) for _ in range(1 + length)]
    with pytest.raises(ServingError) as caught:
        model.infer([X])
    assert caught.value.status is Status.RESOURCE_EXHAUSTED
    for each in asked:
        each.cancel()
    await_(lambda: model.busy == 0)
    assert model.waiting == 0


# Threads


class ToldSlot(GatedSlot):
    """Says which thread infers."""

    def __init__(self) -> None:
        super().__init__()
        self.idents: SimpleQueue[int] = SimpleQueue()

    def infer(self, tensors: Sequence[TensorData]) -> Inferred:
        self.idents.put(threading.get_ident())
        return super().infer(tensors)


def test_who_asks_and_returns_infers_himself_and_for_who_waits(
    threads: Threads,
) -> None:
    slot, other = ToldSlot(), Threads("asks", 1)
    model = PooledModel(ports(), ports(), [slot], threads)
    asked: SimpleQueue[Pending[Inferred]] = SimpleQueue()
    idents: SimpleQueue[int] = SimpleQueue()

    def ask() -> None:
        with returning:
            asked.put(model.infer([X]))
        assert slot.idents.empty()  # it has not returned
        idents.put(threading.get_ident())

    other.submit(ask)
    first = idents.get(timeout=10)
    assert slot.idents.get(timeout=10) == first
    other.submit(ask)  # by another thread, and the slot is not free
    assert idents.get(timeout=10) != first
    for _ in range(2):
        slot.outcomes.put(None)
        assert asked.get().result(10)
    assert slot.idents.get(timeout=10) == first
    other.close()


def test_who_may_wait_for_it_does_not_infer_himself(threads: Threads) -> None:
    slot, other = ToldSlot(), Threads("asks", 1)
    model = PooledModel(ports(), ports(), [slot], threads)
    idents: SimpleQueue[int] = SimpleQueue()

    def ask() -> None:
        idents.put(threading.get_ident())
        there = threading.Event()
        model.infer([X]).on_settled(lambda _: there.set())
        assert there.wait(10)
        idents.put(threading.get_ident())

    other.submit(ask)
    slot.outcomes.put(None)
    assert idents.get(timeout=10) == idents.get(timeout=10) != slot.idents.get()
    other.close()


def test_what_is_left_to_a_thread_can_be_cancelled(threads: Threads) -> None:
    slot, other = ToldSlot(), Threads("asks", 1)
    model = PooledModel(ports(), ports(), [slot], threads)

    def ask() -> None:
        with returning:
            model.infer([X]).cancel()

    other.submit(ask)
    other.close()
    assert slot.begun.empty()
    assert model.busy == 0


# Failures


def test_what_goes_wrong_is_told_as_an_internal_inference_error(
    model: PooledModel, slot: GatedSlot, caplog: pytest.LogCaptureFixture
) -> None:
    for outcome in (ValueError("the details"), MemoryError(), SystemExit(1)):
        asked = model.infer([X])
        slot.outcomes.put(outcome)
        error = error_of(asked)
        assert error.status is Status.OV_INTERNAL_INFERENCE_ERROR
        assert error.__cause__ is outcome
        assert model.busy == 0
    await_(lambda: "the details" in caplog.text)  # told first, logged after


def test_without_threads_an_inference_fails_and_keeps_no_slot(
    model: PooledModel, threads: Threads
) -> None:
    threads.close()
    error = error_of(model.infer([X]))
    assert error.status is Status.MODEL_VERSION_NOT_LOADED_ANYMORE
    assert model.busy == 0


# Cancelling


def test_cancelling_in_the_queue_leaves_it(model: PooledModel, slot: GatedSlot) -> None:
    running, queued = model.infer([X]), model.infer([X])
    assert queued.cancel()
    assert (model.busy, model.waiting) == (1, 0)
    assert not slot.cancelled.is_set()
    slot.outcomes.put(None)
    assert running.result(10)
    assert isinstance(queued.error, Cancelled)


def test_a_cancelled_slot_comes_back_when_its_inference_has_ended(
    threads: Threads,
) -> None:
    class Stubborn(GatedSlot):
        def cancel(self) -> None:
            self.cancelled.set()

    slot = Stubborn()
    model = PooledModel(ports(), ports(), [slot], threads)
    asked = model.infer([X])
    slot.begun.get(timeout=10)
    asked.cancel()
    assert slot.cancelled.is_set()
    assert model.busy == 1
    slot.outcomes.put(None)
    await_(lambda: model.busy == 0)
    assert isinstance(asked.error, Cancelled)


def test_a_cancel_that_comes_before_the_inference_starts_ends_it_all_the_same(
    threads: Threads,
) -> None:
    slot = LateSlot()
    model = PooledModel(ports(), ports(), [slot], threads)
    asked = model.infer([X])
    assert slot.entered.wait(10)
    asked.cancel()
    assert slot.lost.is_set()
    slot.start.set()
    await_(lambda: model.busy == 0)
    assert isinstance(asked.error, Cancelled)


def test_a_late_cancel_does_not_touch_the_next_user(
    model: PooledModel, slot: GatedSlot
) -> None:
    first, second = model.infer([X]), model.infer([X])
    slot.outcomes.put(None)
    first.result(10)
    assert not first.cancel()
    assert not slot.cancelled.is_set()
    slot.outcomes.put(None)
    assert second.result(10)


def test_a_cancel_before_the_result_is_told_does_not_touch_the_next_user(
    model: PooledModel, slot: GatedSlot
) -> None:
    cancelled = threading.Event()

    def cancel_first(had: Pending[Slot]) -> None:
        first.cancel()
        cancelled.set()
        model.pool.give(had.value())

    first = model.infer([X])
    model.pool.acquire().on_settled(cancel_first)  # whom the slot goes to at once
    second = model.infer([X])
    slot.outcomes.put(None)
    assert cancelled.wait(10)
    assert isinstance(first.error, Cancelled)
    assert not slot.cancelled.is_set()
    slot.outcomes.put(None)
    assert second.result(10)


def test_a_cancel_after_the_slot_came_saves_the_inference(slot: GatedSlot) -> None:
    class CancelsBefore(Threads):
        def run(self, work: Work) -> None:
            for each in to_cancel:
                each.cancel()
            super().run(work)

    to_cancel: list[Pending[Inferred]] = []
    threads = CancelsBefore("test")
    model = PooledModel(ports(), ports(), [slot], threads)
    running = model.infer([X])
    to_cancel.append(model.infer([X]))
    slot.outcomes.put(None)
    running.result(10)
    await_(lambda: model.busy == 0)
    assert isinstance(to_cancel[0].error, Cancelled)
    assert slot.begun.qsize() == 1
    assert not slot.cancelled.is_set()
    threads.close()


def test_a_cancelled_inference_is_no_error_in_the_log(
    model: PooledModel, slot: GatedSlot, caplog: pytest.LogCaptureFixture
) -> None:
    asked = model.infer([X])
    slot.begun.get(timeout=10)
    asked.cancel()
    await_(lambda: model.busy == 0)
    assert caplog.text == ""


def test_openvino_stops_soon_when_cancelled_and_works_on(tmp_path: Path) -> None:
    engine = OpenVINOEngine()
    model = engine.load(tiny.save(tmp_path, tiny.slow()), EXACT)
    x = np.zeros((512, 512), np.float32)
    begun = time.perf_counter()
    model.infer([x]).result(30)
    whole = time.perf_counter() - begun
    taken: list[float] = []
    for _ in range(5):
        begun = time.perf_counter()
        asked = model.infer([x])
        time.sleep(whole / 10)  # into the middle of it; not to wait for anything
        asked.cancel()
        await_(lambda: model.busy == 0)
        taken.append(time.perf_counter() - begun)
    assert median(taken) < whole * 0.6, (taken, whole)
    assert model.infer([x]).result(30).outputs[0].shape == x.shape
    model.close()
    engine.close()


# Closing


def test_closing_fails_who_waits_and_lets_the_running_one_finish(
    model: PooledModel, slot: GatedSlot
) -> None:
    running, queued = model.infer([X]), model.infer([X])
    model.close()
    model.close()
    assert error_of(queued).status is Status.MODEL_VERSION_NOT_LOADED_ANYMORE
    with pytest.raises(ServingError, match="retired"):
        model.infer([X])
    slot.outcomes.put(None)
    assert running.result(10)
    assert (model.busy, model.waiting) == (0, 0)


# All together, on OpenVINO


@pytest.mark.parametrize("shape", [(1, 10), (-1, 10), (1, 400_000)])
@pytest.mark.parametrize("slots", [1, 3])
def test_many_threads_get_their_own_answers(
    tmp_path: Path, shape: tuple[int, int], slots: int
) -> None:
    config = type(EXACT)(plugin_config=EXACT.plugin_config, nireq=slots)
    engine = OpenVINOEngine()
    model = engine.load(tiny.save(tmp_path, tiny.add_one(shape)), config)
    wrong: list[tuple[float, float]] = []

    def use(first: int) -> None:
        for value in range(first, first + 30):
            x = np.full((1, shape[1]), value, np.float32)
            asked = model.infer([x])
            del x  # the model keeps it for as long as it needs it
            if value % 5 == 0:
                asked.cancel()
                continue
            (y,) = asked.result(30).outputs
            if y.min() != value + 1 or y.max() != value + 1:
                wrong.append((value, y[0, 0]))

    users = [threading.Thread(target=use, args=(1000 * n,)) for n in range(6)]
    for user in users:
        user.start()
    for user in users:
        user.join()
    assert wrong == []
    await_(lambda: model.busy == 0)
    assert model.waiting == 0
    model.close()
    engine.close()
