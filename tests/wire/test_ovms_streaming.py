"""The cases of OVMS's own tests of its streams, over the wire; those that are not here
are elsewhere, as docs/mediapipe-tests/ovms-streaming.md says.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grpc
import numpy as np
import pytest

from tests.wire import zoo
from tests.wire.calls import Stream, arrays, ask, infer, refusal, shaped, timestamp
from tests.wire.ovms_graphs import CALCULATORS, GRAPHS, HANDLERS
from tests.wire.rest import Rest
from tests.wire.servers import Server, serving
from tests.wire.waiting import until


@pytest.fixture(scope="module")
def ovms(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("ovms")
    calculators = folder / "calculators"
    calculators.mkdir()
    (calculators / "counterparts.py").write_text(CALCULATORS)
    for name, pbtxt in GRAPHS.items():
        zoo.add_graph(folder, name, pbtxt, **HANDLERS)
    config = zoo.write_config(folder, [], [{"name": name} for name in GRAPHS])
    with serving(config, calculators_path=calculators) as server:
        yield server


@pytest.fixture
def channel(ovms: Server) -> Iterator[grpc.Channel]:
    with ovms.connect() as channel:
        yield channel
    assert until(ovms.is_idle), "something is left in the server"


def one(model: str, *, at: int | None = None, **values: float) -> Any:
    """A request of FP32 [1] inputs."""
    inputs = {name: np.array([value], np.float32) for name, value in values.items()}
    return ask(model, inputs, at=at)


def named(value: float) -> dict[str, Any]:
    """As the keyword that is one of Python's."""
    return {"in": value}


def said(stream: Stream) -> list[tuple[int, dict[str, float]]]:
    """Everything until the stream ends well, after its half-close."""
    stream.half_close()
    return [
        (timestamp(each), {name: round(v[0], 3) for name, v in arrays(each).items()})
        for each in stream.rest()
    ]


def sent(channel: grpc.Channel, *requests: Any) -> list[tuple[int, dict[str, float]]]:
    with Stream(channel, *requests) as stream:
        return said(stream)


@pytest.mark.parametrize("model", ["plus", "pooled_plus"])
def test_three_requests_have_three_answers_at_automatic_timestamps(
    channel: grpc.Channel, model: str
) -> None:
    requests = [one(model, **named(value)) for value in (3.5, 7.2, 102.4)]
    assert sent(channel, *requests) == [
        (0, {"out": 4.5}),
        (1, {"out": 8.2}),
        (2, {"out": 103.4}),
    ]


def test_three_requests_have_three_answers_at_their_own_timestamps(
    channel: grpc.Channel,
) -> None:
    at = {3: 3.5, 12: 7.2, 99: 102.4}
    requests = [one("plus", at=t, **named(value)) for t, value in at.items()]
    assert [t for t, _ in sent(channel, *requests)] == [3, 12, 99]


@pytest.mark.parametrize("model", ["loop", "pooled_loop"])
def test_one_request_goes_round_three_times(channel: grpc.Channel, model: str) -> None:
    assert sent(channel, one(model, at=64, **{"in": 3.5})) == [
        (64, {"out": 4.5}),
        (65, {"out": 5.5}),
        (66, {"out": 6.5}),
    ]
    # What is pooled in OVMS keeps its state for the next stream; here it is new.
    assert len(sent(channel, one(model, at=64, **{"in": 3.5}))) == 3


@pytest.mark.parametrize("model", ["plus", "pooled_plus"])
def test_a_client_that_sends_no_more_ends_the_stream_well(
    channel: grpc.Channel, model: str
) -> None:
    with Stream(channel, one(model, **{"in": 1})) as stream:
        stream.half_close()
        assert len(list(stream.rest())) == 1


@pytest.mark.parametrize("model", ["plus", "pooled_plus"])
def test_a_client_that_goes_while_it_is_written_to_leaves_nothing(
    channel: grpc.Channel, ovms: Server, model: str
) -> None:
    with Stream(channel, *[one(model, **{"in": 1})] * 50) as stream:
        stream.answer()
        stream.cancel()
        assert until(ovms.is_idle)


