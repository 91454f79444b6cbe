"""Laws of PassThroughCalculator."""

from __future__ import annotations

import pytest
from ovms_mp_calculators.pass_through import PassThroughCalculator

from ovms_mp.core.errors import ServingError
from ovms_mp.core.packet import Packet
from ovms_mp.graph.runner import CalculatorRunner
from tests.unit.calculators.support import Arithmetic, GraphOf, floats

NODE = 'calculator: "PassThroughCalculator" '


def run(streams: str, **side_packets: object) -> CalculatorRunner:
    return CalculatorRunner(
        PassThroughCalculator, NODE + streams, side_packets=side_packets
    )


def refused(streams: str) -> str:
    with pytest.raises(ServingError) as caught:
        run(streams)
    return caught.value.text


def test_a_packet_leaves_as_it_came():
    payload = object()
    runner = run('input_stream: "in" output_stream: "out"')
    runner.feed("in", payload, at=7)
    ((at, passed),) = runner.outputs["out"]
    assert at == 7
    assert passed is payload


def test_streams_pair_by_tag_and_index_whatever_their_order():
    runner = run(
        'input_stream: "A:0:a0" input_stream: "A:1:a1" input_stream: "B:b" '
        'output_stream: "B:ob" output_stream: "A:1:o1" output_stream: "A:0:o0"'
    )
    for stream in ("a0", "a1", "b"):
        runner.feed(stream, stream, at=0)
    passed = {name: packets[0].payload for name, packets in runner.outputs.items()}
    assert passed == {"o0": "a0", "o1": "a1", "ob": "b"}


def test_an_input_without_a_packet_gives_none():
    runner = run(
        'input_stream: "A:a" input_stream: "B:b" output_stream: "A:x" output_stream: "B:y"'
    )
    runner.feed("a", 1, at=0)
    runner.feed("b", 2, at=1)
    runner.close()
    assert runner.outputs == {"x": [Packet(0, 1)], "y": [Packet(1, 2)]}
    assert runner.is_done and runner.error is None


@pytest.mark.parametrize(
    "streams",
    [
        'input_stream: "A:a" output_stream: "B:b"',
        'input_stream: "a" input_stream: "b" output_stream: "c"',
        'input_stream: "a" output_stream: "c" output_stream: "d"',
        'input_stream: "A:a" output_stream: "b"',
    ],
)
def test_a_stream_without_a_partner_is_refused(streams: str):
    assert "must use matching tags and indexes" in refused(streams)


def test_the_streams_without_a_partner_are_named():
    text = refused('input_stream: "A:a" input_stream: "C:c" output_stream: "C:d"')
    assert "these have no partner: A:a" in text


def test_side_packets_need_partners_only_if_one_leaves():
    streams = 'input_stream: "in" output_stream: "out" '
    run(streams + 'input_side_packet: "S:s"', s=1)
    text = refused(
        streams + 'input_side_packet: "S:py" output_side_packet: "T:t"',
    )
    assert "input and output side packets must use matching tags" in text


def test_side_packets_pass_to_later_nodes():
    graph = GraphOf(
        """
        input_stream: "in" output_stream: "out"
        input_side_packet: "given"
        node { calculator: "PassThroughCalculator"
               input_side_packet: "SESSION:given" output_side_packet: "SESSION:passed" }
        node { calculator: "OpenVINOInferenceCalculator"
               input_side_packet: "SESSION:passed"
               input_stream: "OVTENSORS:in" output_stream: "SUM:out"
               node_options: {
                 [type.googleapis.com/mediapipe.OpenVINOInferenceCalculatorOptions]: {
                   input_order_list: ["a", "b"]
                   tag_to_output_tensor_names { key: "SUM" value: "sum" } } } }
        """,
    )
    graph.start(given=Arithmetic())
    graph.feed("in", [floats(1), floats(2)], at=0)
    assert graph.error is None
    assert graph.outputs["out"][0].payload.tolist() == [3]
