"""Laws of EndItemLoopCalculator."""

from __future__ import annotations

from ovms_mp_calculators.end_item_loop import EndItemLoopCalculator

from ovms_mp.graph.runner import CalculatorRunner


def run() -> CalculatorRunner:
    return CalculatorRunner(
        EndItemLoopCalculator,
        'calculator: "EndItemLoopCalculator" input_stream: "ITEM:item" '
        'input_stream: "BATCH_END:end" '
        'output_stream: "ITEM:0:a" output_stream: "ITEM:1:b"',
    )


def test_items_go_to_the_outputs_in_order():
    runner = run()
    runner.feed_all("item", [(0, 1), (1, 2)])
    runner.advance("end", 1)
    runner.feed("end", 50, at=1)
    assert runner.outputs == {"a": [(50, 1)], "b": [(50, 2)]}


def test_an_end_without_items_moves_all_bounds():
    runner = run()
    runner.advance("item", 1)
    runner.feed("end", 50, at=0)
    assert runner.bounds == {"a": 51, "b": 51}


def test_too_few_items_fail_the_run():
    runner = run()
    runner.feed("item", 1, at=0)
    runner.feed("end", 50, at=0)
    assert runner.error is not None
    assert "1 items came for 2 outputs" in runner.error.text
