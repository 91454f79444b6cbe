"""Landmarks are made of tensors and moved as they are in MediaPipe."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from ovms_mp.core.errors import ServingError
from ovms_mp.formats.landmark import LandmarkList, NormalizedLandmarkList
from ovms_mp.formats.rect import NormalizedRect
from tests.vision.both import NativeGraphs, ours
from tests.vision.landmarks import (
    NORMALIZED,
    RECT,
    SIZED,
    TENSORS,
    WORLD,
    angles,
    checked,
    frame,
    lists,
    near,
    parts,
    sizes,
)

pytestmark = pytest.mark.timeout(600)

OURS = 'input_stream: "tensors"'


def both_of_tensor(
    native: NativeGraphs, rest: str, values: Any, kinds: dict[str, str]
) -> tuple[Any, Any]:
    """What a graph makes of a tensor, here and natively."""
    theirs = native.run(TENSORS + rest, [("matrix", values, 0)], kinds)
    return ours(OURS + rest, [("tensors", [values[None]], 0)]), theirs


@st.composite
def readings(draw: st.DrawFn) -> str:
    text = f"normalize_z: {draw(st.sampled_from([1.0, 0.4, -2.0]))} "
    for name in ("flip_vertically", "flip_horizontally"):
        text += f"{name}: {str(draw(st.booleans())).lower()} "
    for name in ("visibility_activation", "presence_activation"):
        text += f"{name}: {draw(st.sampled_from(['NONE', 'SIGMOID']))} "
    return text


@checked
@given(
    values=st.integers(1, 7).flatmap(
        lambda wide: arrays.arrays(
            np.float32, (5, wide), elements=st.floats(-300, 300, width=32)
        )
    ),
    count=st.integers(1, 5),
    text=readings(),
)
def test_a_tensor_becomes_the_native_landmarks(
    native: NativeGraphs, values: Any, count: int, text: str
):
    """Of any number of values for a landmark, with some left."""
    rest = f"""
      output_stream: "norm" output_stream: "world"
      node {{ calculator: "TensorsToLandmarksCalculator" input_stream: "TENSORS:tensors"
             output_stream: "NORM_LANDMARKS:norm" output_stream: "LANDMARKS:world"
             options {{ [mediapipe.TensorsToLandmarksCalculatorOptions.ext] {{
               num_landmarks: {count} input_image_width: 200 input_image_height: 90
               {text} }} }} }}
    """
    kinds = {"norm": NORMALIZED, "world": WORLD}
    mine, theirs = both_of_tensor(native, rest, values, kinds)
    near(mine["norm"][0], theirs["norm"][0])
    near(mine["world"][0], theirs["world"][0])


def test_what_flips_may_come_beside_the_tensors():
    pbtxt = """
      input_stream: "tensors" input_stream: "flip" output_stream: "out"
      node { calculator: "TensorsToLandmarksCalculator" input_stream: "TENSORS:tensors"
             input_stream: "FLIP_HORIZONTALLY:flip" output_stream: "LANDMARKS:out"
             options { [mediapipe.TensorsToLandmarksCalculatorOptions.ext] {
               num_landmarks: 1 input_image_width: 10 input_image_height: 10 } } }
    """
    values = [np.array([[3, 4]], np.float32)]
    events = [
        ("tensors", values, 0),
        ("flip", True, 0),
        ("tensors", values, 1),
        ("flip", False, 1),
    ]
    found = ours(pbtxt, events)["out"]
    assert [found[at].points.tolist() for at in (0, 1)] == [[[7, 4, 0]], [[3, 4, 0]]]


@pytest.mark.parametrize("activation", ["NONE", "SIGMOID"])
def test_numbers_of_a_tensor_are_the_native_ones(native: NativeGraphs, activation: str):
    options = f"""options {{ [mediapipe.TensorsToFloatsCalculatorOptions.ext] {{
      activation: {activation} }} }}"""
    for values, tag, kind in (
        (np.array([[-90, -0.5, 0, 100]], np.float32), "FLOATS", "floats"),
        (np.array([[0.75]], np.float32), "FLOAT", "float"),
    ):
        rest = f"""
          output_stream: "out"
          node {{ calculator: "TensorsToFloatsCalculator" input_stream: "TENSORS:tensors"
                 output_stream: "{tag}:out" {options} }}
        """
        mine, theirs = both_of_tensor(native, rest, values, {"out": kind})
        np.testing.assert_allclose(mine["out"][0], theirs["out"][0], atol=1e-7)


THRESHOLD = """
input_stream: "number" output_stream: "flag" output_stream: "accept"
output_stream: "reject"
node { calculator: "ThresholdingCalculator" input_stream: "FLOAT:number"
       output_stream: "FLAG:flag" output_stream: "ACCEPT:accept"
       output_stream: "REJECT:reject" options {
  [mediapipe.ThresholdingCalculatorOptions.ext] { threshold: 0.1 } } }
