"""Laws of a stream on a graph, as OVMS's clients know them."""

from __future__ import annotations

import pytest

from ovms_mp.core.errors import Status
from ovms_mp.core.messages import InputTensor
from ovms_mp.core.pending import Cancelled
from ovms_mp.core.strand import inline
from ovms_mp.library.graph import Graph
from ovms_mp.servable.graph import GraphServable
from ovms_mp.telemetry.metrics import Metrics
from tests.unit.graph.support import Later, define
from tests.unit.servable.support import Client, request, serve, tensor

PASS = 'input_stream: "in" output_stream: "out" node { calculator: "PassThrough" input_stream: "in" output_stream: "out" }'
TWO = 'input_stream: "a" input_stream: "b" output_stream: "x" output_stream: "y" node { calculator: "PassThrough" input_stream: "a" input_stream: "b" output_stream: "x" output_stream: "y" }'
LATER = 'input_stream: "in" output_stream: "out" node { calculator: "Later" input_stream: "in" output_stream: "out" }'


def at(timestamp):
    return {"OVMS_MP_TIMESTAMP": timestamp}


def opened(text, *inputs, **more):
    client = Client()
    return client, serve(text).open_stream(request(*inputs, **more), client)


def test_automatic_timestamps_count_from_zero():
    client, session = opened(PASS, tensor("in", [0]))
    for n in (1, 2):
        session.feed(request(tensor("in", [n])))
    assert client.told == [(n, {"out": [float(n)]}) for n in range(3)]


def test_a_manual_timestamp_rebases_the_count():
    client, session = opened(PASS, tensor("in", [0]), parameters=at(10))
    session.feed(request(tensor("in", [1])))
    assert [timestamp for timestamp, _ in client.told] == [10, 11]


def test_each_output_is_a_response_of_its_own_with_the_requests_id():
    client, session = opened(TWO, tensor("a", [1]), tensor("b", [2]), id="7")
    assert client.told == [(0, {"x": [1.0]}), (0, {"y": [2.0]})]
    assert [each.id for each in client.responses] == ["7", "7"]
    session.feed(request(tensor("a", [1]), tensor("b", [2])))
    assert [each.id for each in client.responses[2:]] == ["", ""]


def test_inputs_may_come_in_separate_requests_with_equal_timestamps():
    client, session = opened(TWO, tensor("a", [1]), parameters=at(3))
    assert client.told == []
    session.feed(request(tensor("b", [2]), parameters=at(3)))
    assert client.told == [(3, {"x": [1.0]}), (3, {"y": [2.0]})]


def test_an_empty_request_pushes_nothing_and_is_no_fault():
    client, session = opened(PASS)
    session.feed(request(tensor("in", [1])))
    assert client.errors == [] and [value for _, value in client.told] == [
        {"out": [1.0]}
    ]


def test_the_first_request_may_be_refused_and_the_stream_lives():
    bad = InputTensor("in", "FP32", (1,), raw=b"")
    client, session = opened(PASS, bad)
    assert client.errors == [
        "Invalid content size of tensor proto - Expected: 4 bytes; Actual: 0 bytes; "
        "input name: in; partial deserialization of first request"
    ]
    session.feed(request(tensor("in", [1])))
    assert client.told == [(0, {"out": [1.0]})]


@pytest.mark.parametrize(
    ("refused", "text"),
    [
        (
            request(tensor("NONEXISTING", [1])),
            "Unexpected input - NONEXISTING is unexpected; "
            "partial deserialization of subsequent requests",
        ),
        (
            request(name="other"),
            "Subsequent request with incorrect servable name; validate subsequent requests",
        ),
        (
            request(name=""),
            "Subsequent request with incorrect servable name; validate subsequent requests",
        ),
        (
            request(model_version="2"),
            "Subsequent request with incorrect servable version; validate subsequent requests",
        ),
        (
            request(tensor("in", [1]), parameters={"OVMS_MP_TIMESTAMP": "x"}),
            "Malformed packet timestamp - Invalid timestamp format in request parameter "
            "OVMS_MP_TIMESTAMP. Should be int64; partial deserialization of subsequent requests",
        ),
        (
            request(tensor("in", [1]), parameters=at(-(2**63))),
            "Malformed packet timestamp - Timestamp::Unset(); "
            "partial deserialization of subsequent requests",
        ),
    ],
)
def test_a_refused_request_is_told_and_the_stream_and_its_count_go_on(refused, text):
    client, session = opened(PASS, tensor("in", [0]))
    session.feed(refused)
    assert client.errors == [text]
    session.feed(request(tensor("in", [1])))
    assert client.told == [(0, {"out": [0.0]}), (1, {"out": [1.0]})]
    assert client.ends == []


def test_a_request_refused_in_part_uses_its_timestamp_up():
    client, session = opened(TWO, tensor("a", [0]), tensor("b", [0]))
    session.feed(request(tensor("a", [1]), tensor("nope", [1])))
    session.feed(request(tensor("a", [2]), tensor("b", [2])))
    assert client.errors and client.ends == []
    assert client.told[-1] == (2, {"y": [2.0]})


