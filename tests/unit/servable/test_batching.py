"""Laws of requests that are inferred together: each is answered as if it were alone."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from ovms_mp.core.errors import ServingError, Status
from ovms_mp.core.pending import Cancelled, Pending
from ovms_mp.core.shape import Dim
from ovms_mp.core.tensor import Array
from ovms_mp.core.threads import Threads
from ovms_mp.inference.engine import Inferred, Ports
from ovms_mp.inference.model import PooledModel
from ovms_mp.repository.config import DynamicBatching
from ovms_mp.servable.alarms import Alarms
from ovms_mp.servable.batching import Batcher
from tests.unit.inference.slots import DYNAMIC, GatedSlot, await_, inferred, ports

AN_HOUR = 3_600_000_000
"""In microseconds: longer than any test."""


class Kitchen:
    """A batcher before a model of one slot, which the test opens."""

    def __init__(self, threads: Threads, slot: Any, **policy: Any) -> None:
        self.slot = slot
        self.model = PooledModel(ports(DYNAMIC), ports(DYNAMIC), [slot], threads)
        self.batches: list[int] = []
        most = policy.pop("max_queue_length", None)
        self.batcher = Batcher(
            self.model,
            DynamicBatching(**{"max_batch_size": 4, **policy}),
            Alarms(),
            lambda rows, _: self.batches.append(rows),
            max_queue_length=most,
        )

    def ask(self, *values: float, columns: int = 2) -> Pending[Inferred]:
        """One row for each value."""
        rows = [np.full(columns, value, np.float32) for value in values]
        return self.batcher.infer([np.array(rows)])

    def begun(self) -> list[float]:
        """The rows of the inference that begins next."""
        return self.slot.begun.get(timeout=30)[:, 0].tolist()

    def end(self, outcome: BaseException | None = None) -> None:
        self.slot.outcomes.put(outcome)

    def step(self, outcome: BaseException | None = None) -> list[float]:
        """The rows of the next inference, which ends."""
        rows = self.begun()
        self.end(outcome)
        return rows


@pytest.fixture
def threads() -> Iterator[Threads]:
    made = Threads("test")
    yield made
    made.close()


@pytest.fixture
def kitchen(threads: Threads) -> Iterator[Kitchen]:
    made = Kitchen(threads, GatedSlot())
    yield made
    await_(lambda: made.model.busy == 0)
    assert made.batcher.waiting == 0


def answer(pending: Pending[Inferred]) -> list[float]:
    (output,) = pending.result(30).outputs
    assert output.ndim == 2
    return output[:, 0].tolist()


def status(pending: Pending[Inferred]) -> Status:
    with pytest.raises(ServingError) as caught:
        pending.result(30)
    return caught.value.status


def test_who_comes_while_the_model_is_busy_goes_together_and_gets_his_own_rows(
    kitchen: Kitchen,
) -> None:
    asked = [kitchen.ask(1), kitchen.ask(2), kitchen.ask(3, 4), kitchen.ask(5)]
    assert [kitchen.step(), kitchen.step()] == [[1], [2, 3, 4, 5]]
    assert [answer(each) for each in asked] == [[2], [3], [4, 5], [6]]
    assert kitchen.batches == [1, 4]


def test_a_model_that_has_time_is_not_kept_waiting(kitchen: Kitchen) -> None:
    for number in range(3):
        asked = kitchen.ask(number)
        assert kitchen.step() == [number]
        assert answer(asked) == [number + 1]


def test_no_batch_is_larger_than_the_largest(kitchen: Kitchen) -> None:
    asked = [kitchen.ask(0), *(kitchen.ask(n, n) for n in (1, 2, 3))]
    steps = [kitchen.step() for _ in range(3)]
    assert steps == [[0], [1, 1, 2, 2], [3, 3]]
    assert [answer(each)[0] for each in asked] == [1, 2, 3, 4]


def test_a_request_that_is_larger_by_itself_is_inferred_as_it_is(
    kitchen: Kitchen,
) -> None:
    asked = kitchen.ask(*range(9))
    assert kitchen.step() == [*range(9)]
    assert answer(asked) == [*range(1, 10)]


def test_rows_of_other_shapes_are_not_mixed(kitchen: Kitchen) -> None:
    asked = [kitchen.ask(1), kitchen.ask(2), kitchen.ask(3, columns=5), kitchen.ask(4)]
    assert [kitchen.step() for _ in range(3)] == [[1], [2, 4], [3]]
    assert [answer(each) for each in asked] == [[2], [3], [4], [5]]


def test_a_request_without_rows_is_joined_with_nobody(kitchen: Kitchen) -> None:
    asked = [kitchen.ask(1), kitchen.batcher.infer([np.zeros((0, 2), np.float32)])]
    asked.append(kitchen.ask(2))
    assert kitchen.step() == [1]
    assert sorted([kitchen.step(), kitchen.step()]) == [[], [2]]
    assert answer(asked[2]) == [3]
    assert asked[1].result(30).outputs[0].shape == (0, 2)


def test_only_who_fails_by_himself_has_failed(kitchen: Kitchen) -> None:
    asked = [kitchen.ask(n) for n in range(4)]
    assert kitchen.step() == [0]
    assert kitchen.step(RuntimeError("one of these is bad")) == [1, 2, 3]
    alone = [kitchen.step(), kitchen.step(RuntimeError("this one")), kitchen.step()]
    assert alone == [[1], [2], [3]]
    assert [answer(asked[n]) for n in (0, 1, 3)] == [[1], [2], [4]]
    assert status(asked[2]) is Status.OV_INTERNAL_INFERENCE_ERROR


def test_who_gives_up_while_he_waits_is_not_inferred(kitchen: Kitchen) -> None:
    asked = [kitchen.ask(n) for n in range(4)]
    assert kitchen.begun() == [0]
    assert asked[2].cancel()
    kitchen.end()
    assert kitchen.step() == [1, 3]
    assert [answer(asked[n]) for n in (0, 1, 3)] == [[1], [2], [4]]


def test_who_gives_up_in_a_batch_takes_nobody_with_him(kitchen: Kitchen) -> None:
    asked = [kitchen.ask(n) for n in range(3)]
    kitchen.step()
    assert kitchen.begun() == [1, 2]
    assert asked[1].cancel()
    kitchen.end()
    assert answer(asked[2]) == [3]
    assert isinstance(asked[1].error, Cancelled)
    assert not kitchen.slot.cancelled.is_set()


def test_a_batch_that_nobody_waits_for_is_stopped(kitchen: Kitchen) -> None:
    asked = [kitchen.ask(n) for n in range(3)]
    kitchen.step()
    assert kitchen.begun() == [1, 2]
    for each in asked[1:]:
        assert each.cancel()
    assert kitchen.slot.cancelled.wait(30)


def test_who_gave_up_is_not_tried_again_when_his_batch_fails(kitchen: Kitchen) -> None:
    asked = [kitchen.ask(n) for n in range(4)]
    kitchen.step()
    assert kitchen.begun() == [1, 2, 3]
    assert asked[2].cancel()
    kitchen.end(RuntimeError("bad"))
    assert [kitchen.step(), kitchen.step()] == [[1], [3]]
    assert [answer(asked[n]) for n in (1, 3)] == [[2], [4]]


def test_with_a_delay_a_batch_that_is_full_does_not_wait(threads: Threads) -> None:
    kitchen = Kitchen(threads, GatedSlot(), max_queue_delay_microseconds=AN_HOUR)
    asked = [kitchen.ask(n) for n in range(4)]
    assert kitchen.step() == [0, 1, 2, 3]
    assert [answer(each) for each in asked] == [[1], [2], [3], [4]]


def test_nobody_waits_for_others_for_longer_than_the_delay(threads: Threads) -> None:
    kitchen = Kitchen(threads, GatedSlot(), max_queue_delay_microseconds=20_000)
    for number in range(3):  # also when there was somebody before
        asked = kitchen.ask(number)
        assert kitchen.step() == [number]
        assert answer(asked) == [number + 1]


def test_as_many_wait_as_may_and_one_more_is_refused(threads: Threads) -> None:
    kitchen = Kitchen(threads, GatedSlot(), max_queue_length=2)
    asked = [kitchen.ask(n) for n in range(3)]
    with pytest.raises(ServingError) as caught:
        kitchen.ask(3)
    assert caught.value.status is Status.RESOURCE_EXHAUSTED
    assert "2 inferences wait for the model already" in caught.value.details
    assert [kitchen.step(), kitchen.step()] == [[0], [1, 2]]
    assert [answer(each) for each in asked] == [[1], [2], [3]]


def test_who_waits_when_it_closes_is_told(kitchen: Kitchen) -> None:
    asked = [kitchen.ask(n) for n in range(3)]
    assert kitchen.begun() == [0]
    kitchen.model.close()
    kitchen.batcher.close()
    kitchen.end()
    assert answer(asked[0]) == [1]
    for each in (*asked[1:], kitchen.ask(5)):
        assert status(each) is Status.MODEL_VERSION_NOT_LOADED_ANYMORE


class Summing:
    """A model whose output has one row for however many."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def infer(self, tensors: Sequence[Any]) -> Inferred:
        array: Array = np.asarray(tensors[0])
        self.batches.append(len(array))
        return inferred(array.sum(axis=0, keepdims=True), 0)

    def cancel(self) -> None: ...


