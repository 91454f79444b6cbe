"""Laws of the EndLoop…Calculators."""

from __future__ import annotations

from ovms_mp_calculators.end_loop import EndLoopCalculator

from ovms_mp.graph.runner import CalculatorRunner
from tests.unit.calculators.support import GraphOf


def run() -> CalculatorRunner:
    return CalculatorRunner(
        EndLoopCalculator,
        'calculator: "EndLoopFloatCalculator" input_stream: "ITEM:item" '
        'input_stream: "BATCH_END:end" output_stream: "ITERABLE:items"',
    )


def test_items_become_a_list_at_the_timestamp_of_their_end():
    runner = run()
    runner.feed_all("item", [(0, "a"), (1, "b"), (2, "c")])
    runner.feed_all("end", [(1, 100), (2, 200)])
    assert runner.outputs["items"] == [(100, ["a", "b"]), (200, ["c"])]


def test_an_end_without_items_moves_the_bound():
    runner = run()
    runner.advance("item", 1)
    runner.feed("end", 100, at=0)
    assert runner.outputs["items"] == []
    assert runner.bounds["items"] == 101


def test_items_without_an_end_are_dropped():
    runner = run()
    runner.feed("item", "a", at=0)
    runner.close()
    assert runner.outputs["items"] == []
    assert runner.error is None


def test_a_loop_in_a_graph_keeps_time_for_whoever_joins_its_result():
    graph = GraphOf(
        """
        input_stream: "items" output_stream: "both" output_stream: "items_too"
        node { calculator: "BeginLoopIntCalculator" input_stream: "ITERABLE:items"
               output_stream: "ITEM:item" output_stream: "BATCH_END:end" }
        node { calculator: "EndLoopFloatCalculator" input_stream: "ITEM:item"
               input_stream: "BATCH_END:end" output_stream: "ITERABLE:again" }
        node { calculator: "PassThroughCalculator"
               input_stream: "again" input_stream: "items"
               output_stream: "both" output_stream: "items_too" }
        """
    )
    graph.start()
    graph.feed("items", [1, 2], at=10)
    graph.feed("items", [], at=20)
    assert graph.outputs["both"] == [(10, [1, 2])]
    assert graph.outputs["items_too"] == [(10, [1, 2]), (20, [])]
