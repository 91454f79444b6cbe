"""Laws of the Concatenate…VectorCalculators and Concatenate…ListCalculators."""

from __future__ import annotations

import numpy as np
import pytest
from ovms_mp_calculators.concatenate_vector import (
    ConcatenateListCalculator,
    ConcatenateVectorCalculator,
)
from ovms_mp_protos import graph

from ovms_mp.formats.landmark import LandmarkList, NormalizedLandmarkList
from ovms_mp.graph.runner import CalculatorRunner


def run(
    calculator: type[ConcatenateVectorCalculator] = ConcatenateVectorCalculator,
    options: str = "",
) -> CalculatorRunner:
    return CalculatorRunner(
        calculator,
        'calculator: "ConcatenateFloatVectorCalculator" '
        'input_stream: "a" input_stream: "b" output_stream: "out" options { '
        f"[mediapipe.ConcatenateVectorCalculatorOptions.ext] {{ {options} }} }}",
    )


def test_lists_are_joined_in_the_order_of_the_inputs():
    runner = run()
    runner.feed("b", [3], at=1)
    runner.feed("a", [1, 2], at=1)
    assert runner.outputs["out"] == [(1, [1, 2, 3])]


def test_what_is_no_list_is_an_item():
    runner = run()
    runner.feed("a", 1.5, at=1)
    runner.feed("b", [2.5], at=1)
    assert runner.outputs["out"] == [(1, [1.5, 2.5])]


@pytest.mark.parametrize(("all_of_them", "found"), [(False, [(1, [1])]), (True, [])])
def test_an_input_without_a_packet_adds_nothing_or_keeps_all_back(
    all_of_them: bool, found: object
):
    runner = run(options=f"only_emit_if_all_present: {str(all_of_them).lower()}")
    runner.feed("a", [1], at=1)
    runner.advance("b", 2)
    assert runner.outputs["out"] == found
    assert runner.bounds["out"] == 2


def test_messages_are_joined_to_one():
    def faces(*indices: int) -> graph.ClassificationList:
        found = [graph.Classification(index=index) for index in indices]
        return graph.ClassificationList(classification=found)

    runner = run(ConcatenateListCalculator)
    first = faces(1)
    runner.feed("a", first, at=1)
    runner.feed("b", faces(2, 3), at=1)
    assert runner.outputs["out"] == [(1, faces(1, 2, 3))]
    assert first == faces(1)


def test_a_message_that_is_no_list_fails_the_run():
    runner = run(ConcatenateListCalculator)
    runner.feed("a", graph.Landmark(x=1), at=1)
    runner.advance("b", 2)
    assert runner.error is not None


def test_landmarks_are_joined_and_what_is_not_known_of_some_is_zero():
    runner = run(ConcatenateListCalculator)
    one, two = np.ones((1, 3), np.float32), np.zeros((2, 3), np.float32)
    runner.feed("a", LandmarkList(one, visibility=np.ones(1, np.float32)), at=1)
    runner.feed("b", LandmarkList(two), at=1)
    ((_, found),) = runner.outputs["out"]
    assert isinstance(found, LandmarkList)
    assert found.points.tolist() == [[1] * 3, [0] * 3, [0] * 3]
    assert found.visibility is not None
    assert found.visibility.tolist() == [1, 0, 0]
    assert found.presence is None


def test_landmarks_of_different_kinds_are_not_joined():
    runner = run(ConcatenateListCalculator)
    points = np.ones((1, 3), np.float32)
    runner.feed("a", LandmarkList(points), at=1)
    runner.feed("b", NormalizedLandmarkList(points), at=1)
    assert runner.error is not None
    assert "expected LandmarkList, found NormalizedLandmarkList" in runner.error.text