@pytest.mark.parametrize("model", ["plus", "pooled_plus"])
def test_a_first_request_of_no_bytes_is_refused(
    channel: grpc.Channel, model: str
) -> None:
    with Stream(channel, shaped(model, "in", "FP32", 1, raw=b"")) as stream:
        assert stream.refusal() == (
            "Invalid content size of tensor proto - Expected: 4 bytes; Actual: 0 bytes;"
            " input name: in; partial deserialization of first request"
        )
        stream.half_close()
        assert stream.end() == ("OK", "")


def test_later_requests_that_do_not_fit_are_refused_each(
    channel: grpc.Channel,
) -> None:
    note = "; partial deserialization of subsequent requests"
    wrong = (
        shaped("plus", "in", "FP32", 1, raw=b""),
        one("plus", NONEXISTING=1),
    )
    with Stream(channel, one("plus", **{"in": 1}), *wrong) as stream:
        stream.answer()
        assert [stream.refusal() for _ in wrong] == [
            "Invalid content size of tensor proto - Expected: 4 bytes; "
            f"Actual: 0 bytes; input name: in{note}",
            f"Unexpected input - NONEXISTING is unexpected{note}",
        ]


def test_three_streams_may_come_in_one_request(channel: grpc.Channel) -> None:
    found = sent(channel, one("three", at=64, in1=3.5, in2=7.2, in3=102.4))
    assert found == [
        (64, {"out1": 4.5}),
        (64, {"out2": 9.2}),
        (64, {"out3": 105.4}),
    ]


def test_three_streams_may_come_in_three_requests(channel: grpc.Channel) -> None:
    requests = (
        one("three", at=64, in1=3.5),
        one("three", at=64, in2=7.2),
        one("three", at=64, in3=102.4),
    )
    assert {t for t, _ in sent(channel, *requests)} == {64}
    assert len(sent(channel, *requests)) == 3


def test_a_timestamp_that_goes_back_ends_the_stream(channel: grpc.Channel) -> None:
    requests = (one("plus", at=2, **{"in": 1}), one("plus", at=0, **{"in": 1}))
    with Stream(channel, *requests) as stream:
        stream.answer()
        code, text = stream.end()
    assert code == "INVALID_ARGUMENT" and "Packet timestamp mismatch" in text


def test_a_graph_that_could_not_be_loaded_has_no_stream(channel: grpc.Channel) -> None:
    with Stream(channel, one("unknown", **{"in": 1})) as stream:
        assert stream.end() == ("UNAVAILABLE", "Mediapipe is not loaded yet")


def test_an_error_in_process_ends_the_stream(channel: grpc.Channel) -> None:
    with Stream(channel, one("fails", **{"in": 1})) as stream:
        code, text = stream.end()
    assert code == "INVALID_ARGUMENT" and "this calculator never works" in text


def test_parameters_of_the_first_request_are_side_packets(
    channel: grpc.Channel,
) -> None:
    first, later = (one("side", **named(value)) for value in (3.5, 7.2))
    first.parameters["step"].int64_param = 65
    later.parameters["step"].int64_param = 1000
    assert [v for _, v in sent(channel, first, later)] == [
        {"out": 68.5},
        {"out": 72.2},
    ]


def test_a_first_request_without_a_parameter_that_is_needed_ends_the_stream(
    channel: grpc.Channel,
) -> None:
    with Stream(channel, one("side", **{"in": 1})) as stream:
        code, text = stream.end()
    assert code == "FAILED_PRECONDITION" and '"step"' in text


def test_what_a_calculator_needs_and_has_not_is_a_failed_precondition(
    ovms: Server, channel: grpc.Channel
) -> None:
    """OVMS's status by name, and its code of HTTP; that of gRPC is UNKNOWN there."""
    expected = (
        "FAILED_PRECONDITION",
        "Mediapipe graph precondition failed - FAILED_PRECONDITION: "
        "CalculatorGraph::Run() failed: Calculator::Process() for node "
        '"NotYetCalculator" failed: what it needs is not there',
    )
    request = one("not_yet", **{"in": 1})
    assert refusal(channel, request) == expected
    with Stream(channel, request) as stream:
        assert stream.end() == expected
    tensor = {"name": "in", "datatype": "FP32", "shape": [1], "data": [1]}
    answer = Rest(ovms.app.rest_port).infer("not_yet", {"inputs": [tensor]})
    assert (answer.code, answer.error) == (412, expected[1])


