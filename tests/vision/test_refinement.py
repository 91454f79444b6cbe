"""Landmarks of parts take their places in the whole as they do natively."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from ovms_mp.core.errors import ServingError
from ovms_mp.formats.landmark import NormalizedLandmarkList
from tests.vision.both import NativeGraphs, ours
from tests.vision.landmarks import NORMALIZED, checked, near, parts

pytestmark = pytest.mark.timeout(600)


def refining(refinements: list[tuple[list[int], str]]) -> str:
    """A graph that takes a list for each refinement: where its landmarks go, and z."""
    names = [f"list_{number}" for number in range(len(refinements))]
    told = "".join(
        f"refinement {{ indexes_mapping: {places} z_refinement {{ {z} }} }}\n"
        for places, z in refinements
    )
    return (
        "".join(f'input_stream: "{name}" ' for name in names)
        + 'output_stream: "out" node { calculator: "LandmarksRefinementCalculator" '
        + "".join(f'input_stream: "LANDMARKS:{n}:{e}" ' for n, e in enumerate(names))
        + 'output_stream: "REFINED_LANDMARKS:out" options { '
        + "[mediapipe.LandmarksRefinementCalculatorOptions.ext] { "
        + told
        + "} } }"
    )


def points(count: int) -> st.SearchStrategy[NormalizedLandmarkList]:
    return arrays.arrays(np.float32, (count, 3), elements=parts).map(
        NormalizedLandmarkList
    )


@st.composite
def cases(draw: st.DrawFn) -> tuple[str, list[NormalizedLandmarkList]]:
    """Lists of which the first covers the whole, and others some of it, perhaps twice."""
    count = draw(st.integers(1, 6))
    indexes = st.integers(0, count - 1)
    refinements: list[tuple[list[int], str]] = []
    for number in range(draw(st.integers(1, 4))):
        places = (
            draw(st.permutations(range(count)))
            if number == 0
            else draw(st.lists(indexes, min_size=1, max_size=7))
        )
        some = draw(st.lists(indexes, min_size=1, max_size=7))
        averaged = f"assign_average {{ indexes_for_average: {some} }}"
        z = draw(st.sampled_from(["none {}", "copy {}", averaged]))
        refinements.append((list(places), z))
    given = [draw(points(len(places))) for places, _ in refinements]
    return refining(refinements), given


@checked
@given(case=cases())
def test_refined_landmarks_are_the_native_ones(
    native: NativeGraphs, case: tuple[str, list[NormalizedLandmarkList]]
):
    pbtxt, given = case
    events = [(f"list_{number}", each, 0) for number, each in enumerate(given)]
    theirs = native.run(pbtxt, events, {"out": NORMALIZED})["out"][0]
    near(ours(pbtxt, events)["out"][0], theirs, atol=1e-6)


def listed(*rows: tuple[float, float, float], **known: Any) -> NormalizedLandmarkList:
    return NormalizedLandmarkList(np.array(rows, np.float32), **known)


def test_a_part_is_where_it_is_told_and_as_deep():
    """By hand: the second list moves landmark 1 and adds 3, both as deep as 0 and 2."""
    pbtxt = refining(
        [
            ([0, 1, 2], "copy {}"),
            ([3, 1], "assign_average { indexes_for_average: [0, 2] }"),
        ]
    )
    ones = np.ones(3, np.float32)
    whole = listed((1, 2, 3), (4, 5, 6), (7, 8, 10), visibility=ones, presence=ones)
    events = [("list_0", whole, 0), ("list_1", listed((11, 12, 13), (14, 15, 16)), 0)]
    found = ours(pbtxt, events)["out"][0]
    expected = [[1, 2, 3], [14, 15, 6.5], [7, 8, 10], [11, 12, 6.5]]
    assert found.points.tolist() == expected
    assert (found.visibility, found.presence) == (None, None)


def test_nothing_is_refined_without_all_lists():
    pbtxt = refining([([0], "copy {}"), ([0], "none {}")])
    assert ours(pbtxt, [("list_0", listed((1, 2, 3)), 0)])["out"] == {}


def test_a_list_of_another_length_is_told():
    pbtxt = refining([([0, 1], "copy {}")])
    outcome = ours(pbtxt, [("list_0", listed((1, 2, 3)), 0)])
    assert "1 refinement landmarks while mapping has 2" in str(outcome.error)


@pytest.mark.parametrize(
    ("refinements", "said"),
    [
        ([([1, 2], "copy {}")], "0, 1, 2 and so on"),
        ([([0, 2], "copy {}")], "0, 1, 2 and so on"),
        ([([0, -1], "copy {}")], "0, 1, 2 and so on"),
        ([([0], "copy {}"), ([], "copy {}")], "Refinement 1 has no indexes mapping"),
        ([([0], "")], "Refinement 0 has no Z refinement"),
        ([([0], "assign_average {}")], "no indexes_for_average"),
        (
            [([0], "assign_average { indexes_for_average: 1 }")],
            "landmarks that there are not",
        ),
    ],
)
def test_options_that_contradict_themselves_are_refused(
    refinements: list[tuple[list[int], str]], said: str
):
    with pytest.raises(ServingError, match=said):
        ours(refining(refinements), [])


def test_there_is_a_refinement_for_each_list():
    pbtxt = refining([([0], "copy {}"), ([0], "none {}")])
    pbtxt = pbtxt.replace('input_stream: "LANDMARKS:1:list_1" ', "")
    with pytest.raises(ServingError, match="2 refinements while 1 landmark streams"):
        ours(pbtxt, [])
