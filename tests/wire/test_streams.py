"""What a stream's client sends and gets, message by message."""

from __future__ import annotations

from typing import Final

import cv2
import grpc
import numpy as np
import pytest

from tests.wire import calls
from tests.wire.calls import Stream, arrays, ask, floats, shaped, text, timestamp

TEN: Final = floats(*range(10))
ONE: Final = floats(1)
SQUARE: Final = np.zeros((512, 512), np.float32)
A, B = np.array([[1, 2]]), floats(1, 2, 3)
MIN, MAX = -(2**63) + 3, 2**63 - 4
SPECIAL: Final = {
    MIN - 3: "Timestamp::Unset()",
    MIN - 2: "Timestamp::Unstarted()",
    MIN - 1: "Timestamp::PreStream()",
    MAX + 1: "Timestamp::PostStream()",
    MAX + 2: "Timestamp::OneOverPostStream()",
    MAX + 3: "Timestamp::Done()",
}
FIRST: Final = "; partial deserialization of first request"
SUBSEQUENT: Final = "; partial deserialization of subsequent requests"
RUN_FAILED: Final = (
    "Mediapipe execution failed. MP status - INVALID_ARGUMENT: "
    "CalculatorGraph::Run() failed: "
)


def echo(**more: object) -> calls.Request:
    return ask("echo", {"in": ONE}, **more)  # pyright: ignore[reportArgumentType]


def test_an_answer_says_whose_it_is_and_when(channel: grpc.Channel) -> None:
    with Stream(channel, echo(at=7, id="mine")) as stream:
        answer = stream.answer()
    assert (answer.model_name, answer.model_version) == ("echo", "1")
    assert timestamp(answer) == 7
    # In OVMS it is empty: a graph's packets do not know of requests.
    assert answer.id == "mine"


def test_half_closing_brings_what_is_left_and_then_the_end(
    channel: grpc.Channel,
) -> None:
    with Stream(channel, *(ask("add", {"in": TEN}) for _ in range(30))) as stream:
        stream.half_close()
        assert [timestamp(each) for each in stream.rest()] == list(range(30))


def test_calculators_may_send_when_there_is_no_more_input(
    channel: grpc.Channel,
) -> None:
    with Stream(channel, *(ask("sum", {"in": TEN}) for _ in range(3))) as stream:
        stream.half_close()
        assert [arrays(each) for each in stream.rest()] == [{"out": [135]}]


def test_one_request_may_have_many_answers(channel: grpc.Channel) -> None:
    with Stream(channel, ask("burst", {"in": floats(5)}, at=10)) as stream:
        stream.half_close()
        answers = list(stream.rest())
    assert [timestamp(each) for each in answers] == [10, 11, 12, 13, 14]


def test_inputs_that_come_apart_meet_by_their_timestamp(channel: grpc.Channel) -> None:
    with Stream(channel, ask("join", {"a": A}, at=1)) as stream:
        stream.send(ask("join", {"a": A * 10}, at=2))
        stream.send(ask("join", {"b": B}, at=1))
        first = [stream.answer(), stream.answer()]
        stream.send(ask("join", {"b": B * 10}, at=2))
        second = [stream.answer(), stream.answer()]
        stream.half_close()
        assert stream.end() == ("OK", "")
    found = [
        (timestamp(each), name, value)
        for each in (*first, *second)
        for name, value in arrays(each).items()
    ]
    assert sorted(found) == [
        (1, "double", [[2, 4]]),
        (1, "sum", [6]),
        (2, "double", [[20, 40]]),
        (2, "sum", [60]),
    ]


def test_an_answer_has_the_id_of_its_request_however_many_came_in_between(
    channel: grpc.Channel,
) -> None:
    """They are all in the graph when the first is answered."""
    count = 4
    requests = [ask("slow", {"in": SQUARE}, id=f"request {n}") for n in range(count)]
    with Stream(channel, *requests) as stream:
        stream.half_close()
        found = [(timestamp(each), each.id) for each in stream.rest()]
    assert found == [(n, f"request {n}") for n in range(count)]


def test_an_answer_has_the_id_that_any_part_of_its_inputs_came_with(
    channel: grpc.Channel,
) -> None:
    parts = [ask("join", {"a": A}, at=at, id=f"request {at}") for at in range(1, 6)]
    with Stream(channel, *parts) as stream:
        stream.send(*(ask("join", {"b": B}, at=at) for at in range(1, 6)))
        stream.half_close()
        found = [(timestamp(each), each.id) for each in stream.rest()]
    assert sorted(found) == [(at, f"request {at}") for at in range(1, 6) for _ in "ab"]


