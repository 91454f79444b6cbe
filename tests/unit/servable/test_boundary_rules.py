"""Rules of OVMS for a request to a graph that concern more than one part of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ovms_mp.calculator import (
    Calculator,
    Context,
    Input,
    Inputs,
    Output,
    Services,
    SideInput,
)
from ovms_mp.core.errors import ServingError, Status
from ovms_mp.core.messages import InferRequest, InferResponse, InputTensor
from ovms_mp.core.strand import inline
from ovms_mp.graph import builder, config
from ovms_mp.graph.registry import Registry
from ovms_mp.library.graph import Graph
from ovms_mp.servable.graph import GraphServable
from ovms_mp.telemetry.metrics import Metrics
from tests.unit.servable.support import Client, request, tensor, values


class Sums(Calculator):
    """The sum of what its inputs hold, then twice that, then nothing more."""

    ins = Inputs(np.ndarray)
    out = Output(np.ndarray)

    def process(self, ctx: Context) -> None:
        arrays = [ctx[each] for each in self.ins if ctx.has(each)]
        total = np.asarray(sum(arrays), np.float32)
        ctx.send(self.out, total)
        ctx.send(self.out, 2 * total, at=ctx.timestamp + 1)

    def close(self, ctx: Context) -> None:
        ctx.send(self.out, np.zeros(1, np.float32), at=10**9)


class Limits(Calculator):
    """Takes a side packet."""

    limit = SideInput(int)

    def process(self, ctx: Context) -> None:
        pass


class Passes(Calculator):
    """Sends what it takes."""

    value = Input(Any)
    out = Output(Any)

    def process(self, ctx: Context) -> None:
        ctx.send(self.out, ctx[self.value])


class FailsInOpen(Passes):
    def open(self, ctx: Context) -> None:
        raise RuntimeError("no such luck")


class FailsInProcess(Passes):
    def process(self, ctx: Context) -> None:
        raise RuntimeError("no such luck")


class FailsInClose(Passes):
    """When its output is there already."""

    def close(self, ctx: Context) -> None:
        raise RuntimeError("no such luck")


class Echoes(Calculator):
    """Answers a whole request with its own name and inputs."""

    asked = Input(InferRequest, "REQUEST")
    answer = Output(InferResponse, "RESPONSE")

    def process(self, ctx: Context) -> None:
        ctx.send(self.answer, InferResponse(ctx[self.asked].model_name, "7"))


def serve(text: str) -> GraphServable:
    registry = Registry()
    failing = (FailsInOpen, FailsInProcess, FailsInClose)
    for each in (Sums, Limits, *failing, Echoes):
        registry.add(each.__name__, each, "the tests")
    parsed = config.parse(text.encode(), "graph.pbtxt")
    definition = builder.load(parsed, registry, Path(), Services())
    return GraphServable("g", Graph(definition), inline, Metrics())


SUM = """
input_stream: "OVTENSOR:0:a" input_stream: "OVTENSOR:1:b" output_stream: "out"
node { calculator: "Sums" input_stream: "a" input_stream: "b" output_stream: "out" }
"""
LIMITED = (
    'input_side_packet: "limit" '
    'node { calculator: "Limits" input_side_packet: "limit" }' + SUM
)
A, B = tensor("a", [1]), tensor("b", [2])
NO_BYTES = InputTensor("a", "FP32", (1,), raw=b"")
SPECIAL = {"OVMS_MP_TIMESTAMP": -(2**63)}


def refused(text: str, asked: InferRequest) -> ServingError:
    with pytest.raises(ServingError) as caught:
        serve(text).infer(asked).result(5)
    return caught.value


def answer(text: str, *inputs: InputTensor, **more: Any) -> InferResponse:
    return serve(text).infer(request(*inputs, **more)).result(5)


# 4.4, 4.5: names, and the order in which a request is judged


def test_the_name_after_tag_and_index_is_that_of_the_tensor():
    assert values(answer(SUM, A, B)) == {"out": [3.0]}


def test_inputs_of_a_request_may_come_in_any_order():
    assert values(answer(SUM, B, A)) == {"out": [3.0]}


def test_a_request_is_judged_in_the_order_of_ovms():
    odd = tensor("odd", [1])
    faults = [
        (
            InferRequest(
                "g", inputs=(odd, NO_BYTES), raw_count=1, parameters={"py": "x"}
            ),
            Status.MEDIAPIPE_GRAPH_INITIALIZATION_ERROR,
        ),
        (
            InferRequest("g", inputs=(odd, NO_BYTES), raw_count=1, parameters=SPECIAL),
            Status.MEDIAPIPE_GRAPH_START_ERROR,
        ),
        (
            InferRequest(
                "g",
                inputs=(odd, NO_BYTES),
                raw_count=1,
                parameters={"limit": 1, **SPECIAL},
            ),
            Status.MEDIAPIPE_INVALID_TIMESTAMP,
        ),
        (
            InferRequest(
                "g", inputs=(odd, NO_BYTES), raw_count=1, parameters={"limit": 1}
            ),
            Status.INVALID_MESSAGE_STRUCTURE,
        ),
        (
            request(odd, NO_BYTES, parameters={"limit": 1}),
            Status.INVALID_UNEXPECTED_INPUT,
        ),
        (request(NO_BYTES, parameters={"limit": 1}), Status.INVALID_CONTENT_SIZE),
        (request(A, parameters={"limit": 1}), Status.INVALID_NO_OF_INPUTS),
    ]
    for asked, status in faults:
        assert refused(LIMITED, asked).status is status


def test_of_several_inputs_that_do_not_fit_the_first_is_told():
    odd = tensor("odd", [1])
    assert refused(SUM, request(NO_BYTES, odd)).status is Status.INVALID_CONTENT_SIZE
    asked = request(odd, NO_BYTES)
    assert refused(SUM, asked).status is Status.INVALID_UNEXPECTED_INPUT


def test_inputs_before_one_that_does_not_fit_stay_in_the_graph():
    servable = serve(SUM)
    client = Client()
    at = {"OVMS_MP_TIMESTAMP": 5}
    session = servable.open_stream(
        request(A, tensor("odd", [1]), parameters=at), client
    )
    assert len(client.errors) == 1 and client.told == []
    session.feed(request(B, parameters=at))
    assert client.told[0] == (5, {"out": [3.0]})


# 4.7: a unary request


def test_all_inputs_of_a_unary_request_have_one_timestamp():
    response = answer(SUM, A, B, parameters={"OVMS_MP_TIMESTAMP": 40})
    assert response.parameters["OVMS_MP_TIMESTAMP"] == 40
    assert values(response) == {"out": [3.0]}


def test_of_each_output_stream_the_first_packet_is_the_answer():
    response = answer(SUM, A, B)
    assert len(response.outputs) == 1 and values(response) == {"out": [3.0]}


def test_a_stream_gets_every_packet_of_an_output():
    client = Client()
    session = serve(SUM).open_stream(request(A, B), client)
    session.half_close()
    assert client.told == [
        (0, {"out": [3.0]}),
        (1, {"out": [6.0]}),
        (10**9, {"out": [0.0]}),
    ]


@pytest.mark.parametrize("method", ["Open", "Process", "Close"])
def test_what_fails_in_a_calculator_is_told_in_the_words_of_mediapipe(method: str):
    failing = f"""input_stream: "in" output_stream: "out"