def test_a_model_that_gives_no_row_for_each_is_asked_for_one_at_a_time_from_then_on(
    threads: Threads,
) -> None:
    slot = Summing()
    kitchen = Kitchen(threads, slot, max_queue_delay_microseconds=AN_HOUR)
    for _ in range(2):
        asked = [kitchen.ask(n) for n in range(4)]
        assert [answer(each) for each in asked] == [[0], [1], [2], [3]]
    assert slot.batches == [4, *[1] * 8]


@pytest.mark.parametrize(
    "wrong",
    [(Dim(1, 1), Dim(10, 10)), (Dim(1, 3), Dim(2, 2)), (Dim(2, 9),), ()],
    ids=["static", "too narrow", "not one", "scalar"],
)
@pytest.mark.parametrize("side", ["input", "output"])
def test_a_model_whose_first_dimension_is_not_free_is_refused(
    threads: Threads, wrong: tuple[Dim, ...], side: str
) -> None:
    given: dict[str, Ports] = {"input": ports(DYNAMIC), "output": ports(DYNAMIC)}
    given[side] = ports(wrong)
    model = PooledModel(given["input"], given["output"], [GatedSlot()], threads)
    with pytest.raises(ServingError) as caught:
        Batcher(model, DynamicBatching(4), Alarms(), lambda *_: None)
    assert caught.value.status is Status.MODEL_NOT_LOADED
    assert f"the first dimension of {side} x is not free" in caught.value.details