"""


def test_a_number_is_judged_as_natively(native: NativeGraphs):
    """The float32 next to a tenth is larger than it."""
    numbers = [0.0, float(np.float32(0.1)), 0.1 - 1e-6, float("nan"), 5.0]
    events = [("number", each, at) for at, each in enumerate(numbers)]
    kinds = {"flag": "bool", "accept": "bool", "reject": "bool"}
    theirs, mine = native.run(THRESHOLD, events, kinds), ours(THRESHOLD, events)
    for name in kinds:
        assert mine[name] == theirs[name]
    assert sum(mine["flag"].values()) == 2


def test_a_threshold_on_a_stream_holds_until_the_next():
    pbtxt = """
      input_stream: "number" input_stream: "threshold" output_stream: "flag"
      node { calculator: "ThresholdingCalculator" input_stream: "FLOAT:number"
             input_stream: "THRESHOLD:threshold" output_stream: "FLAG:flag" }
    """
    events = [("threshold", 0.5, 0), *(("number", 0.4, at) for at in range(3))]
    events += [("threshold", 0.3, 2)]
    assert ours(pbtxt, events)["flag"] == {0: False, 1: False, 2: True}


@checked
@given(landmarks=lists(), shape=sizes, rotation=angles)
def test_landmarks_move_with_a_letterbox_and_a_matrix_as_natively(
    native: NativeGraphs,
    landmarks: NormalizedLandmarkList,
    shape: tuple[int, int],
    rotation: float,
):
    pbtxt = """
      input_stream: "image" input_stream: "roi" input_stream: "landmarks"
      output_stream: "freed" output_stream: "moved"
      node { calculator: "ImageToTensorCalculator" input_stream: "IMAGE:image"
             input_stream: "NORM_RECT:roi" output_stream: "TENSORS:tensors"
             output_stream: "LETTERBOX_PADDING:padding" output_stream: "MATRIX:matrix"
             options { [mediapipe.ImageToTensorCalculatorOptions.ext] {
               output_tensor_width: 8 output_tensor_height: 8 keep_aspect_ratio: true
               output_tensor_float_range { min: 0 max: 1 } } } }
      node { calculator: "LandmarkLetterboxRemovalCalculator"
             input_stream: "LANDMARKS:0:landmarks" input_stream: "LANDMARKS:1:landmarks"
             input_stream: "LETTERBOX_PADDING:padding"
             output_stream: "LANDMARKS:0:freed" output_stream: "LANDMARKS:1:other" }
      node { calculator: "LandmarkProjectionCalculator"
             input_stream: "NORM_LANDMARKS:landmarks"
             input_stream: "PROJECTION_MATRIX:matrix"
             output_stream: "NORM_LANDMARKS:moved" }
    """
    roi = NormalizedRect(0.5, 0.25, 0.75, 0.5, rotation)
    events = [frame(shape), ("roi", roi, 0), ("landmarks", landmarks, 0)]
    kinds = {"freed": NORMALIZED, "moved": NORMALIZED}
    theirs, mine = native.run(pbtxt, events, kinds), ours(pbtxt, events)
    for name in kinds:
        near(mine[name][0], theirs[name][0], atol=1e-4)


@checked
@given(
    landmarks=lists(),
    rect=st.builds(NormalizedRect, parts, parts, parts, parts, angles),
    ignores=st.booleans(),
)
def test_landmarks_of_a_rect_become_those_of_the_image_as_natively(
    native: NativeGraphs,
    landmarks: NormalizedLandmarkList,
    rect: NormalizedRect,
    ignores: bool,
):
    pbtxt = f"""
      input_stream: "rect" input_stream: "landmarks" output_stream: "out"
      node {{ calculator: "LandmarkProjectionCalculator"
             input_stream: "NORM_LANDMARKS:landmarks" input_stream: "NORM_RECT:rect"
             output_stream: "NORM_LANDMARKS:out" options {{
        [mediapipe.LandmarkProjectionCalculatorOptions.ext] {{
          ignore_rotation: {str(ignores).lower()} }} }} }}
    """
    events = [("rect", rect, 0), ("landmarks", landmarks, 0)]
    theirs = native.run(pbtxt, events, {"out": NORMALIZED})["out"][0]
    near(ours(pbtxt, events)["out"][0], theirs)


def test_a_part_that_is_no_square_is_turned_in_pixels():
    """What came to MediaPipe after the wheel; a quarter of a turn, by hand."""
    pbtxt = """
      input_stream: "rect" input_stream: "size" input_stream: "landmarks"
      output_stream: "out"
      node { calculator: "LandmarkProjectionCalculator"
             input_stream: "NORM_LANDMARKS:landmarks" input_stream: "NORM_RECT:rect"
             input_stream: "IMAGE_DIMENSIONS:size" output_stream: "NORM_LANDMARKS:out" }
    """
    # 40 by 20 pixels in the middle of 100 by 50, turned clockwise.
    rect = NormalizedRect(0.5, 0.5, 0.4, 0.4, np.pi / 2)
    landmarks = NormalizedLandmarkList(np.array([[0, 0, 1], [1, 1, 0]], np.float32))
    events = [("rect", rect, 0), ("size", (100, 50), 0), ("landmarks", landmarks, 0)]
    found = ours(pbtxt, events)["out"][0]
    # The left top corner comes to the right top, the right bottom one to the left bottom.
    expected = [[0.6, 0.1, 0.8], [0.4, 0.9, 0]]
    np.testing.assert_allclose(found.points, expected, atol=1e-6)


@checked
@given(landmarks=lists(LandmarkList), rotation=angles)
def test_landmarks_in_metres_turn_as_natively(
    native: NativeGraphs, landmarks: LandmarkList, rotation: float
):
    pbtxt = """
      input_stream: "rect" input_stream: "landmarks" output_stream: "turned"
      output_stream: "left"
      node { calculator: "WorldLandmarkProjectionCalculator"
             input_stream: "LANDMARKS:landmarks" input_stream: "NORM_RECT:rect"
             output_stream: "LANDMARKS:turned" }
      node { calculator: "WorldLandmarkProjectionCalculator"
             input_stream: "LANDMARKS:landmarks" output_stream: "LANDMARKS:left" }
    """
    rect = NormalizedRect(0, 0, 1, 1, rotation)
    events = [("rect", rect, 0), ("landmarks", landmarks, 0)]
    kinds = {"turned": WORLD, "left": WORLD}
    theirs, mine = native.run(pbtxt, events, kinds), ours(pbtxt, events)
    for name in kinds:
        near(mine[name][0], theirs[name][0])


@checked
@given(landmarks=lists(count=21), shape=sizes)
def test_the_rect_of_a_hand_is_the_native_one(
    native: NativeGraphs, landmarks: NormalizedLandmarkList, shape: tuple[int, int]
):
    pbtxt = f"""{SIZED}
      input_stream: "landmarks" output_stream: "out"
      node {{ calculator: "HandLandmarksToRectCalculator"
             input_stream: "NORM_LANDMARKS:landmarks" input_stream: "IMAGE_SIZE:size"
             output_stream: "NORM_RECT:out" }}
    """
    events = [frame(shape), ("landmarks", landmarks, 0)]
    theirs = native.run(pbtxt, events, {"out": RECT})["out"][0]
    mine = ours(pbtxt, events)["out"][0]
    turn = (mine.rotation - theirs.rotation + np.pi) % (2 * np.pi) - np.pi
    assert abs(turn) < 1e-3
    for name in ("x_center", "y_center", "width", "height"):
        assert getattr(mine, name) == pytest.approx(
            getattr(theirs, name), abs=2e-4 * max(shape)
        ), name


NOTHING = 'output_stream: "out" node { calculator: "%s" %s output_stream: "%s:out" %s }'


@pytest.mark.parametrize(
    ("calculator", "inputs", "output", "options", "said"),
    [
        ("TensorsToLandmarksCalculator", "TENSORS", "LANDMARKS", "", "num_landmarks"),
        (
            "TensorsToLandmarksCalculator",
            "TENSORS",
            "NORM_LANDMARKS",
            "num_landmarks: 3",
            "input_image_width must be set",
        ),
        (
            "TensorsToLandmarksCalculator",
            "TENSORS",
            "LANDMARKS",
            "num_landmarks: 3 flip_vertically: true",
            "input_image_width must be set",
        ),
        (
            "LandmarkProjectionCalculator",
            "NORM_LANDMARKS",
            "NORM_LANDMARKS",
            "",
            "NORM_RECT or PROJECTION_MATRIX",
        ),
        (
            "LandmarksToDetectionCalculator",
            "NORM_LANDMARKS",
            "DETECTION",
            "selected_landmark_indices: -1",
            "0 or more",
        ),
    ],
)
def test_what_no_landmarks_can_be_made_of_is_refused(
    calculator: str, inputs: str, output: str, options: str, said: str
):
    given_options = f"options {{ [mediapipe.{calculator}Options.ext] {{ {options} }} }}"
    stream = f'input_stream: "{inputs}:in"'
    pbtxt = 'input_stream: "in"' + NOTHING % (calculator, stream, output, given_options)
    with pytest.raises(ServingError, match=said):
        ours(pbtxt, [])


READ = """
input_stream: "tensors" output_stream: "out"
node { calculator: "TensorsToLandmarksCalculator" input_stream: "TENSORS:tensors"
       output_stream: "LANDMARKS:out" options {
  [mediapipe.TensorsToLandmarksCalculatorOptions.ext] { num_landmarks: 21 } } }
"""


@pytest.mark.parametrize(
    ("tensors", "said"),
    [
        ([], "without tensors"),
        ([np.zeros((1, 20), np.float32)], r"shape \[1, 20\] has no values for 21"),
        ([np.zeros((1, 63), np.float64)], "float64; expected float32"),
        (["tensor"], "expected an array, found str"),
    ],
)
def test_another_model_is_told(tensors: list[Any], said: str):
    outcome = ours(READ, [("tensors", tensors, 0)])
    assert outcome.error is not None
    assert re.search(said, outcome.error)


def test_memory_is_taken_for_landmarks_that_come_not_for_those_of_the_options():
    most = (1 << 31) - 1
    every = READ.replace("num_landmarks: 21", f"num_landmarks: {most}")
    outcome = ours(every, [("tensors", [np.zeros((1, 63), np.float32)], 0)])
    assert outcome.error is not None
    assert f"has no values for {most} landmarks" in outcome.error