node {{ calculator: "FailsIn{method}" input_stream: "in" output_stream: "out" }}"""
    error = refused(failing, request(tensor("in", [1])))
    assert error.status is Status.MEDIAPIPE_EXECUTION_ERROR
    assert error.text == (
        "Mediapipe execution failed. MP status - INTERNAL: CalculatorGraph::Run() "
        f'failed: Calculator::{method}() for node "FailsIn{method}" failed: '
        "RuntimeError: no such luck"
    )


def test_a_whole_request_is_passed_whatever_its_inputs_are_called():
    # OVMS wants an input with the name of the stream; here none is needed.
    whole = """input_stream: "REQUEST:in" output_stream: "RESPONSE:out"
node { calculator: "Echoes" input_stream: "REQUEST:in" output_stream: "RESPONSE:out" }"""
    response = answer(whole, tensor("odd", [1]), id="9")
    assert (response.model_name, response.model_version, response.id) == ("g", "1", "9")


# 4.8: side packets


def test_parameters_that_the_graph_does_not_declare_are_ignored():
    parameters = {"limit": 1, "odd": "x", "even": True}
    assert values(answer(LIMITED, A, B, parameters=parameters)) == {"out": [3.0]}
    assert values(answer(SUM, A, B, parameters=parameters)) == {"out": [3.0]}


def test_a_side_packet_that_is_not_given_is_no_matter_of_loading():
    error = refused(LIMITED, request(A, B))
    assert error.status is Status.MEDIAPIPE_GRAPH_START_ERROR
    assert 'Side packet "limit" is required' in error.text


def test_the_timestamp_is_never_a_side_packet():
    timed = LIMITED.replace('"limit"', '"OVMS_MP_TIMESTAMP"')
    with pytest.raises(ServingError) as caught:
        serve(timed)
    assert "OVMS_MP_TIMESTAMP" in caught.value.text


# 4.9: timestamps


def test_one_stream_must_increase_and_two_may_share_a_timestamp():
    client = Client()
    at = {"OVMS_MP_TIMESTAMP": 5}
    session = serve(SUM).open_stream(request(A, parameters=at), client)
    session.feed(request(B, parameters=at))
    assert client.told[0] == (5, {"out": [3.0]}) and client.ends == []
    session.feed(request(B, parameters=at))
    (end,) = client.ends
    assert end is not None and end.status is Status.MEDIAPIPE_EXECUTION_ERROR