def test_latency_is_measured_from_arrival_where_it_is_wanted():
    for families, expected in ((["ovms_graph_request_latency_us"], 2), (None, 0)):
        metrics = Metrics(families)
        servable = GraphServable("g", Graph(define(PASS)), inline, metrics)
        session = servable.open_stream(request(tensor("in", [0])), Client())
        session.feed(request(tensor("in", [1])))
        page = metrics.render().decode()
        count = (
            'ovms_graph_request_latency_us_count{method="ModelInferStream",name="g"} 2'
        )
        assert (count in page) is bool(expected)


@pytest.mark.parametrize("version", ["", "0", "1"])
def test_versions_that_mean_the_graph_are_accepted(version):
    client, session = opened(PASS, tensor("in", [0]))
    session.feed(request(tensor("in", [1]), model_version=version))
    assert client.errors == []


def test_the_extremes_of_the_range_are_timestamps():
    client, session = opened(PASS, tensor("in", [0]), parameters=at(-(2**63) + 3))
    session.feed(request(tensor("in", [1]), parameters=at(2**63 - 4)))
    assert [timestamp for timestamp, _ in client.told] == [-(2**63) + 3, 2**63 - 4]
    assert client.ends == []  # until the client closes, as in MediaPipe
    session.half_close()
    assert client.ends == [None]


def test_the_count_does_not_run_over_the_end_of_time():
    client, session = opened(TWO, tensor("a", [0]), parameters=at(2**63 - 4))
    session.feed(request(tensor("b", [1])))
    assert "end of time" in client.errors[0] and client.ends == []


def test_a_timestamp_out_of_order_ends_the_stream_at_once():
    client, session = opened(PASS, tensor("in", [0]), parameters=at(5))
    session.feed(request(tensor("in", [1]), parameters=at(5)))
    (end,) = client.ends
    assert end is not None and end.status is Status.MEDIAPIPE_EXECUTION_ERROR
    session.feed(request(tensor("in", [2])))
    session.half_close()
    assert len(client.ends) == 1


def test_half_close_flushes_what_is_there_and_ends_well():
    client, session = opened(LATER, tensor("in", [1]))
    session.half_close()
    assert client.ends == []
    payload, pending = Later.left[0]
    pending.complete(payload)
    assert client.told == [(0, {"out": [1.0]})] and client.ends == [None]


def test_an_unpaired_input_at_half_close_is_processed_with_an_empty_one():
    client, session = opened(TWO, tensor("a", [1]))
    session.half_close()
    assert client.told == [(0, {"x": [1.0]})] and client.ends == [None]


def test_side_packets_are_those_of_the_first_request():
    text = (
        'input_stream: "in" output_stream: "out" input_side_packet: "must" '
        + PASS.split('"out" ', 1)[1]
        + ' node { calculator: "TakesSide" input_side_packet: "must" }'
    )
    client, _ = opened(text, tensor("in", [1]))
    (end,) = client.ends
    assert end is not None and end.status is Status.MEDIAPIPE_GRAPH_START_ERROR
    client, _ = opened(text, tensor("in", [1]), parameters={"must": "x"})
    assert client.told == [(0, {"out": [1.0]})]


def test_one_request_is_allowed_for_each_that_was_taken_or_refused():
    client, session = opened(PASS, tensor("in", [0]))
    assert client.rooms == 1
    session.feed(request(tensor("nope", [0])))
    assert client.rooms == 2


def test_a_full_graph_asks_for_nothing_until_it_has_worked():
    client, session = opened("max_queue_size: 1 " + LATER, tensor("in", [0]))
    for n in range(1, 4):
        assert client.rooms == n
        session.feed(request(tensor("in", [n])))
    assert client.rooms == 3  # three calls wait, a fourth packet fills the queue
    Later.left[0][1].complete(Later.left[0][0])
    assert client.rooms == 4


def test_a_client_that_does_not_read_holds_the_graph():
    client, session = opened(PASS, tensor("in", [0]))
    session.hold()
    session.feed(request(tensor("in", [1])))
    assert len(client.responses) == 1 and client.rooms == 1
    session.release()
    assert len(client.responses) == 2 and client.rooms == 2


def test_a_cancelled_session_drops_everything_and_tells_nothing():
    client, session = opened(LATER, tensor("in", [0]))
    session.cancel()
    assert isinstance(Later.left[0][1].error, Cancelled)
    assert client.responses == [] and client.ends == []


def test_streams_do_not_share_state():
    servable = serve(
        'input_stream: "in" output_stream: "out" node { calculator: "FailsAfterTwo" input_stream: "in" output_stream: "out" }'
    )
    one, two = Client(), Client()
    first = servable.open_stream(request(tensor("in", [0])), one)
    second = servable.open_stream(request(tensor("in", [0])), two)
    first.feed(request(tensor("in", [1])))
    first.feed(request(tensor("in", [2])))
    second.feed(request(tensor("in", [1])))
    assert len(one.ends) == 1 and two.ends == []
    assert [timestamp for timestamp, _ in two.told] == [0, 1]
