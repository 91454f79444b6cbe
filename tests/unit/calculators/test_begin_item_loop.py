"""Laws of BeginItemLoopCalculator."""

from __future__ import annotations

import pytest
from ovms_mp_calculators.begin_item_loop import BeginItemLoopCalculator

from ovms_mp.core.errors import ServingError
from ovms_mp.graph.runner import CalculatorRunner

PORTS = (
    'input_stream: "ITEM:0:a" input_stream: "ITEM:1:b" output_stream: "ITEM:item" '
    'output_stream: "BATCH_END:end" '
)


def run(ports: str = "") -> CalculatorRunner:
    return CalculatorRunner(
        BeginItemLoopCalculator,
        f'calculator: "BeginItemLoopCalculator" {PORTS} {ports}',
    )


def test_packets_of_all_inputs_leave_in_a_row():
    runner = run('input_stream: "CLONE:word" output_stream: "CLONE:words"')
    for stream, payload in (("a", 1), ("b", 2), ("word", "w")):
        runner.feed(stream, payload, at=50)
    assert runner.outputs["item"] == [(0, 1), (1, 2)]
    assert runner.outputs["words"] == [(0, "w"), (1, "w")]
    assert runner.outputs["end"] == [(1, 50)]


def test_bounds_of_all_inputs_are_an_end_without_items():
    runner = run()
    runner.advance("a", 11)
    runner.advance("b", 11)
    assert runner.outputs == {"item": [], "end": [(0, 10)]}
    assert runner.bounds["item"] == 1


def test_a_packet_that_some_inputs_miss_fails_the_run():
    runner = run()
    runner.feed("a", 1, at=10)
    runner.advance("b", 11)
    assert runner.error is not None
    assert "some inputs ITEM have a packet and some have none" in runner.error.text


def test_clones_without_a_partner_are_refused():
    with pytest.raises(ServingError, match="0 inputs CLONE and 1 outputs CLONE"):
        run('output_stream: "CLONE:words"')
