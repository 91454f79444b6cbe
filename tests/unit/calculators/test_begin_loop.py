"""Laws of the BeginLoop…Calculators."""

from __future__ import annotations

import pytest
from ovms_mp_calculators.begin_loop import BeginLoopCalculator

from ovms_mp.core.errors import ServingError
from ovms_mp.graph.runner import CalculatorRunner

PORTS = (
    'input_stream: "ITERABLE:items" output_stream: "ITEM:item" '
    'output_stream: "BATCH_END:end" '
)
CLONE = 'input_stream: "CLONE:word" output_stream: "CLONE:words"'


def run(ports: str = "") -> CalculatorRunner:
    return CalculatorRunner(
        BeginLoopCalculator, f'calculator: "BeginLoopIntCalculator" {PORTS} {ports}'
    )


def test_items_leave_at_timestamps_of_their_own_and_the_last_with_the_lists_time():
    runner = run()
    runner.feed("items", ["a", "b"], at=100)
    runner.feed("items", ["c"], at=200)
    assert runner.outputs["item"] == [(0, "a"), (1, "b"), (2, "c")]
    assert runner.outputs["end"] == [(1, 100), (2, 200)]


def test_an_empty_list_takes_one_timestamp_which_has_its_end_alone():
    runner = run()
    runner.feed("items", [], at=100)
    assert runner.outputs == {"item": [], "end": [(0, 100)]}
    assert runner.bounds["item"] == 1
    runner.feed("items", ["a"], at=101)
    assert runner.outputs["item"] == [(1, "a")]


def test_a_bound_of_the_list_is_an_end_without_items():
    runner = run()
    runner.advance("items", 101)
    assert runner.outputs == {"item": [], "end": [(0, 100)]}


def test_clones_go_with_each_item():
    runner = run(CLONE)
    runner.feed("items", [1, 2], at=5)
    runner.feed("word", "w", at=5)
    assert runner.outputs["words"] == [(0, "w"), (1, "w")]


def test_where_there_is_nothing_to_clone_items_go_alone():
    runner = run(CLONE)
    runner.feed("items", [1, 2], at=5)
    runner.advance("word", 6)
    assert runner.outputs["item"] == [(0, 1), (1, 2)]
    assert runner.outputs["words"] == []


def test_a_clone_for_an_empty_list_goes_nowhere():
    runner = run(CLONE)
    runner.feed("items", [], at=5)
    runner.feed("word", "w", at=5)
    assert runner.outputs["words"] == []
    assert runner.bounds["words"] == 1


def test_a_tick_is_taken():
    runner = run('input_stream: "TICK:tick"')
    runner.feed("items", [1], at=5)
    runner.feed("tick", 0, at=5)
    assert runner.outputs["end"] == [(0, 5)]


def test_clones_without_a_partner_are_refused():
    with pytest.raises(ServingError, match="1 inputs CLONE and 0 outputs CLONE"):
        run('input_stream: "CLONE:word"')