# Python


@pytest.mark.parametrize("model", ["once_in_old_form", "once_outside_in_old_form"])
def test_options_in_the_old_form_are_read_as_those_in_the_new(
    channel: grpc.Channel, model: str
) -> None:
    """To OVMS, which looks at `node_options` only, they are missing."""
    assert arrays(infer(channel, one(model, in1=3.5))) == {"out1": [4.5]}


@pytest.mark.parametrize("count", [1, 3])
def test_a_python_node_answers_each_request(channel: grpc.Channel, count: int) -> None:
    requests = [one("once", in1=value) for value in range(count)]
    assert [v for _, v in sent(channel, *requests)] == [
        {"out1": value + 1} for value in range(count)
    ]


@pytest.mark.parametrize("count", [1, 3])
def test_so_it_does_between_converters(channel: grpc.Channel, count: int) -> None:
    requests = [one("converted", **named(value)) for value in range(count)]
    assert [v for _, v in sent(channel, *requests)] == [
        {"out": value + 1} for value in range(count)
    ]


def test_inputs_of_a_python_node_may_be_incomplete(channel: grpc.Channel) -> None:
    found = sent(channel, one("incomplete", at=1, in1=3.5))
    assert found == [(1, {"out1": 4.5})]


def test_so_they_may_be_one_by_one_where_the_node_does_not_wait_for_them(
    channel: grpc.Channel,
) -> None:
    with Stream(channel) as stream:
        for at, (name, value) in enumerate(
            [("in1", 3.5), ("in2", 7.25), ("in2", 1.0), ("in1", 2.0)]
        ):
            stream.send(one("immediate", at=at, **{name: value}))
            answer = stream.answer()
            target = name.replace("in", "out")
            assert (timestamp(answer), arrays(answer)) == (at, {target: [value + 1]})


@pytest.mark.parametrize("later", [5, 3], ids=["at the same time", "earlier"])
def test_then_each_input_has_timestamps_of_its_own(
    channel: grpc.Channel, later: int
) -> None:
    requests = [one("immediate", at=5, in1=1.0), one("immediate", at=later, in2=2.0)]
    if later == 5:
        requests = [one("immediate", at=5, in1=1.0, in2=2.0)]
    assert sent(channel, *requests) == [(5, {"out1": 2.0}), (later, {"out2": 3.0})]


@pytest.mark.parametrize("model", ["growing", "growing_free"])
def test_a_generator_answers_three_times(channel: grpc.Channel, model: str) -> None:
    assert sent(channel, one(model, at=64, in1=3.5)) == [
        (64, {"out1": 4.5}),
        (65, {"out1": 5.5}),
        (66, {"out1": 6.5}),
    ]


@pytest.mark.parametrize("is_one_request", [True, False])
def test_a_generator_of_two_streams_answers_on_both(
    channel: grpc.Channel, is_one_request: bool
) -> None:
    if is_one_request:
        requests = [one("growing_two", at=64, in1=3.5, in2=7.2)]
    else:
        requests = [
            one("growing_two", at=64, in1=3.5),
            one("growing_two", at=64, in2=7.2),
        ]
    assert sorted(sent(channel, *requests), key=str) == [
        (at, {f"out{n}": round(value + at - 63, 3)})
        for at in (64, 65, 66)
        for n, value in ((1, 3.5), (2, 7.2))
    ]


@pytest.mark.parametrize("model", ["none", "strange"])
def test_what_execute_may_not_return_ends_the_stream(
    channel: grpc.Channel, model: str
) -> None:
    with Stream(channel, one(model, in1=1)) as stream:
        assert stream.end()[0] == "INVALID_ARGUMENT"
