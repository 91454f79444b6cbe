"""A model version as clients and graphs see it, on OpenVINO."""

from __future__ import annotations

import queue
import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as op

from ovms_mp.core.errors import ServingError, Status
from ovms_mp.core.messages import (
    InferRequest,
    InferResponse,
    InputTensor,
    ServableMetadata,
    TensorInfo,
)
from ovms_mp.core.pending import Cancelled, Pending
from ovms_mp.core.threads import Threads, is_laden
from ovms_mp.inference.openvino import OpenVINOEngine
from ovms_mp.inference.openvino.slot import SHARED_FROM
from ovms_mp.servable.model import ModelServable
from ovms_mp.servable.model_session import ModelSession
from ovms_mp.telemetry.metrics import FAMILIES, Metrics
from tests.unit.inference import tiny
from tests.unit.inference.tiny import EXACT

Serve = Callable[[ov.Model], ModelServable]

B = np.array([[1, 2, 3]], np.float32)
A = np.array([[4, 5]], np.int64)


@pytest.fixture(scope="module")
def engine() -> Iterator[OpenVINOEngine]:
    engine = OpenVINOEngine()
    yield engine
    engine.close()


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(family.name for family in FAMILIES)


@pytest.fixture
def serve(engine: OpenVINOEngine, metrics: Metrics, tmp_path: Path) -> Iterator[Serve]:
    served: list[ModelServable] = []

    def serve(model: ov.Model) -> ModelServable:
        compiled = engine.load(tiny.save(tmp_path, model), EXACT)
        served.append(ModelServable("model", 3, compiled, metrics))
        return served[-1]

    yield serve
    for servable in served:
        compiled = servable.compiled
        await_(lambda compiled=compiled: compiled.busy == 0)
        assert compiled.waiting == 0
        servable.close()


def await_(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 50  # a machine that is busy is no law broken
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.0005)


def tensor(name: str, datatype: str, array: np.ndarray) -> InputTensor:
    return InputTensor(name, datatype, array.shape, raw=array.tobytes())


def request(*inputs: InputTensor) -> InferRequest:
    return InferRequest("model", id="request 7", inputs=inputs, raw_count=len(inputs))


def two_inputs() -> InferRequest:
    return request(tensor("a", "INT64", A), tensor("b", "FP32", B))


def of(x: np.ndarray) -> InferRequest:
    return request(tensor("x", "FP32", x))


def array(response: InferResponse, number: int = 0) -> np.ndarray:
    output = response.outputs[number]
    dtype = {"FP32": np.float32, "INT64": np.int64}[output.datatype]
    return np.frombuffer(output.data, dtype).reshape(output.shape)


def sample(metrics: Metrics, series: str) -> float:
    """The value of one line of the page; 0 if it is not there."""
    pattern = rf"^{re.escape(series)} (\S+)$"
    found = re.search(pattern, metrics.render().decode(), re.MULTILINE)
    return float(found[1]) if found else 0


# Clients


def test_metadata_tells_of_ports_in_the_order_of_names(serve: Serve) -> None:
    assert serve(tiny.two_inputs()).metadata() == ServableMetadata(
        name="model",
        versions=("3",),
        inputs=(TensorInfo("a", "INT64", (1, 2)), TensorInfo("b", "FP32", (1, 3))),
        outputs=(
            TensorInfo("double", "INT64", (1, 2)),
            TensorInfo("sum", "FP32", (1,)),
        ),
    )


def test_types_without_a_name_on_the_wire_are_invalid_in_metadata(
    serve: Serve,
) -> None:
    x = tiny.parameter("x", (1, 4), ov.Type.u4)
    y = tiny.named(op.convert(x, np.float32), "y")
    metadata = serve(tiny.model([y], [x])).metadata()
    assert metadata.inputs == (TensorInfo("x", "INVALID", (1, 4)),)


def test_an_answer_has_all_outputs_in_the_order_of_names(serve: Serve) -> None:
    response = serve(tiny.two_inputs()).infer(two_inputs()).result(30)
    assert (response.model_name, response.model_version) == ("model", "3")
    assert response.id == "request 7"
    assert [output.name for output in response.outputs] == ["double", "sum"]
    assert array(response, 0).tolist() == [[8, 10]]
    assert array(response, 1).tolist() == [6]


