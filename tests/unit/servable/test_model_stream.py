"""Laws of a stream on a model: pipelined, in order, and with its own state."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import pytest

from ovms_mp.core.errors import ServingError, Status
from ovms_mp.core.happenings import Shape
from ovms_mp.core.messages import InferRequest, InferResponse, OutputTensor
from ovms_mp.core.pending import Cancelled, Pending
from ovms_mp.core.stream_policy import Overflow, StreamPolicy
from ovms_mp.inference.openvino import OpenVINOEngine
from ovms_mp.repository.config import ModelSpec
from ovms_mp.servable.model import ModelServable
from ovms_mp.servable.model_stream import ModelStream
from ovms_mp.servable.streams import Lifetime, Streams
from ovms_mp.servable.watching import Watching
from ovms_mp.telemetry.metrics import Metrics
from tests.unit.inference import tiny
from tests.unit.servable.support import Client, alarm_threads, request, tensor
from tests.wire.waiting import until

GENEROUS = 30.0


class Engine:
    """Answers when the test says so, in the order that the test likes."""

    def __init__(self) -> None:
        self.asked: list[tuple[InferRequest, Pending[InferResponse]]] = []

    def infer(self, request: InferRequest) -> Pending[InferResponse]:
        if not request.inputs:
            raise ServingError(Status.INVALID_NO_OF_INPUTS, "Expected: 1; Actual: 0")
        answer = Pending[InferResponse]()
        self.asked.append((request, answer))
        return answer

    def answer(self, number: int) -> None:
        request, answer = self.asked[number]
        output = OutputTensor("y", "FP32", (1,), request.inputs[0].raw or b"")
        answer.complete(InferResponse("g", "1", request.id, outputs=(output,)))


def numbered(number: int, **more: Any) -> InferRequest:
    return request(tensor("x", [number]), id=str(number), **more)


def opened(
    **policy: object,
) -> tuple[Engine, Client, ModelStream]:
    engine, client = Engine(), Client()
    said = StreamPolicy(**{"window": 3, **policy})  # pyright: ignore[reportArgumentType]
    streams = Streams("g", said, Metrics.off().streams("g"))
    policy_ = streams.opened(numbered(0))
    lifetime = Lifetime(streams, policy_)
    stream = ModelStream("1", engine.infer, client, policy=policy_, lifetime=lifetime)
    stream.open(numbered(0), Watching(), Shape("g", (), ("x",)))
    return engine, client, stream


def ids(client: Client) -> list[str]:
    return [each.id for each in client.responses]


def test_requests_are_inferred_beside_each_other_and_answered_in_order():
    engine, client, stream = opened()
    for number in (1, 2):
        stream.feed(numbered(number))
    assert len(engine.asked) == 3 and client.rooms == 2
    engine.answer(2)
    engine.answer(1)
    assert client.responses == []
    engine.answer(0)
    assert ids(client) == ["0", "1", "2"] and client.rooms == 3
    assert [timestamp for timestamp, _ in client.told] == [0, 1, 2]


def test_a_timestamp_of_the_client_comes_back_and_the_count_goes_on_from_it():
    engine, client, stream = opened()
    stream.feed(numbered(1, parameters={"OVMS_MP_TIMESTAMP": 50}))
    stream.feed(numbered(2))
    for number in range(3):
        engine.answer(number)
    assert [timestamp for timestamp, _ in client.told] == [0, 50, 51]


@pytest.mark.parametrize(
    ("refused", "text"),
    [
        (
            request(id="x"),
            "Invalid number of inputs - Expected: 1; Actual: 0; "
            "partial deserialization of subsequent requests",
        ),
        (
            request(tensor("x", [1]), name="h", id="x"),
            "Subsequent request with incorrect servable name; "
            "validate subsequent requests",
        ),
        (
            request(tensor("x", [1]), id="x", model_version="2"),
            "Subsequent request with incorrect servable version; "
            "validate subsequent requests",
        ),
    ],
)
def test_a_request_that_does_not_fit_is_told_and_the_stream_goes_on(refused, text):
    engine, client, stream = opened()
    stream.feed(refused)
    assert client.errors == [text] and client.refused == ["x"]
    stream.feed(numbered(1))
    engine.answer(0)
    engine.answer(1)
    assert [timestamp for timestamp, _ in client.told] == [0, 1]


def test_an_inference_that_fails_fails_its_request_in_its_turn():
    engine, client, stream = opened()
    stream.feed(numbered(1))
    engine.asked[1][1].fail(ServingError(Status.OV_INTERNAL_INFERENCE_ERROR, "why"))
    assert client.errors == []
    engine.answer(0)
    assert client.errors == ["Internal inference error - why"]
    assert client.refused == ["1"] and client.ends == []


def test_half_close_waits_for_what_is_inferred():
    engine, client, stream = opened()
    stream.half_close()
    assert client.ends == []
    engine.answer(0)
    assert ids(client) == ["0"] and client.ends == [None]


def test_a_client_that_goes_takes_its_inferences_along():
    engine, client, stream = opened()
    stream.feed(numbered(1))
    stream.cancel()
    assert all(isinstance(each.error, Cancelled) for _, each in engine.asked)
    assert client.responses == [] and client.ends == []


def test_a_client_that_does_not_read_has_no_more_inferred():
    engine, client, stream = opened()
    stream.hold()
    stream.feed(numbered(1))
    assert len(engine.asked) == 1 and client.rooms == 1
    stream.release()
    assert len(engine.asked) == 2 and client.rooms == 2


def test_a_window_that_is_full_rejects_or_drops_as_it_is_told():
    engine, client, stream = opened(window=1, overflow=Overflow.REJECT)
    stream.feed(numbered(1))
    assert client.refused == ["1"]
    assert client.errors[0].endswith(
        "1 in flight and 0 waiting; the request was rejected"
    )
    engine, client, stream = opened(window=1, overflow=Overflow.DROP_OLDEST)
    for number in (1, 2, 3):
        stream.feed(numbered(number))
    assert client.refused == ["1", "2"]
    engine.answer(0)
    engine.answer(1)
    assert ids(client) == ["0", "3"]


def test_a_silent_stream_and_an_old_one_are_ended_and_told_why():
    engine, client, _ = opened(idle_timeout_seconds=0.05)
    assert not client.over.wait(0.2)  # an inference is under way
    engine.answer(0)
    assert client.over.wait(GENEROUS)
    (end,) = client.ends
    assert end is not None and "idle_timeout_seconds" in end.text
    others = alarm_threads()
    engine, client, stream = opened(max_age_seconds=0.05)
    assert until(lambda: alarm_threads() <= others)  # it is that old
    assert not client.over.is_set()
    stream.feed(numbered(1))
    assert "max_age_seconds" in client.errors[0]
    engine.answer(0)
    (end,) = client.ends
    assert ids(client) == ["0"]
    assert end is not None and end.status is Status.DEADLINE_EXCEEDED


Serve = Callable[..., ModelServable]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Serves a model as version 3 of `g`; afterwards no slot is in use."""
    engine, served = OpenVINOEngine(), list[ModelServable]()

    def serve(model: ov.Model, **said: Any) -> ModelServable:
        compiled = engine.load(tiny.save(tmp_path, model), tiny.EXACT)
        spec = ModelSpec("g", tmp_path, **said)
        served.append(ModelServable("g", 3, compiled, Metrics.off(), spec))
        return served[-1]

    yield serve
    for servable in served:
        assert until(lambda servable=servable: servable.compiled.busy == 0)
        servable.close()
    engine.close()


