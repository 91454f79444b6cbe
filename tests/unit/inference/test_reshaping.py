"""Models that are compiled for what comes: once for each shape, while others infer."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from openvino import opset13 as op

from ovms_mp.core.adaptation import parse
from ovms_mp.core.errors import ServingError, Status
from ovms_mp.core.messages import TensorInfo
from ovms_mp.core.pending import Pending
from ovms_mp.core.shape import UNBOUNDED, Dim
from ovms_mp.core.tensor import Array
from ovms_mp.core.threads import Threads
from ovms_mp.inference.engine import CompiledModel, Inferred, ModelConfig
from ovms_mp.inference.model import PooledModel, Slot
from ovms_mp.inference.openvino import OpenVINOEngine
from ovms_mp.inference.reshaping import ReshapingModel, Shapes
from tests.unit.inference import tiny
from tests.unit.inference.slots import GatedSlot, SlowSlot, await_, ports
from tests.unit.inference.tiny import EXACT

WITHIN = 60.0


def zeros(*shape: int) -> list[Array]:
    return [np.zeros(shape, np.float32)]


class Compiler:
    """Compiles when it is told to, and remembers for what. Slots infer at once."""

    def __init__(self, threads: Threads) -> None:
        self.asked: list[Shapes] = []
        self.began = threading.Semaphore(0)
        self.may_go_on = threading.Semaphore(0)
        self.error: Exception | None = None
        self.slot: Slot = SlowSlot(0)
        self._threads = threads

    def __call__(self, shapes: Shapes) -> CompiledModel:
        self.asked.append(shapes)
        self.began.release()
        assert self.may_go_on.acquire(timeout=WITHIN)
        if self.error is not None:
            raise self.error
        return self.model(*(shapes[0] or ()))

    def model(self, *shape: int) -> PooledModel:
        made = ports(tuple(Dim(length, length) for length in shape))
        return PooledModel(made, made, [self.slot], self._threads)


@pytest.fixture
def compiler(threads: Threads) -> Compiler:
    return Compiler(threads)


Make = Callable[..., ReshapingModel]


@pytest.fixture
def make(compiler: Compiler, threads: Threads) -> Iterator[Make]:
    made: list[ReshapingModel] = []

    def make(**limits: int) -> ReshapingModel:
        opened = ports((Dim(1, UNBOUNDED), Dim(1, UNBOUNDED)))
        base = compiler.model(1, 4)
        made.append(ReshapingModel(base, opened, compiler, threads, **limits))
        return made[-1]

    yield make
    for model in made:
        assert (model.busy, model.waiting) == (0, 0)
        model.close()


def settled(pending: Pending[Inferred]) -> None:
    pending.result(WITHIN)


def test_a_new_shape_is_compiled_once_for_all_who_ask(
    make: Make, compiler: Compiler
) -> None:
    model = make()
    asked = [model.infer(zeros(2, 4)) for _ in range(3)]
    assert compiler.began.acquire(timeout=WITHIN)
    assert model.waiting == 3
    compiler.may_go_on.release()
    for each in (*asked, model.infer(zeros(2, 4))):
        settled(each)
    assert compiler.asked == [((2, 4),)]


def test_nobody_else_waits_while_it_compiles(make: Make, compiler: Compiler) -> None:
    model = make()
    compiler.may_go_on.release()
    settled(model.infer(zeros(3, 4)))
    late = model.infer(zeros(2, 4))
    assert compiler.began.acquire(timeout=WITHIN)
    settled(model.infer(zeros(1, 4)))
    settled(model.infer(zeros(3, 4)))
    assert not late.is_settled
    compiler.may_go_on.release()
    settled(late)


def test_shapes_are_compiled_one_after_the_other(
    make: Make, compiler: Compiler
) -> None:
    model = make()
    first, second = (model.infer(zeros(n, 4)) for n in (2, 3))
    assert compiler.began.acquire(timeout=WITHIN)
    assert compiler.asked == [((2, 4),)]
    compiler.may_go_on.release()
    settled(first)
    assert compiler.began.acquire(timeout=WITHIN)
    assert compiler.asked == [((2, 4),), ((3, 4),)]
    compiler.may_go_on.release()
    settled(second)


def test_the_shape_that_was_used_least_recently_makes_room(
    make: Make, compiler: Compiler
) -> None:
    model = make(most=2)
    compiler.may_go_on.release(4)
    for rows in (2, 3, 2, 4, 2):
        settled(model.infer(zeros(rows, 4)))
    assert compiler.asked == [((rows, 4),) for rows in (2, 3, 4)]
    settled(model.infer(zeros(3, 4)))
    assert compiler.asked[-1] == ((3, 4),)


def test_what_is_in_use_makes_no_room(make: Make, compiler: Compiler) -> None:
    model = make(most=1)
    compiler.slot = slot = GatedSlot()
    compiler.may_go_on.release()
    held = model.infer(zeros(2, 4))
    slot.begun.get(timeout=WITHIN)
    compiler.slot = SlowSlot(0)
    late = model.infer(zeros(3, 4))
    assert compiler.asked == [((2, 4),)]
    assert model.waiting == 1
    compiler.may_go_on.release()
    slot.outcomes.put(None)
    settled(held)
    settled(late)
    assert compiler.asked == [((2, 4),), ((3, 4),)]


def test_a_shape_that_cannot_be_fails_those_who_asked(
    make: Make, compiler: Compiler
) -> None:
    model = make()
    compiler.error = ServingError(Status.RESHAPE_ERROR, "no")
    compiler.may_go_on.release()
    with pytest.raises(ServingError, match="could not be reshaped"):
        model.infer(zeros(2, 4)).result(WITHIN)
    compiler.error = None
    compiler.may_go_on.release()
    settled(model.infer(zeros(2, 4)))


def test_the_queue_is_bounded_and_a_cancel_leaves_it(
    make: Make, compiler: Compiler
) -> None:
    model = make(max_queue_length=2)
    first, second = (model.infer(zeros(n, 4)) for n in (2, 3))
    assert compiler.began.acquire(timeout=WITHIN)
    with pytest.raises(ServingError) as caught:
        model.infer(zeros(4, 4))
    assert caught.value.status is Status.RESOURCE_EXHAUSTED
    assert second.cancel()
    compiler.may_go_on.release()
    settled(first)
    await_(lambda: model.waiting == 0)
    assert compiler.asked == [((2, 4),)]


def test_to_close_fails_those_who_wait(make: Make, compiler: Compiler) -> None:
    model = make()
    asked = model.infer(zeros(2, 4))
    assert compiler.began.acquire(timeout=WITHIN)
    model.close()
    compiler.may_go_on.release()
    with pytest.raises(ServingError) as caught:
        asked.result(WITHIN)
    assert caught.value.status is Status.MODEL_VERSION_NOT_LOADED_ANYMORE
    with pytest.raises(ServingError):
        model.infer(zeros(3, 4))


# With OpenVINO


@pytest.fixture
def engine() -> Iterator[OpenVINOEngine]:
    engine = OpenVINOEngine()
    yield engine
    engine.close()


def test_any_shape_is_answered_and_metadata_is_as_the_file_says(
    engine: OpenVINOEngine, tmp_path: Path
) -> None:
    path = tiny.save(tmp_path, tiny.add_one((1, 10)))
    config = ModelConfig(EXACT.target_device, EXACT.plugin_config)
    model = engine.load(path, _with(config, shape="auto"))
    assert model.inputs.infos == (TensorInfo("x", "FP32", (1, 10)),)
    assert model.inputs[0].shape == (Dim(1, UNBOUNDED),) * 2
    for shape in ((1, 10), (3, 10), (2, 7), (3, 10), (1, 10)):
        x = np.random.default_rng(7).random(shape, np.float32)
        (y,) = model.infer([x]).result(WITHIN).outputs
        assert np.array_equal(y, x + 1)
    model.close()


def test_an_automatic_batch_leaves_other_sides_alone(
    engine: OpenVINOEngine, tmp_path: Path
) -> None:
    path = tiny.save(tmp_path, tiny.two_inputs())
    model = engine.load(path, _with(EXACT, batch_size="auto"))
    assert [port.shape for port in model.inputs] == [
        (Dim(1, UNBOUNDED), Dim(3, 3)),
        (Dim(1, UNBOUNDED), Dim(2, 2)),
    ]
    b, a = np.ones((5, 3), np.float32), np.full((5, 2), 4, np.int64)
    total, double = model.infer([b, a]).result(WITHIN).outputs
    assert total.tolist() == [3] * 5
    assert double.tolist() == [[8, 8]] * 5
    model.close()


def test_a_shape_that_the_model_cannot_have_is_told(
    engine: OpenVINOEngine, tmp_path: Path
) -> None:
    x = tiny.parameter("x", (6,))
    target = op.constant(np.array([2, 3], np.int64))
    y = tiny.named(op.reshape(x, target, False), "y")
    path = tiny.save(tmp_path, tiny.model([y], [x]))
    model = engine.load(path, _with(EXACT, shape="auto"))
    with pytest.raises(ServingError) as caught:
        model.infer([np.zeros(5, np.float32)]).result(WITHIN)
    assert caught.value.status is Status.RESHAPE_ERROR
    (y,) = model.infer([np.zeros(6, np.float32)]).result(WITHIN).outputs
    assert y.shape == (2, 3)
    model.close()


def _with(config: ModelConfig, **written: str) -> ModelConfig:
    return ModelConfig(
        config.target_device, config.plugin_config, adaptation=parse(written)
    )
