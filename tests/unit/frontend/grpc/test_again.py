"""A request that differs from one before in its contents alone has a short way to its
answer, and nobody can tell, on real models in a real catalog.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import openvino as ov
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openvino import opset13 as op
from ovms_mp_protos import kserve

from ovms_mp.frontend.grpc.again import Again
from ovms_mp.frontend.grpc.codec import decode_request
from ovms_mp.frontend.grpc.inference import InferenceService
from ovms_mp.inference.openvino import OpenVINOEngine
from ovms_mp.servable.catalog import Catalog
from ovms_mp.servable.model import ModelServable
from ovms_mp.telemetry.metrics import Metrics
from tests.fakes.call import FakeCall
from tests.unit.frontend.grpc.strategies import mutilate
from tests.unit.inference import tiny
from tests.unit.inference.tiny import EXACT

SHAPE = (1, 3)


def negated() -> ov.Model:
    """Two outputs whose order in the model is not that of their names."""
    x = tiny.parameter("x", SHAPE)
    outputs = tiny.named(op.negative(x), "z"), tiny.named(op.abs(x), "y")
    return tiny.model(outputs, [x])


def message(name: str, *values: float, version: str = "") -> bytes:
    request = kserve.ModelInferRequest(model_name=name, model_version=version)
    request.inputs.add(name="x", datatype="FP32", shape=SHAPE)
    request.raw_input_contents.append(np.array(values, np.float32).tobytes())
    return request.SerializeToString()


class World:
    """A catalog of models, and what answers for it."""

    def __init__(self, folder: Path) -> None:
        self.engine = OpenVINOEngine()
        self.metrics = Metrics()
        self.catalog = Catalog(self.metrics)
        self._folder = folder
        self.ask = self.anew()

    def anew(self) -> Callable[[bytes], bytes]:
        """A service that has learned nothing yet."""
        handlers = InferenceService(self.catalog, "0").handlers()

        def ask(data: bytes) -> bytes:
            answer = handlers[kserve.MODEL_INFER](data, FakeCall())
            return answer if isinstance(answer, bytes) else answer.result(30)

        return ask

    def serve(self, name: str, model: ov.Model, version: int = 1) -> None:
        path = tiny.save(self._folder, model, f"{name}_{version}")
        compiled = self.engine.load(path, EXACT)
        servable = ModelServable(name, version, compiled, self.metrics)
        self.catalog.announce_model(name)
        self.catalog.model_loading(name, version)
        self.catalog.model_loaded(name, version, servable)
        self.catalog.model_settled(name)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    world = World(tmp_path_factory.mktemp("models"))
    for name in ("one", "two"):
        world.serve(name, tiny.add_one(SHAPE))
    world.serve("neg", negated())
    yield world
    world.catalog.close()
    world.engine.close()


def outputs(data: bytes) -> dict[str, list[float]]:
    response = kserve.ModelInferResponse.FromString(data)
    return {
        each.name: np.frombuffer(raw, np.float32).tolist()
        for each, raw in zip(
            response.outputs, response.raw_output_contents, strict=True
        )
    }


@given(st.lists(st.tuples(st.sampled_from(["one", "two", "neg"]), st.integers(-9, 9))))
def test_every_answer_is_that_of_a_service_that_has_learned_nothing(
    world: World, asked: list[tuple[str, int]]
) -> None:
    """Requests of one size to several models take turns."""
    for name, value in asked:
        data = message(name, value, 0, 1)
        assert world.ask(data) == world.anew()(data)


@given(st.data())
def test_what_only_looks_like_a_known_request_is_judged(
    world: World, data: st.DataObject
) -> None:
    known = message("neg", 1, 2, 3)
    world.ask(known)
    other = data.draw(mutilate(known))

    def told(ask: Callable[[bytes], bytes]) -> object:
        try:
            return ask(other)
        except Exception as error:
            return type(error), str(error)

    assert told(world.ask) == told(world.anew())


def test_a_request_is_learned_from_one_that_was_answered(world: World) -> None:
    """Or all of this would test nothing."""
    again, data = Again(world.catalog), message("neg", 1, 2, 3)
    assert again.answer(data) is None
    request = decode_request(data)
    again.learn(data, request, world.catalog.infer(request).result(30))
    answer = again.answer(message("neg", -4, 5, 6))
    # None where the machine is so busy that the model was not found to be short.
    assert answer is None or outputs(answer) == {"y": [4, 5, 6], "z": [4, -5, -6]}


def test_what_was_learned_ends_with_a_change_of_what_is_served(world: World) -> None:
    world.serve("grows", tiny.add_one(SHAPE))
    data = message("grows", 1, 2, 3)
    for _ in range(2):
        assert outputs(world.ask(data)) == {"y": [2, 3, 4]}
    world.serve("grows", negated(), version=2)
    for _ in range(2):
        assert outputs(world.ask(data)) == {"y": [1, 2, 3], "z": [-1, -2, -3]}
    first = message("grows", 1, 2, 3, version="1")
    assert outputs(world.ask(first)) == {"y": [2, 3, 4]}


def test_short_ways_are_counted_like_others(world: World) -> None:
    world.serve("counted", tiny.add_one(SHAPE))
    for _ in range(100):
        world.ask(message("counted", 1, 2, 3))
    (told,) = world.catalog.statistics("counted", "").values()
    assert told.success.count == told.queue.count == told.inference_count == 100
    assert 0 < told.compute_infer.ns < told.success.ns
    page = world.metrics.render().decode().splitlines()
    for counter in ("ovms_requests_success", "ovms_inference_time_us_count"):
        mine = [x for x in page if x.startswith(counter) and '"counted"' in x]
        assert any(float(x.split()[-1]) == 100 for x in mine), mine
