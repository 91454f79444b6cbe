"""The gRPC frontend on its real transport, asked by the clients that people use."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from ovms_mp_protos import kserve
from tritonclient.utils import InferenceServerException

from ovms_mp.core.errors import ServingError, Status
from ovms_mp.core.messages import InferRequest, InferResponse, ServableMetadata
from ovms_mp.core.pending import Pending
from ovms_mp.frontend.access import Access
from ovms_mp.frontend.grpc.health import HealthService
from ovms_mp.frontend.grpc.routes import health_of, routes
from ovms_mp.frontend.transport.aio import AioServer
from tests.fakes.catalog import EchoSession, FakeCatalog, FakeServable, servable
from tests.wire.calls import connect
from tests.wire.waiting import least, until

FRAME = np.arange(600 * 400 * 3, dtype=np.uint8).reshape(600, 400, 3)


@pytest.fixture
def catalog() -> FakeCatalog:
    return FakeCatalog({"graph": servable("graph")})


@pytest.fixture
def health(catalog: FakeCatalog) -> HealthService:
    return health_of(catalog)


@pytest.fixture
def address(catalog: FakeCatalog, health: HealthService) -> Iterator[str]:
    server = AioServer(
        routes(catalog, health, "1.2.3", Access()),
        ["127.0.0.1:0"],
        max_receive_bytes=1 << 30,
    )
    server.start()
    yield f"127.0.0.1:{server.ports[0]}"
    assert server.stop()
    assert server.calls_in_flight == 0


@pytest.fixture
def channel(address: str) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(address) as channel:
        yield channel


@pytest.fixture
def client(address: str) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(address) as client:
        yield client


def tensor(array: np.ndarray, name: str = "x", package: Any = triton) -> Any:
    given = package.InferInput(name, array.shape, "UINT8")
    given.set_data_from_numpy(array)
    return given


def message(name: str = "graph", **inputs: bytes) -> bytes:
    request = kserve.ModelInferRequest(model_name=name, id="7")
    for each, raw in inputs.items():
        request.inputs.add(name=each, datatype="UINT8", shape=[len(raw)])
        request.raw_input_contents.append(raw)
    return request.SerializeToString()


def since(begun: float) -> float:
    """Seconds."""
    return time.monotonic() - begun


def status_of(call: Callable[[], object]) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    error: Any = caught.value
    return error.code(), error.details()


def asked_for(asked: threading.Event, cancelled: threading.Event) -> FakeServable:
    """One that tells these, and never answers."""

    def answer(_: InferRequest) -> Pending[InferResponse]:
        asked.set()
        return Pending[InferResponse](cancelled.set)

    return FakeServable(ServableMetadata("later", ("1",), (), ()), answer)


def test_control_methods_answer_tritonclient(
    client: triton.InferenceServerClient,
) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("graph")
    server: Any = client.get_server_metadata()
    assert (server.name, server.version) == ("OpenVINO Model Server", "1.2.3")
    model: Any = client.get_model_metadata("graph")
    assert (model.name, list(model.versions)) == ("graph", ["1"])


def test_tritonclient_infers(client: triton.InferenceServerClient) -> None:
    result = client.infer("graph", [tensor(FRAME)], request_id="7")
    assert result is not None
    np.testing.assert_array_equal(result.as_numpy("x"), FRAME)
    response: Any = result.get_response()
    assert response.id == "7"


@pytest.mark.asyncio
async def test_tritonclient_infers_and_streams_asynchronously(address: str) -> None:
    async def requests() -> Any:
        for number in range(3):
            yield {
                "model_name": "graph",
                "inputs": [tensor(FRAME[number], package=triton_aio)],
                "request_id": str(number),
            }

    async with triton_aio.InferenceServerClient(address) as client:
        single: Any = await client.infer("graph", [tensor(FRAME, package=triton_aio)])
        np.testing.assert_array_equal(single.as_numpy("x"), FRAME)
        stream: Any = client.stream_infer(requests())
        answers = [pair async for pair in stream]
    assert [error for _, error in answers] == [None] * 3
    for number, (result, _) in enumerate(answers):
        np.testing.assert_array_equal(result.as_numpy("x"), FRAME[number])


def test_tritonclient_streams_past_a_refused_request(
    client: triton.InferenceServerClient,
) -> None:
    answers: queue.Queue[tuple[Any, Any]] = queue.Queue()
    client.start_stream(lambda result, error: answers.put((result, error)))
    for name in ("x", "bad", "x"):
        client.async_stream_infer("graph", [tensor(FRAME, name)])
    first, refused, last = (answers.get(timeout=10) for _ in range(3))
    client.stop_stream()
    np.testing.assert_array_equal(first[0].as_numpy("x"), FRAME)
    assert isinstance(refused[1], InferenceServerException)
    assert refused[1].message() == "Unexpected input - bad is unexpected"
    np.testing.assert_array_equal(last[0].as_numpy("x"), FRAME)


def test_a_name_that_nothing_has_is_not_found_in_every_method(
    channel: grpc.Channel,
) -> None:
    text = "Model with requested name is not found"
    infer = channel.unary_unary(kserve.MODEL_INFER)
    assert status_of(lambda: infer(message("nothing"))) == (
        grpc.StatusCode.NOT_FOUND,
        text,
    )
    stream = channel.stream_stream(kserve.MODEL_STREAM_INFER)
    assert status_of(lambda: list(stream(iter([message("nothing")])))) == (
        grpc.StatusCode.NOT_FOUND,
        text,
    )


def test_a_stream_without_requests_says_so(channel: grpc.Channel) -> None:
    stream = channel.stream_stream(kserve.MODEL_STREAM_INFER)
    assert status_of(lambda: list(stream(iter([])))) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "Client disconnected during reading first streaming request",
    )


def test_what_ends_a_stream_comes_while_the_client_is_silent(
    channel: grpc.Channel,
) -> None:
    silent = threading.Event()

    def requests() -> Iterator[bytes]:
        yield message(x=b"a")
        yield message(fatal=b"")
        silent.wait()

    answers = channel.stream_stream(kserve.MODEL_STREAM_INFER)(requests())
    next(answers)
    try:
        assert status_of(lambda: next(answers)) == (
            grpc.StatusCode.INVALID_ARGUMENT,
            "Mediapipe execution failed. MP status - INTERNAL: fatal",
        )
    finally:
        silent.set()


@pytest.mark.parametrize(
    "path", [kserve.MODEL_INFER, kserve.MODEL_READY, kserve.HEALTH_CHECK]
)
def test_bytes_that_are_no_message_are_an_invalid_argument(
    channel: grpc.Channel, path: str
) -> None:
    method = channel.unary_unary(path)
    code, text = status_of(lambda: method(b"\xff\xff"))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert text.startswith("Invalid message: it is no ")


def test_a_message_of_millions_of_inputs_is_refused_at_once(
    channel: grpc.Channel,
) -> None:
    infer = channel.unary_unary(kserve.MODEL_INFER)

    def refused() -> float:
        begun = time.monotonic()
        code, text = status_of(lambda: infer(b"\x2a\x00" * (1 << 20)))
        taken = time.monotonic() - begun
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert "more than 4096 inputs" in text
        return taken

    assert least(refused, below=2) < 2


def test_an_error_that_is_longer_than_a_header_arrives(
    channel: grpc.Channel, catalog: FakeCatalog
) -> None:
    def refuse(request: InferRequest) -> Pending[InferResponse]:
        raise ServingError(Status.INVALID_UNEXPECTED_INPUT, "ü" * 100_000)

    catalog.servables["graph"].answer = refuse
    infer = channel.unary_unary(kserve.MODEL_INFER)
    code, text = status_of(lambda: infer(message(x=b"a")))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert text.startswith("Unexpected input - üüü")


def test_a_deadline_that_passes_cancels_what_the_servable_does(
    channel: grpc.Channel, catalog: FakeCatalog
) -> None:
    infer = channel.unary_unary(kserve.MODEL_INFER)

    def freed() -> float:
        asked, cancelled = threading.Event(), threading.Event()
        catalog.servables["graph"] = asked_for(asked, cancelled)
        seconds = 0.1
        while not asked.is_set():  # who comes late is not heard of
            call = partial(infer, message(x=b"a"), timeout=seconds)
            assert status_of(call)[0] is grpc.StatusCode.DEADLINE_EXCEEDED
            seconds *= 2
        late = time.monotonic()
        assert cancelled.wait(10)
        return since(late)

    assert least(freed, below=1) < 1


def test_a_client_that_cancels_frees_its_servable(
    channel: grpc.Channel, catalog: FakeCatalog
) -> None:
    infer = channel.unary_unary(kserve.MODEL_INFER)

    def freed() -> float:
        asked, cancelled = threading.Event(), threading.Event()
        catalog.servables["graph"] = asked_for(asked, cancelled)
        call = infer.future(message(x=b"a"))
        assert asked.wait(10)
        gone = time.monotonic()
        call.cancel()
        assert cancelled.wait(10)
        return since(gone)

    assert least(freed, below=1) < 1


def test_a_client_that_leaves_a_stream_frees_its_session(
    channel: grpc.Channel, catalog: FakeCatalog
) -> None:
    infer = channel.stream_stream(kserve.MODEL_STREAM_INFER)

    def freed() -> float:
        has_left = threading.Event()

        def requests() -> Iterator[bytes]:
            yield message(x=b"a")
            has_left.wait()

        answers = infer(requests())
        next(answers)
        gone = time.monotonic()
        answers.cancel()
        has_left.set()
        session = catalog.sessions.pop()
        assert not catalog.sessions
        assert isinstance(session, EchoSession)
        assert until(lambda: session.calls == ["cancel"])
        return since(gone)

    assert least(freed, below=1) < 1


def test_a_client_that_does_not_read_holds_its_session_and_loses_nothing(
    address: str, catalog: FakeCatalog
) -> None:
    frame = bytes(1 << 20)
    written = 0

    def requests() -> Iterator[bytes]:
        nonlocal written
        for _ in range(64):
            yield message(x=frame)
            written += 1

    # One that reads no further ahead than it has to.
    with connect(address) as channel:
        answers = channel.stream_stream(
            kserve.MODEL_STREAM_INFER, None, kserve.ModelStreamInferResponse.FromString
        )(requests())
        assert until(lambda: len(catalog.sessions) == 1)
        (session,) = catalog.sessions
        assert isinstance(session, EchoSession)
        assert until(lambda: session.calls == ["hold"])
        fed = len(session.fed)
        assert fed < 32
        received = [answer.infer_response.raw_output_contents[0] for answer in answers]
        assert received == [frame] * 64
    assert session.calls[-1] == "half_close"
    assert session.calls.count("hold") - session.calls.count("release") in {0, 1}


def test_health_is_checked_and_watched(
    channel: grpc.Channel, catalog: FakeCatalog, health: HealthService
) -> None:
    encode = kserve.HealthCheckRequest.SerializeToString
    decode = kserve.HealthCheckResponse.FromString
    check = channel.unary_unary(kserve.HEALTH_CHECK, encode, decode)
    serving = kserve.HealthCheckResponse.SERVING
    assert check(kserve.HealthCheckRequest()).status == serving
    unknown = kserve.HealthCheckRequest(service="nothing")
    assert status_of(lambda: check(unknown))[0] is grpc.StatusCode.NOT_FOUND
    watch = channel.unary_stream(kserve.HEALTH_WATCH, encode, decode)
    states = watch(kserve.HealthCheckRequest(service="graph"))
    assert next(states).status == serving
    catalog.servables["graph"].is_ready = False
    health.notify()
    assert next(states).status == kserve.HealthCheckResponse.NOT_SERVING
    states.cancel()


@pytest.mark.parametrize(
    "path", [kserve.SERVER_REFLECTION_INFO, kserve.V1ALPHA_SERVER_REFLECTION_INFO]
)
def test_a_client_without_protos_finds_them_by_reflection(
    channel: grpc.Channel, path: str
) -> None:
    ask = channel.stream_stream(
        path,
        kserve.ServerReflectionRequest.SerializeToString,
        kserve.ServerReflectionResponse.FromString,
    )
    question = kserve.ServerReflectionRequest
    listed, described = ask(
        iter(
            [
                question(list_services=""),
                question(file_containing_symbol="inference.GRPCInferenceService"),
            ]
        )
    )
    names = {each.name for each in listed.list_services_response.service}
    assert names == {
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
        "inference.GRPCInferenceService",
    }
    pool = DescriptorPool()
    for each in reversed(described.file_descriptor_response.file_descriptor_proto):
        pool.Add(FileDescriptorProto.FromString(each))
    service = pool.FindServiceByName("inference.GRPCInferenceService")
    assert {method.name for method in service.methods} >= {
        "ModelInfer",
        "ModelStreamInfer",
    }


def test_a_method_that_is_not_offered_is_unimplemented(channel: grpc.Channel) -> None:
    method = channel.unary_unary("/inference.GRPCInferenceService/RepositoryModelLoad")
    assert status_of(lambda: method(b""))[0] is grpc.StatusCode.UNIMPLEMENTED
