"""ModelStreamInfer, with a client that the test plays."""

from __future__ import annotations

import pytest
from ovms_mp_protos import kserve

from ovms_mp.core.errors import ServingError, Status
from ovms_mp.core.messages import InferRequest, InferResponse
from ovms_mp.frontend.grpc.streaming import ModelStream
from ovms_mp.frontend.transport.seam import Code, Metadata
from ovms_mp.servable.base import StreamSink
from ovms_mp.telemetry.requests import FAILED
from tests.fakes.call import FakeStreamCall
from tests.fakes.catalog import EchoSession, FakeCatalog, servable


class Client:
    """The far end of one ModelStreamInfer call."""

    def __init__(self, catalog: FakeCatalog, metadata: Metadata = ()) -> None:
        self.call = FakeStreamCall(metadata)
        self.stream = ModelStream(catalog)
        self.stream.on_open(self.call)

    def send(self, name: str = "graph", **inputs: bytes) -> None:
        message = kserve.ModelInferRequest(model_name=name, id="7")
        for each, raw in inputs.items():
            message.inputs.add(name=each, datatype="UINT8", shape=[len(raw)])
            message.raw_input_contents.append(raw)
        self.send_bytes(message.SerializeToString())

    def send_bytes(self, message: bytes) -> None:
        assert self.call.take_credit(), "the client may not send yet"
        self.stream.on_message(message)

    def receive(self) -> kserve.ModelStreamInferResponse:
        message = self.call.read()
        assert message is not None
        return kserve.ModelStreamInferResponse.FromString(message)


@pytest.fixture
def catalog() -> FakeCatalog:
    return FakeCatalog({"graph": servable("graph")})


@pytest.fixture
def client(catalog: FakeCatalog) -> Client:
    return Client(catalog)


def session(catalog: FakeCatalog) -> EchoSession:
    (only,) = catalog.sessions
    assert isinstance(only, EchoSession)
    return only


def error_code(response: kserve.ModelStreamInferResponse) -> str:
    return response.infer_response.parameters["error_code"].string_param


def test_requests_are_answered_in_order_and_half_close_ends_well(
    client: Client,
) -> None:
    for raw in (b"a", b"bc", b""):
        client.send(x=raw)
    client.stream.on_half_close()
    answers = [client.receive().infer_response for _ in range(3)]
    assert [a.raw_output_contents[0] for a in answers] == [b"a", b"bc", b""]
    assert client.call.status == (Code.OK, "")


def test_each_request_needs_room_in_the_session(client: Client) -> None:
    client.send(x=b"a")
    assert client.call.credits == 1
    client.send(x=b"b")
    assert client.call.credits == 1


def test_a_name_that_nothing_has_is_the_status_and_no_message(client: Client) -> None:
    client.send("nothing", x=b"a")
    text = "Model with requested name is not found"
    assert client.call.status == (Code.NOT_FOUND, text)
    assert client.call.read() is None
    assert client.call.credits == 0


