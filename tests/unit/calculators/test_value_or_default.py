"""Laws of ValueOrDefaultCalculator."""

from __future__ import annotations

from ovms_mp_calculators.value_or_default import ValueOrDefaultCalculator

from ovms_mp.graph.runner import CalculatorRunner


def run() -> CalculatorRunner:
    return CalculatorRunner(
        ValueOrDefaultCalculator,
        'calculator: "ValueOrDefaultCalculator" input_stream: "IN:in" '
        'input_stream: "TICK:tick" input_side_packet: "default" '
        'output_stream: "OUT:out" output_stream: "FLAG:flag"',
        side_packets={"default": "d"},
    )


def test_a_tick_without_a_value_has_the_default_and_a_flag():
    runner = run()
    runner.feed_all("tick", [(1, 0), (2, 0)])
    runner.feed("in", "v", at=2)
    assert runner.outputs == {"out": [(1, "d"), (2, "v")], "flag": [(1, True)]}
    assert runner.bounds["flag"] == 3


def test_a_value_without_a_tick_goes_nowhere():
    runner = run()
    runner.feed("in", "v", at=1)
    runner.advance("tick", 2)
    assert runner.outputs == {"out": [], "flag": []}