def test_an_input_without_its_partner_fails_at_the_end(channel: grpc.Channel) -> None:
    with Stream(channel, ask("join", {"a": A}, at=1)) as stream:
        stream.half_close()
        code, text = stream.end()
    assert code == "INVALID_ARGUMENT"
    assert '"OpenVINOInferenceCalculator"' in text


def test_a_request_without_inputs_is_taken_and_does_nothing(
    channel: grpc.Channel,
) -> None:
    with Stream(channel, ask("echo"), echo()) as stream:
        assert timestamp(stream.answer()) == 1
        stream.half_close()
        assert stream.end() == ("OK", "")


def test_a_whole_request_may_be_what_a_graph_takes_and_gives(
    channel: grpc.Channel,
) -> None:
    both = ask("whole", {"a": A, "b": B}, at=3, id="mine")
    with Stream(channel, both, ask("whole", {"c": ONE})) as stream:
        first, second = stream.answer(), stream.answer()
    assert arrays(first) == {"a": A.tolist(), "b": B.tolist()}
    assert arrays(second) == {"c": [[1]]}
    assert [timestamp(each) for each in (first, second)] == [3, 4]
    assert (first.model_name, first.model_version) == ("whole", "1")


@pytest.mark.parametrize("version", ["", "0", "1"])
def test_these_versions_are_a_graph_s(channel: grpc.Channel, version: str) -> None:
    with Stream(channel, echo(), echo(model_version=version)) as stream:
        assert [timestamp(stream.answer()) for _ in range(2)] == [0, 1]


def test_the_version_of_the_first_request_is_not_looked_at(
    channel: grpc.Channel,
) -> None:
    with Stream(channel, echo(model_version="9")) as stream:
        assert timestamp(stream.answer()) == 0


def test_a_picture_may_come_as_it_was_taken(channel: grpc.Channel) -> None:
    frame = np.random.default_rng(1).integers(0, 256, (40, 60, 3), np.uint8)
    png = cv2.imencode(".png", cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))[1].tobytes()
    with Stream(
        channel, shaped("image", "in", "BYTES", 1, bytes_contents=[png])
    ) as one:
        assert arrays(one.answer()) == {"out": frame.tolist()}
    with Stream(
        channel, shaped("echo", "in", "BYTES", 1, bytes_contents=[b"Hi"])
    ) as one:
        assert arrays(one.answer()) == {"out": [[72, 105, 0]]}


# Refusals, which a stream survives