@pytest.mark.parametrize("datatype", ["BOOL", "FP16", "INT8", "UINT64", "FP64"])
def test_outputs_are_dense_bytes_of_their_datatype(serve: Serve, datatype: str) -> None:
    dtype = {
        "BOOL": np.bool_,
        "FP16": "<f2",
        "INT8": "i1",
        "UINT64": "<u8",
        "FP64": "<f8",
    }
    x = np.array([[1, 0, 1]]).astype(dtype[datatype])
    servable = serve(tiny.twice((1, 3), x.dtype))
    (output,) = servable.infer(request(tensor("x", datatype, x))).result(30).outputs
    assert (output.datatype, output.shape) == (datatype, (2, 3))
    assert bytes(output.data) == x.tobytes() * 2


def test_an_empty_output_is_no_bytes(serve: Serve) -> None:
    servable = serve(tiny.add_one((-1, 10)))
    response = servable.infer(of(np.empty((0, 10), np.float32))).result(30)
    assert response.outputs[0].shape == (0, 10)
    assert bytes(response.outputs[0].data) == b""


@pytest.mark.parametrize("length", [10, SHARED_FROM])
def test_answers_share_nothing_with_one_another(serve: Serve, length: int) -> None:
    servable = serve(tiny.add_one((1, length)))
    asked = [
        servable.infer(of(np.full((1, length), number, np.float32)))
        for number in range(5)
    ]
    answers = [array(each.result(30)) for each in asked]
    assert [answer.min() for answer in answers] == [1, 2, 3, 4, 5]
    assert [answer.max() for answer in answers] == [1, 2, 3, 4, 5]


def test_a_request_that_does_not_fit_is_refused_before_it_waits(serve: Serve) -> None:
    servable = serve(tiny.add_one())
    with pytest.raises(ServingError) as caught:
        servable.infer(of(np.zeros((1, 11), np.float32)))
    assert caught.value.status is Status.INVALID_SHAPE
    assert servable.compiled.busy == 0


def test_an_inference_that_fails_is_told_and_the_next_one_works(serve: Serve) -> None:
    servable = serve(tiny.into_two_by_three())
    with pytest.raises(ServingError) as caught:
        servable.infer(of(np.zeros(5, np.float32))).result(30)
    assert caught.value.status is Status.OV_INTERNAL_INFERENCE_ERROR
    assert array(servable.infer(of(np.ones(6, np.float32))).result(30)).shape == (2, 3)


def test_an_output_that_cannot_be_sent_is_refused_before_inferring(
    serve: Serve,
) -> None:
    x = tiny.parameter("x", (1, 4))
    y = tiny.named(op.convert(x, ov.Type.f8e4m3), "y")
    servable = serve(tiny.model([y], [x]))
    with pytest.raises(ServingError, match="output name: y") as caught:
        servable.infer(of(np.zeros((1, 4), np.float32)))
    assert caught.value.status is Status.NOT_IMPLEMENTED


def test_a_cancelled_request_frees_its_slot(serve: Serve, metrics: Metrics) -> None:
    servable = serve(tiny.slow())
    asked = servable.infer(of(np.zeros((512, 512), np.float32)))
    queued = servable.infer(of(np.zeros((512, 512), np.float32)))
    assert queued.cancel()
    assert asked.cancel()
    assert isinstance(asked.error, Cancelled)
    await_(lambda: servable.compiled.busy == 0)
    labels = '{name="model",version="3"}'
    assert sample(metrics, f"ovms_current_requests{labels}") == 0


def test_a_closed_model_says_that_it_is_retired(serve: Serve) -> None:
    servable = serve(tiny.add_one())
    servable.close()
    with pytest.raises(ServingError) as caught:
        servable.infer(of(np.zeros((1, 10), np.float32)))
    assert caught.value.status is Status.MODEL_VERSION_NOT_LOADED_ANYMORE


def test_clients_at_the_same_time_get_their_own_answers(serve: Serve) -> None:
    servable = serve(tiny.add_one((-1, 50)))
    wrong: list[int] = []

    def use(number: int) -> None:
        for turn in range(40):
            x = np.full((1 + turn % 3, 50), 100 * number + turn, np.float32)
            if not np.array_equal(array(servable.infer(of(x)).result(30)), x + 1):
                wrong.append(number)

    users = [threading.Thread(target=use, args=(number,)) for number in range(6)]
    for user in users:
        user.start()
    for user in users:
        user.join()
    assert wrong == []


# Metrics

MODEL = '{name="model",version="3"}'


def requests(outcome: str, interface: str = "gRPC") -> str:
    return (
        f'ovms_requests_{outcome}{{api="KServe",interface="{interface}",'
        'method="ModelInfer",name="model",version="3"}'
    )