class Fragile:
    """y = x + 1; a negative number anywhere is too much for it."""

    def infer(self, tensors: Sequence[Any]) -> Inferred:
        array: Array = np.array(tensors[0])
        if (array < 0).any():
            raise RuntimeError("a negative number")
        return inferred(array + 1, 0, engine_ns=10**9)  # so that a thread does it

    def cancel(self) -> None: ...


def test_in_a_crowd_everybody_gets_what_is_his_whatever_the_others_do(
    threads: Threads,
) -> None:
    slots = [Fragile(), Fragile()]
    model = PooledModel(ports(DYNAMIC), ports(DYNAMIC), slots, threads)
    policy = DynamicBatching(5, max_queue_delay_microseconds=300)
    sizes: list[int] = []
    batcher = Batcher(
        model,
        policy,
        Alarms(),
        lambda rows, _: sizes.append(rows),
        max_queue_length=999,
    )
    wrong: list[str] = []

    def client(seed: int) -> None:
        random = np.random.default_rng(seed)
        flights: list[tuple[Array, Pending[Inferred], bool]] = []
        for _ in range(60):
            shape = int(random.integers(1, 8)), int(random.integers(1, 3))
            x = random.random(shape, np.float32)
            if random.random() < 0.1:
                x[-1, 0] = -1
            asked = batcher.infer([x])
            flights.append((x, asked, random.random() < 0.2 and asked.cancel()))
            if random.random() < 0.3:
                wrong.extend(filter(None, map(judged, flights)))
                flights.clear()
        wrong.extend(filter(None, map(judged, flights)))

    def judged(flight: tuple[Array, Pending[Inferred], bool]) -> str | None:
        x, asked, is_cancelled = flight
        try:
            (y,) = asked.result(30).outputs
        except Cancelled:
            return None if is_cancelled else "cancelled by nobody"
        except ServingError:
            return None if (x < 0).any() else "failed for another"
        return None if np.array_equal(y, x + 1) else "somebody else's rows"

    crowd = [threading.Thread(target=client, args=(seed,)) for seed in range(8)]
    for each in crowd:
        each.start()
    for each in crowd:
        each.join()
    assert wrong == []
    await_(lambda: model.busy == 0)
    assert batcher.waiting == 0
    assert max(sizes) > 1  # they did go together