REFUSED: Final = {
    "another servable": (
        ask("other", {"in": ONE}),
        "Subsequent request with incorrect servable name; validate subsequent requests",
    ),
    "no servable": (
        ask("", {"in": ONE}),
        "Subsequent request with incorrect servable name; validate subsequent requests",
    ),
    "another version": (
        echo(model_version="2"),
        "Subsequent request with incorrect servable version; "
        "validate subsequent requests",
    ),
    "too few bytes": (
        shaped("echo", "in", "FP32", 1, raw=b""),
        "Invalid content size of tensor proto - Expected: 4 bytes; "
        f"Actual: 0 bytes; input name: in{SUBSEQUENT}",
    ),
    "an unknown input": (
        ask("echo", {"other": ONE}),
        f"Unexpected input - other is unexpected{SUBSEQUENT}",
    ),
    "a timestamp that is text": (
        echo(parameters={calls.TIMESTAMP: "1"}),
        "Malformed packet timestamp - Invalid timestamp format in request "
        f"parameter OVMS_MP_TIMESTAMP. Should be int64{SUBSEQUENT}",
    ),
    **{
        name: (echo(at=at), f"Malformed packet timestamp - {name}{SUBSEQUENT}")
        for at, name in SPECIAL.items()
    },
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_stream_refuses_a_request_and_goes_on(
    channel: grpc.Channel, case: str
) -> None:
    wrong, refusal = REFUSED[case]
    wrong.id = "mine"
    with Stream(channel, echo(), wrong, echo()) as stream:
        assert timestamp(stream.answer()) == 0
        refused = stream.next()
        # A request that is refused takes no timestamp.
        assert timestamp(stream.answer()) == 1
        stream.half_close()
        assert stream.end() == ("OK", "")
    assert refused.error_message == refusal
    assert refused.infer_response.model_name == wrong.model_name
    assert refused.infer_response.id == "mine"
    code = refused.infer_response.parameters["error_code"].string_param
    assert code == "INVALID_ARGUMENT"


def test_a_first_request_that_does_not_fit_is_refused_and_opens_the_stream(
    channel: grpc.Channel,
) -> None:
    wrong = shaped("echo", "in", "FP32", 1, raw=b"")
    with Stream(channel, wrong, echo()) as stream:
        assert stream.refusal() == (
            "Invalid content size of tensor proto - Expected: 4 bytes; "
            f"Actual: 0 bytes; input name: in{FIRST}"
        )
        assert timestamp(stream.answer()) == 0


def test_inputs_before_the_one_that_does_not_fit_stay_in_the_graph(
    channel: grpc.Channel,
) -> None:
    request = ask("join", {"a": A, "nonsense": ONE}, at=5)
    with Stream(channel, request, ask("join", {"b": B}, at=5)) as stream:
        assert stream.refusal() == f"Unexpected input - nonsense is unexpected{FIRST}"
        assert {timestamp(stream.answer()) for _ in range(2)} == {5}


def test_a_stream_survives_bytes_that_are_no_request(channel: grpc.Channel) -> None:
    with Stream(channel, echo()) as stream:
        stream.send(b"\xff\xff", echo())
        assert timestamp(stream.answer()) == 0
        assert stream.refusal().startswith("Invalid message: it is no ")
        assert timestamp(stream.answer()) == 1


# Endings


def test_a_stream_without_a_first_request_ends_and_says_why(
    channel: grpc.Channel,
) -> None:
    with Stream(channel) as stream:
        stream.half_close()
        assert stream.end() == (
            "INVALID_ARGUMENT",
            "Client disconnected during reading first streaming request",
        )


def test_a_first_message_that_is_no_request_ends_the_stream(
    channel: grpc.Channel,
) -> None:
    with Stream(channel) as stream:
        stream.send(b"\xff\xff")
        code, text = stream.end()
    assert code == "INVALID_ARGUMENT"
    assert text.startswith("Invalid message: it is no ")


def test_only_what_is_served_is_streamed(channel: grpc.Channel) -> None:
    with Stream(channel, ask("nothing", {"in": ONE})) as stream:
        assert stream.end() == (
            "NOT_FOUND",
            "Mediapipe graph definition with requested name is not found",
        )


@pytest.mark.parametrize("wrong", [5, 4, MIN])
def test_a_timestamp_that_does_not_rise_ends_the_stream_at_once(
    channel: grpc.Channel, wrong: int
) -> None:
    with Stream(channel, echo(at=5), echo(at=wrong)) as stream:
        assert timestamp(stream.answer()) == 5
        # The client says nothing more, and is told.
        code, text = stream.end()
    assert code == "INVALID_ARGUMENT"
    assert text.startswith(RUN_FAILED)
    assert '"in"' in text


def test_the_first_and_the_last_timestamp_may_be_used(channel: grpc.Channel) -> None:
    with Stream(channel, echo(at=MIN), echo(at=MAX)) as stream:
        assert [timestamp(stream.answer()) for _ in range(2)] == [MIN, MAX]
        stream.half_close()
        assert stream.end() == ("OK", "")


def test_a_model_s_complaint_ends_the_stream_with_its_reason(
    channel: grpc.Channel,
) -> None:
    with Stream(channel, ask("add", {"in": floats(1, 2)})) as stream:
        code, text = stream.end()
    assert code == "INVALID_ARGUMENT"
    assert "Expected: (1,10); Actual: (1,2); input name: x" in text


def test_answers_that_came_before_the_failure_arrive(channel: grpc.Channel) -> None:
    good, bad = (
        ask("words", {"word": text("hi")}),
        ask("words", {"word": text("raise")}),
    )
    with Stream(channel, good, good, bad, good) as stream:
        assert [timestamp(stream.answer()) for _ in range(2)] == [0, 1]
        assert stream.end()[0] == "INVALID_ARGUMENT"


# Parameters


def test_parameters_of_the_first_request_are_side_packets(
    channel: grpc.Channel,
) -> None:
    limited = ask("limited", {"in": ONE}, parameters={"limit": 5, "unknown": "x"})
    with Stream(channel, limited, ask("limited", {"in": ONE})) as stream:
        assert [timestamp(stream.answer()) for _ in range(2)] == [0, 1]


def test_a_side_packet_that_comes_too_late_is_missing(channel: grpc.Channel) -> None:
    late = ask("limited", {"in": ONE}, parameters={"limit": 5})
    with Stream(channel, ask("limited", {"in": ONE}), late) as stream:
        assert stream.end() == (
            "FAILED_PRECONDITION",
            "Failed to start mediapipe graph - "
            'Side packet "limit" is required but was not provided.',
        )


def test_the_server_s_own_side_packet_cannot_be_given(channel: grpc.Channel) -> None:
    with Stream(channel, echo(parameters={"py": 1})) as stream:
        assert stream.end() == (
            "FAILED_PRECONDITION",
            "Failed to initialize mediapipe graph - Incoming input side packet: py is "
            "special reserved name and cannot be used",
        )


def test_parameters_of_later_requests_do_not_count(channel: grpc.Channel) -> None:
    with Stream(channel, echo(), echo(parameters={"py": 1, "x": 1.5})) as stream:
        assert [timestamp(stream.answer()) for _ in range(2)] == [0, 1]
