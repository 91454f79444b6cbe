"""What a model tells of its requests, on OpenVINO."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import openvino as ov
import pytest

from ovms_mp.core.errors import ServingError
from ovms_mp.core.messages import InferRequest, InputTensor
from ovms_mp.inference.openvino import OpenVINOEngine
from ovms_mp.servable.model import ModelServable
from ovms_mp.servable.model_session import ModelSession
from ovms_mp.servable.statistics import Duration, ModelStatistics
from ovms_mp.telemetry.metrics import Metrics
from tests.unit.inference import tiny
from tests.unit.inference.slots import await_
from tests.unit.inference.tiny import EXACT

Serve = Callable[[ov.Model], ModelServable]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    engine = OpenVINOEngine()
    served: list[ModelServable] = []

    def serve(model: ov.Model) -> ModelServable:
        compiled = engine.load(tiny.save(tmp_path, model), EXACT)
        served.append(ModelServable("model", 3, compiled, Metrics.off()))
        return served[-1]

    yield serve
    for servable in served:
        servable.close()
    engine.close()


def of(x: np.ndarray) -> InferRequest:
    tensor = InputTensor("x", "FP32", x.shape, raw=x.tobytes())
    return InferRequest("model", inputs=(tensor,), raw_count=1)


def durations(statistics: ModelStatistics) -> dict[str, Duration]:
    names = ("queue", "compute_input", "compute_infer", "compute_output")
    return {name: getattr(statistics, name) for name in names}


@pytest.mark.parametrize("model", [tiny.into_two_by_three(), tiny.add_one((6,))])
def test_statistics_are_of_requests_that_succeeded_and_failed(
    serve: Serve, model: ov.Model
) -> None:
    """For a model that runs in the thread that asks, and for one that does not."""
    servable = serve(model)
    assert servable.statistics() == ModelStatistics()
    before = time.time_ns() // 10**6
    for _ in range(3):
        servable.infer(of(np.zeros(6, np.float32))).result(30)
    with pytest.raises(ServingError):
        servable.infer(InferRequest("model"))
    told = servable.statistics()
    assert (told.success.count, told.fail.count) == (3, 1)
    assert (told.inference_count, told.execution_count) == (3, 3)
    assert before <= told.last_inference <= time.time_ns() // 10**6
    parts = durations(told)
    assert {name: each.count for name, each in parts.items()} == dict.fromkeys(parts, 3)
    assert all(each.ns >= 0 for each in parts.values())
    assert 0 < told.compute_infer.ns < sum(p.ns for p in parts.values())
    assert sum(each.ns for each in parts.values()) <= told.success.ns
    assert servable.recorder.in_process == 0


def test_waiting_for_a_slot_is_queue_time(serve: Serve) -> None:
    servable = serve(tiny.slow())
    x = of(np.zeros((512, 512), np.float32))
    first, second = servable.infer(x), servable.infer(x)
    first.result(60)
    second.result(60)
    told = servable.statistics()
    one = told.compute_infer.ns / 2
    assert told.queue.ns > one / 2


def test_a_cancelled_request_is_neither_success_nor_failure(serve: Serve) -> None:
    servable = serve(tiny.slow())
    asked = servable.infer(of(np.zeros((512, 512), np.float32)))
    assert servable.recorder.in_process == 1
    asked.cancel()
    await_(lambda: servable.recorder.in_process == 0)
    assert servable.statistics() == ModelStatistics()


def test_an_inference_of_a_graph_counts_as_a_request(serve: Serve) -> None:
    servable = serve(tiny.add_one((5,)))
    session = ModelSession(servable)
    session.infer({"x": np.zeros(5, np.float32)}).result(30)
    with pytest.raises(ServingError):
        session.infer({})
    told = servable.statistics()
    assert (told.success.count, told.fail.count, told.execution_count) == (1, 1, 1)