def ones(number: float, **more: Any) -> InferRequest:
    return request(tensor("x", [[number] * 4]), **more)


def firsts(client: Client) -> list[float]:
    return [value["y"][0] for _, value in client.told]


def test_a_model_is_streamed_to_and_each_answer_is_its_requests(serve: Serve):
    servable, client = serve(tiny.add_one((1, 4))), Client()
    stream = servable.open_stream(ones(0), client)
    for number in range(1, 200):
        assert until(lambda number=number: client.rooms >= number)
        stream.feed(ones(number))
    stream.half_close()
    assert client.over.wait(GENEROUS) and client.ends == [None]
    assert firsts(client) == [number + 1 for number in range(200)]


def test_each_stream_on_a_model_with_a_state_has_its_own(serve: Serve):
    servable = serve(tiny.running_total())
    clients = [Client() for _ in range(10)]
    streams = [servable.open_stream(ones(n), each) for n, each in enumerate(clients)]
    for step in range(1, 6):
        for number, (client, stream) in enumerate(zip(clients, streams, strict=True)):
            assert until(lambda client=client, step=step: client.rooms >= step)
            stream.feed(ones(number))
    for number, (client, stream) in enumerate(zip(clients, streams, strict=True)):
        stream.half_close()
        assert client.over.wait(GENEROUS)
        assert firsts(client) == [number * step for step in range(1, 7)]


def test_a_stream_may_use_sequences_beside_its_own_state(serve: Serve):
    servable, client = serve(tiny.running_total()), Client()
    stream = servable.open_stream(ones(1), client)
    said = [
        {"sequence_id": 5, "sequence_start": True},
        {},
        {"sequence_id": 5, "sequence_end": True},
        {"sequence_id": 5},
    ]
    for number, parameters in enumerate(said, start=1):
        assert until(lambda number=number: client.rooms >= number)
        stream.feed(ones(10 if parameters else 1, parameters=parameters))
        assert until(
            lambda number=number: len(client.responses) + len(client.errors) > number
        )
    assert firsts(client) == [1, 10, 2, 20]
    assert client.errors == [
        "Sequence with provided ID does not exist; "
        "partial deserialization of subsequent requests"
    ]
    assert np.isscalar(client.responses[1].parameters["sequence_id"])
    stream.cancel()


def test_a_models_config_says_what_its_streams_and_sequences_may_hold(serve: Serve):
    servable = serve(
        tiny.running_total(),
        stream=StreamPolicy(max_streams=1),
        max_sequence_number=1,
    )
    stream = servable.open_stream(ones(1), Client())
    with pytest.raises(ServingError, match="max_streams"):
        servable.open_stream(ones(1), Client())
    stream.cancel()
    start = {"sequence_start": True}
    assert servable.infer(ones(1, parameters=start)).result(GENEROUS)
    with pytest.raises(ServingError) as refused:
        servable.infer(ones(1, parameters=start))
    assert refused.value.status is Status.MAX_SEQUENCE_NUMBER_REACHED
