"""Laws of the Get…VectorItemCalculators."""

from __future__ import annotations

import pytest
from ovms_mp_calculators.get_vector_item import GetVectorItemCalculator

from ovms_mp.core.errors import ServingError
from ovms_mp.graph.runner import CalculatorRunner

INDEX = 'input_stream: "INDEX:index"'


def run(options: str = "", ports: str = "") -> CalculatorRunner:
    return CalculatorRunner(
        GetVectorItemCalculator,
        'calculator: "GetDetectionVectorItemCalculator" input_stream: "VECTOR:in" '
        f'{ports} output_stream: "ITEM:out" options {{ '
        f"[mediapipe.GetVectorItemCalculatorOptions.ext] {{ {options} }} }}",
    )


def test_the_option_says_which_item():
    runner = run("item_index: 1")
    runner.feed("in", ["a", "b"], at=3)
    assert runner.outputs["out"] == [(3, "b")]


def test_the_stream_says_which_item_and_wins():
    runner = run("item_index: 1", INDEX)
    runner.feed("in", ["a", "b"], at=3)
    runner.feed("index", 0, at=3)
    assert runner.outputs["out"] == [(3, "a")]


def test_where_the_stream_says_nothing_the_option_does():
    runner = run("item_index: 1", INDEX)
    runner.feed("in", ["a", "b"], at=3)
    runner.advance("index", 4)
    assert runner.outputs["out"] == [(3, "b")]


def test_where_nobody_says_which_nothing_leaves():
    runner = run(ports=INDEX)
    runner.feed("in", ["a"], at=3)
    runner.feed("index", 0, at=4)
    runner.advance("in", 5)
    assert runner.outputs["out"] == []
    assert runner.bounds["out"] == 5
    assert runner.error is None


@pytest.mark.parametrize(
    ("index", "options", "is_error"),
    [
        (2, "", True),
        (-1, "", True),
        (2, "output_empty_on_oob: true", False),
        (-1, "output_empty_on_oob: true", True),
    ],
)
def test_an_index_outside_of_the_list(index: int, options: str, is_error: bool):
    runner = run(options, INDEX)
    runner.feed("in", ["a", "b"], at=3)
    runner.feed("index", index, at=3)
    assert runner.outputs["out"] == []
    assert (runner.error is not None) == is_error


def test_a_node_that_nothing_tells_which_item_is_refused():
    with pytest.raises(ServingError, match="INDEX or the option `item_index`"):
        run()
