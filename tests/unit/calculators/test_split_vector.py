"""Laws of the Split…VectorCalculators and Split…ListCalculators."""

from __future__ import annotations

import numpy as np
import pytest
from ovms_mp_calculators.split_vector import (
    MovingSplitVectorCalculator,
    SplitListCalculator,
    SplitVectorCalculator,
)
from ovms_mp_protos import graph

from ovms_mp.core.errors import ServingError
from ovms_mp.formats.landmark import NormalizedLandmarkList
from ovms_mp.graph.runner import CalculatorRunner


def run(
    options: str,
    outputs: int = 2,
    calculator: type[SplitVectorCalculator] = SplitVectorCalculator,
) -> CalculatorRunner:
    streams = " ".join(f'output_stream: "out{n}"' for n in range(outputs))
    return CalculatorRunner(
        calculator,
        f'calculator: "SplitFloatVectorCalculator" input_stream: "in" {streams} '
        f"options {{ [mediapipe.SplitVectorCalculatorOptions.ext] {{ {options} }} }}",
    )


def ranges(*pairs: tuple[int, int]) -> str:
    return " ".join(f"ranges {{ begin: {begin} end: {end} }}" for begin, end in pairs)


def test_each_output_has_the_items_of_its_range():
    runner = run(ranges((0, 1), (1, 4)))
    runner.feed("in", [0, 1, 2, 3, 4], at=1)
    assert runner.outputs == {"out0": [(1, [0])], "out1": [(1, [1, 2, 3])]}


def test_ranges_may_overlap():
    runner = run(ranges((0, 2), (1, 3)))
    runner.feed("in", [0, 1, 2], at=1)
    assert runner.outputs == {"out0": [(1, [0, 1])], "out1": [(1, [1, 2])]}


def test_elements_leave_without_a_list_around_them():
    runner = run(ranges((2, 3), (0, 1)) + " element_only: true")
    runner.feed("in", ["a", "b", "c"], at=1)
    assert runner.outputs == {"out0": [(1, "c")], "out1": [(1, "a")]}


def test_combined_ranges_are_one_list():
    runner = run(ranges((3, 5), (0, 1)) + " combine_outputs: true", outputs=1)
    runner.feed("in", [0, 1, 2, 3, 4], at=1)
    assert runner.outputs == {"out0": [(1, [3, 4, 0])]}


def test_a_list_that_is_too_short_fails_the_run():
    runner = run(ranges((0, 1), (1, 4)))
    runner.feed("in", [0, 1, 2], at=1)
    assert runner.error is not None
    assert "a list of 3 items has no range that ends at 4" in runner.error.text


def test_bounds_go_on():
    runner = run(ranges((0, 1), (1, 4)))
    runner.advance("in", 10)
    assert runner.bounds == {"out0": 10, "out1": 10}


def landmarks(*xs: float) -> graph.NormalizedLandmarkList:
    return graph.NormalizedLandmarkList(
        landmark=[graph.NormalizedLandmark(x=x) for x in xs]
    )


def test_a_message_is_split_into_messages():
    runner = run(ranges((0, 1), (1, 3)), calculator=SplitListCalculator)
    runner.feed("in", landmarks(0, 1, 2), at=1)
    assert runner.outputs["out0"] == [(1, landmarks(0))]
    assert runner.outputs["out1"] == [(1, landmarks(1, 2))]


def test_elements_and_combinations_of_messages():
    whole = landmarks(0, 1, 2)
    runner = run(
        ranges((1, 2)) + " element_only: true", 1, calculator=SplitListCalculator
    )
    runner.feed("in", whole, at=1)
    assert runner.outputs["out0"] == [(1, whole.landmark[1])]
    runner = run(
        ranges((2, 3), (0, 1)) + " combine_outputs: true", 1, SplitListCalculator
    )
    runner.feed("in", whole, at=1)
    assert runner.outputs["out0"] == [(1, landmarks(2, 0))]


@pytest.mark.parametrize(
    ("options", "outputs", "reason"),
    [
        (ranges((0, 1)), 2, "an output for each of `ranges`: 1, not 2"),
        (ranges((-1, 1)), 1, "0 <= begin < end"),
        (ranges((1, 1)), 1, "0 <= begin < end"),
        (ranges((0, 2)) + " element_only: true", 1, "has one item"),
        (ranges((0, 2)) + " combine_outputs: true", 2, "one output, not 2"),
        (ranges((0, 2), (1, 3)) + " combine_outputs: true", 1, "`ranges` overlap"),
        (ranges((-2, -1)) + " combine_outputs: true", 1, "0 <= begin <= end"),
    ],
)
def test_ranges_that_do_not_fit_are_refused(options: str, outputs: int, reason: str):
    with pytest.raises(ServingError) as caught:
        run(options, outputs)
    assert reason in caught.value.text


def test_where_items_are_moved_ranges_may_not_overlap():
    with pytest.raises(ServingError, match="overlap"):
        run(ranges((0, 2), (1, 3)), calculator=MovingSplitVectorCalculator)


def points(*xs: float, visible: bool = False) -> NormalizedLandmarkList:
    array = np.array([(x, 0, 0) for x in xs], np.float32)
    return NormalizedLandmarkList(array, array[:, 0] if visible else None)


def test_landmarks_are_split_into_landmarks_with_all_that_is_known_of_them():
    runner = run(ranges((0, 1), (1, 3)), calculator=SplitListCalculator)
    runner.feed("in", points(0, 1, 2, visible=True), at=1)
    ((_, first),), ((_, rest),) = runner.outputs["out0"], runner.outputs["out1"]
    assert isinstance(first, NormalizedLandmarkList)
    assert isinstance(rest, NormalizedLandmarkList)
    assert first.points[:, 0].tolist() == [0]
    assert rest.points[:, 0].tolist() == [1, 2]
    assert rest.visibility is not None
    assert rest.visibility.tolist() == [1, 2]
    assert rest.presence is None


def test_combinations_of_landmarks():
    runner = run(
        ranges((2, 3), (0, 1)) + " combine_outputs: true", 1, SplitListCalculator
    )
    runner.feed("in", points(0, 1, 2), at=1)
    ((_, found),) = runner.outputs["out0"]
    assert found.points[:, 0].tolist() == [2, 0]
