"""Laws of StreamToSidePacketCalculator."""

from __future__ import annotations

from ovms_mp_calculators.stream_to_side_packet import StreamToSidePacketCalculator

from ovms_mp.graph.runner import CalculatorRunner
from tests.unit.calculators.support import GraphOf


def run() -> CalculatorRunner:
    return CalculatorRunner(
        StreamToSidePacketCalculator,
        'calculator: "StreamToSidePacketCalculator" '
        'input_stream: "in" output_side_packet: "side"',
    )


def test_the_packet_of_a_stream_becomes_a_side_packet():
    runner = run()
    runner.feed("in", 10, at=5)
    assert runner.side_outputs["side"] == 10
    runner.close()
    assert runner.error is None


def test_a_second_packet_fails_the_run():
    runner = run()
    runner.feed_all("in", [(0, 1), (1, 2)])
    assert runner.error is not None
    assert 'output side packet "side" is already set' in runner.error.text


def test_nodes_that_take_the_side_packet_wait_for_it():
    graph = GraphOf(
        """
        input_stream: "value" input_stream: "tick" output_stream: "out"
        node { calculator: "StreamToSidePacketCalculator"
               input_stream: "value" output_side_packet: "side" }
        node { calculator: "SidePacketToStreamCalculator" input_side_packet: "side"
               input_stream: "TICK:tick" output_stream: "AT_TICK:out" }
        """
    )
    graph.start()
    graph.feed("tick", 0, at=1)
    assert graph.outputs["out"] == []
    graph.feed("value", "v", at=0)
    graph.close()
    assert graph.outputs["out"] == [(1, "v")]
    assert graph.error is None
