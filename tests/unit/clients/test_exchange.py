"""A window holds what was sent until it is answered, and never more than it may."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ovms_mp_clients import ClientError, ConnectionLost, RequestRefused, Result
from ovms_mp_clients.exchange import Exchange, read
from ovms_mp_protos import kserve

LOST = ConnectionLost("UNAVAILABLE: gone")


def answer(timestamp: int) -> Result:
    return Result({}, timestamp=timestamp)


def sending(window: int, *timestamps: int) -> Exchange:
    exchange = Exchange("graph", window)
    for each in timestamps:
        exchange.sent(each)
    return exchange


@given(st.integers(1, 5), st.lists(st.sampled_from(["send", "answer", "refuse"])))
def test_one_who_waits_for_room_never_has_more_in_flight_than_the_window(window, acts):
    exchange = Exchange("graph", window)
    for act in acts:
        if act == "send" and exchange.need_not_wait():
            timestamp, _ = exchange.encode({}, None, None)
            exchange.sent(timestamp)
        elif act == "answer" and exchange.unanswered:
            exchange.received(answer(exchange.unanswered[0]))
        elif act == "refuse":
            exchange.received(RequestRefused("no"))
        assert len(exchange.unanswered) <= window
        assert exchange.need_not_wait() == (len(exchange.unanswered) < window)


def test_a_timestamp_is_one_more_than_the_last_from_0_on():
    exchange = sending(9)
    given = (None, None, 7, None)
    seen: list[int] = []
    for each in given:
        timestamp, message = exchange.encode({}, each, None)
        exchange.sent(timestamp)
        request = kserve.ModelInferRequest.FromString(message)
        assert request.parameters["OVMS_MP_TIMESTAMP"].int64_param == timestamp
        assert request.model_name == "graph"
        seen.append(timestamp)
    assert seen == [0, 1, 7, 8]


def test_an_answer_makes_room_for_the_requests_before_it():
    exchange = sending(3, 1, 2, 3)
    assert not exchange.need_not_wait()
    exchange.received(answer(2))
    assert exchange.unanswered == (3,)
    exchange.received(answer(2))  # of another output
    assert exchange.unanswered == (3,)


def test_a_server_that_knows_no_timestamps_answers_by_id_or_in_order():
    exchange = sending(4, 1, 2, 3, 4)
    exchange.received(Result({}, id="2"))
    assert exchange.unanswered == (3, 4)
    exchange.received(Result({}, id="of another client"))
    assert exchange.unanswered == (4,)


def test_a_timestamp_that_is_sent_in_parts_takes_one_place():
    exchange = sending(1, 1, 1)
    assert exchange.unanswered == (1,)
    assert exchange.need_not_wait(1)
    assert not exchange.need_not_wait(2)


def test_inputs_may_be_sent_at_timestamps_that_do_not_grow_together():
    exchange = sending(2, 5, 3)
    exchange.received(answer(3))
    assert exchange.unanswered == (5,)


def test_a_refusal_makes_room_for_its_own_request_or_else_for_the_oldest():
    exchange = sending(3, 1, 2, 3)
    exchange.received(RequestRefused("no", timestamp=2))
    assert exchange.unanswered == (1, 3)
    exchange.received(RequestRefused("no", timestamp=2))
    assert exchange.unanswered == (1, 3)
    exchange.received(RequestRefused("no"))
    assert exchange.unanswered == (3,)


@pytest.mark.parametrize("end", ["lost", "over", "cancelled", "half-closed"])
def test_nobody_waits_for_room_that_will_not_come(end):
    exchange = sending(1, 0)
    match end:
        case "lost":
            exchange.ended(LOST)
        case "over":
            exchange.ended(None)
        case "cancelled":
            exchange.cancelled()
        case _:
            exchange.is_half_closed = True
    assert exchange.need_not_wait()
    with pytest.raises(ClientError) as raised:
        exchange.check()
    assert (raised.value is LOST) == (end == "lost")
    assert exchange.lost is (LOST if end == "lost" else None)


def test_a_loss_stays_one_when_the_stream_is_cancelled_after_it_and_not_before():
    exchange = sending(1)
    exchange.is_half_closed = True
    exchange.ended(LOST)
    exchange.cancelled()
    assert exchange.lost is LOST
    exchange = sending(1)
    exchange.cancelled()
    exchange.ended(LOST)
    assert exchange.lost is None


def test_a_window_without_room_is_refused():
    with pytest.raises(ValueError, match="a window of 0 has no room"):
        Exchange("graph", 0)


@pytest.mark.parametrize(
    ("code", "request_id", "expected"),
    [
        ("INVALID_ARGUMENT", "7", ("INVALID_ARGUMENT", 7)),
        ("INVALID_ARGUMENT", "-7", ("INVALID_ARGUMENT", -7)),
        ("", "", (None, None)),  # as OVMS answers
        ("new in a later gRPC", "of another client", (None, None)),
    ],
)
def test_a_refusal_says_why_and_where_the_server_tells_which(
    code, request_id, expected
):
    message = kserve.ModelStreamInferResponse(error_message="does not fit")
    message.infer_response.id = request_id
    if code:
        message.infer_response.parameters["error_code"].string_param = code
    refusal = read(message.SerializeToString())
    assert isinstance(refusal, RequestRefused)
    assert str(refusal) == "does not fit"
    assert (refusal.code and refusal.code.name, refusal.timestamp) == expected


def test_a_message_that_is_none_is_an_error_of_this_package():
    with pytest.raises(ClientError, match="no ModelStreamInferResponse"):
        read(b"\xff")
