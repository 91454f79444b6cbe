"""Laws of the small calculators for lists: size, indices, clipping, merging."""

from __future__ import annotations

import pytest
from ovms_mp_calculators.clip_vector_size import ClipVectorSizeCalculator
from ovms_mp_calculators.merge_to_vector import MergeToVectorCalculator
from ovms_mp_calculators.vector_indices import VectorIndicesCalculator
from ovms_mp_calculators.vector_size import VectorSizeCalculator

from ovms_mp.calculator import Calculator
from ovms_mp.core.errors import ServingError
from ovms_mp.graph.runner import CalculatorRunner


def run(calculator: type[Calculator], ports: str, **sides: object) -> CalculatorRunner:
    name = calculator.__name__
    return CalculatorRunner(
        calculator, f'calculator: "{name}" {ports}', side_packets=sides
    )


@pytest.mark.parametrize("items", [[], ["a"], ["a", "b"]])
def test_the_size_of_a_list(items: list[str]):
    ports = 'input_stream: "VECTOR:in" output_stream: "SIZE:out"'
    runner = run(VectorSizeCalculator, ports)
    runner.feed("in", items, at=1)
    assert runner.outputs["out"] == [(1, len(items))]


@pytest.mark.parametrize(("items", "found"), [([], []), (["a", "b"], [0, 1])])
def test_the_indices_of_a_list(items: list[str], found: list[int]):
    ports = 'input_stream: "VECTOR:in" output_stream: "INDICES:out"'
    runner = run(VectorIndicesCalculator, ports)
    runner.feed("in", items, at=1)
    assert runner.outputs["out"] == [(1, found)]


def clip(size: int, ports: str = "", **sides: object) -> CalculatorRunner:
    return run(
        ClipVectorSizeCalculator,
        f'input_stream: "in" output_stream: "out" {ports} options {{ '
        f"[mediapipe.ClipVectorSizeCalculatorOptions.ext] {{ max_vec_size: {size} }} }}",
        **sides,
    )


@pytest.mark.parametrize(("size", "found"), [(1, [1]), (2, [1, 2]), (9, [1, 2, 3])])
def test_a_list_is_clipped(size: int, found: list[int]):
    runner = clip(size)
    runner.feed("in", [1, 2, 3], at=1)
    assert runner.outputs["out"] == [(1, found)]


def test_a_side_packet_says_where_to_clip():
    runner = clip(1, 'input_side_packet: "limit"', limit=2)
    runner.feed("in", [1, 2, 3], at=1)
    assert runner.outputs["out"] == [(1, [1, 2])]


def test_a_list_cannot_be_clipped_to_nothing():
    with pytest.raises(ServingError, match="max_vec_size 0 is less than 1"):
        clip(0)
    runner = clip(1, 'input_side_packet: "limit"', limit=0)
    runner.feed("in", [1], at=1)
    assert runner.error is not None


def test_packets_that_came_together_are_a_list():
    ports = 'input_stream: "a" input_stream: "b" output_stream: "out"'
    runner = run(MergeToVectorCalculator, ports)
    runner.feed("a", 1, at=1)
    runner.feed("b", 2, at=1)
    runner.feed("b", 3, at=2)
    runner.advance("a", 3)
    assert runner.outputs["out"] == [(1, [1, 2]), (2, [3])]
