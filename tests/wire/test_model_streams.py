"""Models streamed to, and what those that remember remember, over the wire."""

from __future__ import annotations

from typing import Any

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton

from tests.wire.calls import Stream, arrays, ask, floats, infer, refusal, timestamp
from tests.wire.servers import Server

ONES = np.ones((1, 4), np.float32)


def test_a_model_is_streamed_to_as_a_graph_is(channel: grpc.Channel) -> None:
    requests = [
        ask("add_one", {"x": floats(*[n] * 10)}, id=f"request {n}") for n in range(50)
    ]
    with Stream(channel, *requests) as stream:
        stream.half_close()
        answers = list(stream.rest())
    assert [each.id for each in answers] == [f"request {n}" for n in range(50)]
    assert [timestamp(each) for each in answers] == list(range(50))
    assert [arrays(each)["y"][0][0] for each in answers] == list(range(1, 51))


def test_a_request_that_does_not_fit_the_model_is_refused(
    channel: grpc.Channel,
) -> None:
    wrong = ask("add_one", {"x": floats(1, 2)}, id="wrong")
    with Stream(channel, wrong, ask("add_one", {"x": floats(*range(10))})) as stream:
        refused = stream.next()
        assert refused.error_message == (
            "Invalid input shape - Expected: (1,10); Actual: (1,2); input name: x; "
            "partial deserialization of first request"
        )
        assert refused.infer_response.id == "wrong"
        assert refused.infer_response.model_name == "add_one"
        assert timestamp(stream.answer()) == 0


def test_a_version_that_is_not_there_is_the_status(channel: grpc.Channel) -> None:
    with Stream(channel, ask("add_one", {}, model_version="9")) as stream:
        assert stream.end() == (
            "NOT_FOUND",
            "Model with requested version is not found",
        )


@pytest.mark.parametrize(
    ("name", "source", "target"), [("total", "x", "y"), ("totals", "in", "out")]
)
def test_streams_on_a_model_and_on_a_graph_each_have_their_state(
    channel: grpc.Channel, name: str, source: str, target: str
) -> None:
    with (
        Stream(channel, *[ask(name, {source: ONES})] * 5) as one,
        Stream(channel, *[ask(name, {source: 10 * ONES})] * 5) as other,
    ):
        for stream, step in ((one, 1), (other, 10)):
            stream.half_close()
            totals = [arrays(each)[target][0][0] for each in stream.rest()]
            assert totals == [step * count for count in range(1, 6)]


def test_unary_requests_reach_a_state_as_tritonclient_names_it(server: Server) -> None:
    with triton.InferenceServerClient(server.address) as client:

        def ask_for(**sequence: Any) -> tuple[float, int | str]:
            tensor = triton.InferInput("x", [1, 4], "FP32")
            tensor.set_data_from_numpy(ONES)
            result = client.infer("total", [tensor], **sequence)
            assert result is not None
            response: Any = result.get_response()
            parameter = response.parameters["sequence_id"]
            values = result.as_numpy("y")
            assert values is not None
            return float(values[0, 0]), parameter.string_param or parameter.int64_param

        for name in (41, "camera"):
            assert ask_for(sequence_id=name, sequence_start=True) == (1, name)
            assert ask_for(sequence_id=name) == (2, name)
        assert ask_for(sequence_id="camera", sequence_end=True) == (3, "camera")
        assert ask_for(sequence_id=41, sequence_end=True) == (3, 41)
        assert ask_for() == (1, 0)


def test_a_sequence_that_is_not_there_is_said_in_ovms_words(
    channel: grpc.Channel,
) -> None:
    request = ask("total", {"x": ONES}, parameters={"sequence_id": 99})
    assert refusal(channel, request) == (
        "NOT_FOUND",
        "Sequence with provided ID does not exist",
    )


def test_a_unary_request_on_a_graph_begins_anew(channel: grpc.Channel) -> None:
    for _ in range(3):
        answer = infer(channel, ask("totals", {"in": ONES}))
        assert arrays(answer)["out"] == [[1, 1, 1, 1]]


def test_a_client_may_ask_for_a_status_instead_of_an_error_message(
    server: Server,
) -> None:
    told: list[object] = []
    with triton.InferenceServerClient(server.address) as client:
        client.start_stream(
            lambda result, error: told.append(error),
            headers={"triton_grpc_error": "true"},
        )
        tensor = triton.InferInput("nonsense", [1], "FP32")
        tensor.set_data_from_numpy(np.ones(1, np.float32))
        client.async_stream_infer("echo", [tensor])
        client.stop_stream()
    (error,) = told
    assert isinstance(error, triton.InferenceServerException)
    assert error.status() == "StatusCode.INVALID_ARGUMENT"
    assert str(error.message()).startswith("Unexpected input - nonsense is unexpected")