def test_the_log_tells_whose_first_message_was_none(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    message = kserve.ModelInferRequest(model_name="graph").SerializeToString()
    with caplog.at_level("INFO", FAILED):
        client.send_bytes(message + b"\xff")
    assert client.call.status is not None
    assert client.call.status[0] is Code.INVALID_ARGUMENT
    assert 'ModelStreamInfer "graph" failed: INVALID_ARGUMENT' in caplog.text


def test_half_close_before_any_request_is_told_as_such(client: Client) -> None:
    client.stream.on_half_close()
    text = "Client disconnected during reading first streaming request"
    assert client.call.status == (Code.INVALID_ARGUMENT, text)


def test_a_refused_request_is_an_error_message_and_the_stream_goes_on(
    client: Client,
) -> None:
    client.send(bad=b"a")
    client.send(x=b"b")
    refused = client.receive()
    assert refused.error_message == "Unexpected input - bad is unexpected"
    assert refused.infer_response.id == "7"
    assert refused.infer_response.model_name == "graph"
    assert error_code(refused) == "INVALID_ARGUMENT"
    answered = client.receive()
    assert answered.error_message == ""
    assert answered.infer_response.raw_output_contents == [b"b"]


@pytest.mark.parametrize("value", ["false", "True", "1", ""])
def test_metadata_that_does_not_ask_for_a_status_does_not_get_one(
    catalog: FakeCatalog, value: str
) -> None:
    client = Client(catalog, (("triton_grpc_error", value),))
    client.send(bad=b"a")
    assert client.receive().error_message and client.call.status is None


def test_a_client_that_asks_for_a_status_gets_it_for_the_first_refusal(
    catalog: FakeCatalog,
) -> None:
    client = Client(catalog, (("triton_grpc_error", "true"),))
    client.send(x=b"a")
    client.send(bad=b"a")
    assert client.receive().infer_response.raw_output_contents == [b"a"]
    text = "Unexpected input - bad is unexpected"
    assert client.call.status == (Code.INVALID_ARGUMENT, text)
    assert client.call.read() is None
    assert session(catalog).calls == ["cancel"]


def test_so_it_does_for_bytes_that_are_no_request(catalog: FakeCatalog) -> None:
    client = Client(catalog, (("triton_grpc_error", "true"),))
    client.send(x=b"a")
    client.send_bytes(b"\xff")
    client.receive()
    assert client.call.status is not None
    assert client.call.status[0] is Code.INVALID_ARGUMENT


def test_a_first_message_that_cannot_be_parsed_ends_the_stream(client: Client) -> None:
    client.send_bytes(b"\xff")
    assert client.call.status is not None
    code, text = client.call.status
    assert code is Code.INVALID_ARGUMENT
    assert text == "Invalid message: it is no inference.ModelInferRequest"


def test_a_later_message_that_cannot_be_parsed_is_survived(
    client: Client, catalog: FakeCatalog
) -> None:
    client.send(x=b"a")
    client.send_bytes(b"\xff")
    client.send(x=b"b")
    assert client.receive().infer_response.raw_output_contents == [b"a"]
    refused = client.receive()
    assert refused.error_message.startswith("Invalid message: ")
    assert error_code(refused) == "INVALID_ARGUMENT"
    assert refused.infer_response.model_name == "graph"
    assert client.receive().infer_response.raw_output_contents == [b"b"]
    assert len(session(catalog).fed) == 2


def test_what_ends_a_stream_is_sent_at_once(client: Client) -> None:
    client.send(x=b"a")
    client.send(fatal=b"")
    assert client.call.status == (
        Code.INVALID_ARGUMENT,
        "Mediapipe execution failed. MP status - INTERNAL: fatal",
    )
    assert client.receive().infer_response.raw_output_contents == [b"a"]


def test_after_the_end_the_session_hears_nothing(
    client: Client, catalog: FakeCatalog
) -> None:
    client.send(x=b"a")
    client.send(fatal=b"")
    client.stream.on_message(b"")
    client.stream.on_half_close()
    assert len(session(catalog).fed) == 2
    assert session(catalog).calls == []


def test_a_client_that_goes_takes_its_session_along(
    client: Client, catalog: FakeCatalog
) -> None:
    client.send(x=b"a")
    client.stream.on_cancel()
    assert session(catalog).calls == ["cancel"]


def test_a_client_that_goes_before_its_first_request_leaves_nothing(
    client: Client, catalog: FakeCatalog
) -> None:
    client.stream.on_cancel()
    assert catalog.sessions == []


def test_a_client_that_does_not_read_is_not_read(
    client: Client, catalog: FakeCatalog
) -> None:
    frame = bytes(1 << 20)
    sent = 0
    while client.call.credits:
        client.send(x=frame)
        sent += 1
        assert sent < 100
    assert 3 <= sent <= 4
    assert session(catalog).calls == ["hold"]
    assert client.call.most_unread <= 4
    assert len(client.call.read_all()) == sent
    assert session(catalog).calls == ["hold", "release"]
    assert client.call.credits == 1


def test_a_client_that_reads_no_refusals_is_not_read_either(client: Client) -> None:
    client.send(x=b"a")
    sent = 0
    while client.call.credits:
        client.send_bytes(b"\xff")
        sent += 1
        assert sent < 1000
    assert sent == 64
    assert len(client.call.read_all()) == 65
    assert client.call.credits == 1


def test_an_answer_that_cannot_be_encoded_fails_its_stream_only(
    catalog: FakeCatalog,
) -> None:
    class Wrong(EchoSession):
        def feed(self, request: InferRequest) -> None:
            self.sink.response(InferResponse("\ud800", "1"))

    catalog.servables["graph"].session = Wrong
    client = Client(catalog)
    client.send(x=b"a")
    assert client.call.status is not None
    code, text = client.call.status
    assert code is Code.INTERNAL
    assert text.startswith("Internal server error - incident ")
    assert session(catalog).calls == ["cancel"]


def test_a_session_that_raises_is_ended(catalog: FakeCatalog) -> None:
    class Wrong(EchoSession):
        def feed(self, request: InferRequest) -> None:
            if self.fed:
                raise RuntimeError("unforeseen")
            super().feed(request)

    catalog.servables["graph"].session = Wrong
    client = Client(catalog)
    client.send(x=b"a")
    client.send(x=b"b")
    assert session(catalog).calls == ["cancel"]
    assert client.call.status is not None
    assert client.call.status[0] is Code.INTERNAL


def test_a_session_that_cannot_be_opened_is_the_status(catalog: FakeCatalog) -> None:
    def refuse(sink: StreamSink) -> EchoSession:
        raise ServingError(Status.MEDIAPIPE_GRAPH_START_ERROR, "why")

    catalog.servables["graph"].session = refuse
    client = Client(catalog)
    client.send(x=b"a")
    text = "Failed to start mediapipe graph - why"
    assert client.call.status == (Code.FAILED_PRECONDITION, text)