def test_every_end_of_a_request_is_counted_once(serve: Serve, metrics: Metrics) -> None:
    servable = serve(tiny.into_two_by_three())
    for length in (6, 6, 5):
        asked = servable.infer(of(np.zeros(length, np.float32)))
        await_(lambda asked=asked: asked.is_settled)
    with pytest.raises(ServingError):
        servable.infer(request())
    # A request is counted when its slot is free again, a moment after it is told.
    await_(lambda: sample(metrics, f"ovms_infer_req_active{MODEL}") == 0)
    assert sample(metrics, requests("success")) == 2
    assert sample(metrics, requests("fail")) == 2
    assert sample(metrics, f"ovms_current_requests{MODEL}") == 0
    assert sample(metrics, f"ovms_inference_time_us_count{MODEL}") == 2
    assert sample(metrics, f"ovms_wait_for_infer_req_time_us_count{MODEL}") == 2
    timed = 'ovms_request_time_us_count{interface="gRPC",name="model",version="3"}'
    assert sample(metrics, timed) == 2


def test_a_request_under_way_is_shown(serve: Serve, metrics: Metrics) -> None:
    servable = serve(tiny.slow())
    slots = servable.compiled.slots
    # More than can be inferred at a time: who looks late finds the next ones.
    frame = of(np.zeros((512, 512), np.float32))
    asked = [servable.infer(frame) for _ in range(4 * slots)]
    await_(lambda: sample(metrics, f"ovms_infer_req_active{MODEL}") == slots)
    assert sample(metrics, f"ovms_current_requests{MODEL}") >= slots
    for each in reversed(asked):
        each.cancel()
    await_(lambda: sample(metrics, f"ovms_current_requests{MODEL}") == 0)
    await_(lambda: sample(metrics, f"ovms_infer_req_active{MODEL}") == 0)


def test_what_a_model_has_is_shown_when_it_is_loaded(
    serve: Serve, metrics: Metrics
) -> None:
    compiled = serve(tiny.add_one()).compiled
    assert sample(metrics, f"ovms_streams{MODEL}") == compiled.streams
    assert sample(metrics, f"ovms_infer_req_queue_size{MODEL}") == compiled.slots


# Graphs


def test_a_session_has_the_models_name_ports_and_slots(serve: Serve) -> None:
    servable = serve(tiny.two_inputs())
    session = ModelSession(servable)
    assert session.name == "model"
    assert [info.name for info in session.inputs] == ["b", "a"]
    assert [info.name for info in session.outputs] == ["sum", "double"]
    assert session.slots == servable.compiled.slots


def test_a_session_infers_by_any_name(serve: Serve) -> None:
    session = ModelSession(serve(tiny.two_inputs()))
    outputs = session.infer({"a:0": A, "b": B}).result(30)
    assert list(outputs) == ["sum", "double"]
    assert len(outputs) == 2
    assert outputs["double:0"].tolist() == [[8, 10]]
    assert outputs["sum"].tolist() == [6]
    with pytest.raises(KeyError):
        outputs["a"]
    assert "total" not in outputs


def test_a_session_refuses_what_does_not_fit(serve: Serve) -> None:
    session = ModelSession(serve(tiny.two_inputs()))
    with pytest.raises(ServingError, match="Expected: INT64; Actual: FP32"):
        session.infer({"a": A.astype(np.float32), "b": B})


def test_a_session_tells_of_failures_and_can_be_cancelled(serve: Serve) -> None:
    session = ModelSession(serve(tiny.into_two_by_three()))
    with pytest.raises(ServingError, match="Internal inference error"):
        session.infer({"x": np.zeros(5, np.float32)}).result(30)
    slow = serve(tiny.slow())
    asked = ModelSession(slow).infer({"x": np.zeros((512, 512), np.float32)})
    asked.cancel()
    await_(lambda: slow.compiled.busy == 0)


def test_only_a_session_of_a_run_leaves_inferences_for_later(serve: Serve) -> None:
    """Whoever has another one may wait for what he asks, in any way."""
    x = np.zeros((512, 512), np.float32)
    slow = serve(tiny.slow())
    session = ModelSession(slow)
    threads = Threads("asks", 1)
    found: queue.SimpleQueue[tuple[bool, Pending[Any]]] = queue.SimpleQueue()
    for each in (session, session.for_run(is_patient=False)):

        def ask(session: ModelSession = each) -> None:
            asked = session.infer({"x": x})
            found.put((is_laden(), asked))

        threads.submit(ask)
        is_left, asked = found.get(timeout=30)
        assert is_left is (each is not session)
        asked.cancel()
        await_(lambda: slow.compiled.busy == 0)  # who finds no slot leaves nothing
    threads.close()
