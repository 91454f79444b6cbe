"""A request has the outputs that it asks for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from ovms_mp.core.errors import ServingError, Status
from ovms_mp.core.messages import InferRequest, InputTensor
from ovms_mp.inference.openvino import OpenVINOEngine
from ovms_mp.servable.model import ModelServable
from ovms_mp.telemetry.metrics import Metrics
from tests.unit.inference import tiny
from tests.unit.inference.tiny import EXACT

WITHIN = 60


@pytest.fixture(scope="module")
def servable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelServable]:
    folder: Path = tmp_path_factory.mktemp("model")
    engine = OpenVINOEngine()
    compiled = engine.load(tiny.save(folder, tiny.two_inputs()), EXACT)
    servable = ModelServable("m", 1, compiled, Metrics.off())
    yield servable
    servable.close()
    engine.close()


def numbers(*outputs: str) -> InferRequest:
    inputs = (
        InputTensor("a", "INT64", (1, 2), raw=np.array([[4, 5]]).tobytes()),
        InputTensor("b", "FP32", (1, 3), raw=np.ones((1, 3), np.float32).tobytes()),
    )
    return InferRequest("m", inputs=inputs, raw_count=2, outputs=outputs)


def test_only_the_outputs_that_are_asked_for_are_answered(
    servable: ModelServable,
) -> None:
    for wanted, expected in (
        ((), ["double", "sum"]),
        (("sum",), ["sum"]),
        (("sum", "double", "sum"), ["double", "sum"]),
        (("sum:0",), ["sum:0"]),
    ):
        response = servable.infer(numbers(*wanted)).result(WITHIN)
        assert [each.name for each in response.outputs] == expected


def test_an_output_that_is_not_there_is_refused_before_inferring(
    servable: ModelServable,
) -> None:
    before = servable.statistics().execution_count
    with pytest.raises(ServingError) as caught:
        servable.infer(numbers("sum", "mean"))
    assert caught.value.status is Status.INVALID_MISSING_OUTPUT
    assert caught.value.details == "Requested output: mean"
    assert servable.statistics().execution_count == before
