"""`tritonclient`, the client that OVMS's users have, finds what it expects of a server."""

from __future__ import annotations

import queue
from collections.abc import Iterator

import numpy as np
import pytest
import tritonclient.grpc as triton
from ovms_mp_protos import kserve
from tritonclient.utils import InferenceServerException

from ovms_mp.frontend.transport.seam import (
    Abort,
    Call,
    Code,
    Handler,
    Server,
    Session,
    StreamCall,
    stream,
    unary,
)
from tests.wire.transport.world import World

VALUES = np.arange(10, dtype=np.float32).reshape(1, 10)


def answer(message: bytes) -> kserve.ModelInferResponse:
    """The first input, as it came."""
    request = kserve.ModelInferRequest.FromString(message)
    if request.model_name != "echo":
        raise Abort(Code.NOT_FOUND, "no such model")
    [given] = request.inputs
    response = kserve.ModelInferResponse(model_name="echo", id=request.id)
    response.outputs.add(name="y", datatype=given.datatype, shape=given.shape)
    response.raw_output_contents.extend(request.raw_input_contents)
    return response


class Answering(Session):
    def on_open(self, call: StreamCall) -> None:
        self.call = call
        call.request_next()

    def on_message(self, message: bytes) -> None:
        response = kserve.ModelStreamInferResponse(infer_response=answer(message))
        self.call.write(
            response.SerializeToString(), lambda _: self.call.request_next()
        )

    def on_half_close(self) -> None:
        self.call.finish()


def infer(message: bytes, call: Call) -> bytes:
    return answer(message).SerializeToString()


def live(message: bytes, call: Call) -> bytes:
    return kserve.ServerLiveResponse(live=True).SerializeToString()


ROUTES: dict[str, Handler] = {
    kserve.SERVER_LIVE: unary(live, is_reserved=True),
    kserve.MODEL_INFER: unary(infer),
    kserve.MODEL_STREAM_INFER: stream(Answering),
}


@pytest.fixture
def server(world: World) -> Server:
    server = world.transport(ROUTES, ["127.0.0.1:0"])
    world.servers.append(server)
    server.start()
    return server


@pytest.fixture
def client(server: Server) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(f"127.0.0.1:{server.ports[0]}") as client:
        yield client


def given() -> triton.InferInput:
    tensor = triton.InferInput("x", [1, 10], "FP32")
    tensor.set_data_from_numpy(VALUES)
    return tensor


def test_the_server_is_live(client: triton.InferenceServerClient) -> None:
    assert client.is_server_live()


def test_a_model_answers(client: triton.InferenceServerClient) -> None:
    for number in range(50):
        result = client.infer("echo", [given()], request_id=str(number))
        assert result is not None
        assert (result.as_numpy("y") == VALUES).all()
        assert result.get_response().id == str(number)


def test_a_refusal_has_its_code_and_reason(
    client: triton.InferenceServerClient,
) -> None:
    with pytest.raises(InferenceServerException) as caught:
        client.infer("nobody", [given()])
    assert caught.value.status() == "StatusCode.NOT_FOUND"
    assert caught.value.message() == "no such model"


def test_a_stream_answers_in_order(client: triton.InferenceServerClient) -> None:
    answers: queue.Queue[tuple[triton.InferResult, object]] = queue.Queue()
    client.start_stream(lambda result, error: answers.put((result, error)))
    for number in range(100):
        client.async_stream_infer("echo", [given()], request_id=str(number))
    for number in range(100):
        result, error = answers.get(timeout=20)
        assert error is None
        assert result.get_response().id == str(number)
    client.stop_stream()
