"""What is followed from frame to frame is followed as it is in MediaPipe."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from ovms_mp.core.errors import ServingError
from ovms_mp.formats.detection import Box, Detection
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

sides = st.floats(0.125, 1, width=32)
rects = st.builds(NormalizedRect, parts, parts, sides, sides, angles)


@checked
@given(landmarks=lists(), chosen=st.booleans())
def test_the_box_around_landmarks_is_the_native_one(
    native: NativeGraphs, landmarks: NormalizedLandmarkList, chosen: bool
):
    pbtxt = f"""
      input_stream: "landmarks" output_stream: "out"
      node {{ calculator: "LandmarksToDetectionCalculator"
             input_stream: "NORM_LANDMARKS:landmarks" output_stream: "DETECTION:out"
             options {{ [mediapipe.LandmarksToDetectionCalculatorOptions.ext] {{
               {f"selected_landmark_indices: [{len(landmarks) - 1}, 0]" if chosen else ""}
             }} }} }}
    """
    events = [("landmarks", landmarks, 0)]
    kinds = {"out": "proto:mediapipe.Detection"}
    theirs = native.run(pbtxt, events, kinds)["out"][0]
    mine = ours(pbtxt, events)["out"][0]
    np.testing.assert_allclose(mine.box, theirs.box, atol=1e-6)
    np.testing.assert_allclose(mine.keypoints, theirs.keypoints)
    assert mine.format is theirs.format


@checked
@given(points=arrays.arrays(np.float32, (3, 2), elements=parts), shape=sizes)
def test_the_rect_of_a_poses_hand_is_the_native_one(
    native: NativeGraphs, points: Any, shape: tuple[int, int]
):
    wrist, little, index = points.astype(np.float64)
    if np.allclose((2 * index + little) / 3, wrist, atol=1e-3):
        return  # a line without a direction
    pbtxt = f"""{SIZED}
      input_stream: "detection" output_stream: "out"
      node {{ calculator: "HandDetectionsFromPoseToRectsCalculator"
             input_stream: "DETECTION:detection" input_stream: "IMAGE_SIZE:size"
             output_stream: "NORM_RECT:out" }}
    """
    detection = Detection(Box(0, 0, 1, 1), keypoints=points)
    events = [frame(shape), ("detection", detection, 0)]
    theirs = native.run(pbtxt, events, {"out": RECT})["out"][0]
    mine = ours(pbtxt, events)["out"][0]
    turn = (mine.rotation - theirs.rotation + np.pi) % (2 * np.pi) - np.pi
    assert abs(turn) < 1e-2
    for name in ("x_center", "y_center", "width", "height"):
        expected = pytest.approx(getattr(theirs, name), abs=1e-4, rel=1e-4)
        assert getattr(mine, name) == expected, name


# Python cannot make a vector of rects for native code; loops can.
GATHERED = """
input_stream: "one_%d" input_stream: "numbers_%d"
node { calculator: "BeginLoopIntCalculator" input_stream: "ITERABLE:numbers_%d"
       output_stream: "ITEM:number_%d" output_stream: "BATCH_END:end_%d" }
node { calculator: "EndLoopNormalizedRectCalculator" input_stream: "ITEM:one_%d"
       input_stream: "BATCH_END:end_%d" output_stream: "ITERABLE:rects_%d" }
"""


def gathered(place: int, found: Sequence[NormalizedRect]) -> list[Any]:
    """They come as a vector, at timestamp 0."""
    numbers = list(range(len(found)))
    events = [(f"one_{place}", found[at], at) for at in numbers]
    return [(f"numbers_{place}", numbers, 0), *events]


@checked
@given(
    first=st.lists(rects, min_size=1, max_size=4),
    second=st.lists(rects, min_size=1, max_size=4),
    threshold=st.sampled_from([0.0, 0.1, 0.5, 1.0]),
)
def test_the_rects_stay_that_stay_natively(
    native: NativeGraphs,
    first: list[NormalizedRect],
    second: list[NormalizedRect],
    threshold: float,
):
    pbtxt = f"""{GATHERED % ((0,) * 8)} {GATHERED % ((1,) * 8)}
      output_stream: "out"
      node {{ calculator: "AssociationNormRectCalculator" input_stream: "rects_0"
             input_stream: "rects_1" output_stream: "out" options {{
        [mediapipe.AssociationCalculatorOptions.ext] {{
          min_similarity_threshold: {threshold} }} }} }}
    """
    events = [*gathered(0, first), *gathered(1, second)]
    theirs = native.run(pbtxt, events, {"out": "protos:mediapipe.NormalizedRect"})
    assert ours(pbtxt, events)["out"] == theirs["out"]


def test_detections_inherit_a_name():
    """By hand: the wheel has only rects."""
    pbtxt = """
      input_stream: "old" input_stream: "new" input_stream: "last" output_stream: "out"
      node { calculator: "AssociationDetectionCalculator" input_stream: "old"
             input_stream: "new" input_stream: "PREV:last" output_stream: "out" options {
        [mediapipe.AssociationCalculatorOptions.ext] { min_similarity_threshold: 0.5 } } }
    """
    left, right = Box(0, 0, 0.25, 0.25), Box(0.5, 0, 0.25, 0.25)
    old = Detection(left, detection_id=7)
    new, other = Detection(left), Detection(right)
    last = Detection(right, detection_id=9)
    events = [("old", [old], 0), ("new", [new, other], 0), ("last", [last], 0)]
    kept = ours(pbtxt, events)["out"][0]
    assert [(each.box, each.detection_id) for each in kept] == [(left, 7), (right, 9)]


@st.composite
def requirements(draw: st.DrawFn) -> str:
    text = ""
    if draw(st.booleans()):
        text += f"iou_requirements {{ min_iou: {draw(st.sampled_from([0.1, 0.6]))} }} "
    if draw(st.booleans()):
        text += (
            "rect_requirements { rotation_degrees: 30 translation: 0.25 scale: 0.5 } "
        )
    if draw(st.booleans()):
        margin = draw(st.sampled_from([-0.2, 0.0, 0.5]))
        text += f"landmarks_requirements {{ recrop_rect_margin: {margin} }} "
    return text


nearby = st.floats(-0.25, 0.25, width=32)


@checked
@given(
    landmarks=lists(),
    rect=rects,
    moved=st.tuples(nearby, nearby, nearby, nearby, st.floats(-1, 1, width=32)),
    shape=st.tuples(*[st.integers(20, 60)] * 2),
    text=requirements(),
)
@example(  # apart
    landmarks=NormalizedLandmarkList(np.zeros((1, 3), np.float32)),
    rect=NormalizedRect(0.0, 0.0, 0.25, 0.25, 0.0),
    moved=(0.0, 0.5, 0.0, 0.0, 0.0),
    shape=(32, 64),
    text="iou_requirements { min_iou: 0.6 }",
)
@example(  # and touching
    landmarks=NormalizedLandmarkList(np.zeros((1, 3), np.float32)),
    rect=NormalizedRect(0.0, 0.0, 0.25, 0.25, 0.0),
    moved=(0.001, 0.25, 0.0, 0.0, 0.0),
    shape=(32, 64),
    text="iou_requirements { min_iou: 0.1 }",
)
def test_the_rect_is_followed_that_is_followed_natively(
    native: NativeGraphs,
    *,
    landmarks: NormalizedLandmarkList,
    rect: NormalizedRect,
    moved: tuple[float, ...],
    shape: tuple[int, int],
    text: str,
):
    pbtxt = f"""{SIZED}
      input_stream: "landmarks" input_stream: "last" input_stream: "new"
      output_stream: "out"
      node {{ calculator: "RoiTrackingCalculator"
             input_stream: "PREV_LANDMARKS:landmarks"
             input_stream: "PREV_LANDMARKS_RECT:last" input_stream: "RECROP_RECT:new"
             input_stream: "IMAGE_SIZE:size" output_stream: "TRACKING_RECT:out" options {{
        [mediapipe.RoiTrackingCalculatorOptions.ext] {{ {text} }} }} }}
    """
    x, y, width, height, turn = moved
    new = NormalizedRect(
        rect.x_center + x,
        rect.y_center + y,
        rect.width * (1 + width),
        rect.height * (1 + height),
        rect.rotation + turn,
    )
    # Around the middle of the new one, so that they are inside as often as not.
    points = landmarks.points * 0.25 + [new.x_center - 0.125, new.y_center - 0.125, 0]
    landmarks = replace(landmarks, points=points.astype(np.float32))
    events = [
        frame(shape),
        ("landmarks", landmarks, 0),
        ("last", rect, 0),
        ("new", new, 0),
    ]
    theirs = native.run(pbtxt, events, {"out": RECT})["out"][0]
    mine = ours(pbtxt, events)["out"][0]
    assert mine.x_center == pytest.approx(theirs.x_center)
    assert mine.rotation == pytest.approx(theirs.rotation)


@checked
@given(
    heat=arrays.arrays(np.float32, (6, 7), elements=st.floats(-4, 4, width=32)),
    landmarks=lists(count=1),
    kernel=st.sampled_from([1, 2, 3, 7]),
    least=st.sampled_from([0.1, 0.5, 0.9]),
)
def test_landmarks_go_to_where_it_is_hottest_as_natively(
    native: NativeGraphs,
    heat: Any,
    landmarks: NormalizedLandmarkList,
    kernel: int,
    least: float,
):
    rest = f"""
      input_stream: "landmarks" output_stream: "out"
      node {{ calculator: "RefineLandmarksFromHeatmapCalculator"
             input_stream: "NORM_LANDMARKS:landmarks" input_stream: "TENSORS:tensors"
             output_stream: "NORM_LANDMARKS:out" options {{
        [mediapipe.RefineLandmarksFromHeatmapCalculatorOptions.ext] {{
          kernel_size: {kernel} min_confidence_to_refine: {least}
          refine_presence: true refine_visibility: true }} }} }}
    """
    both = [("landmarks", landmarks, 0)]
    theirs = native.run(
        TENSORS + rest, [("matrix", heat, 0), *both], {"out": NORMALIZED}
    )
    tensors = [heat.reshape(1, 6, 7, 1)]
    mine = ours('input_stream: "tensors"' + rest, [("tensors", tensors, 0), *both])
    near(mine["out"][0], theirs["out"][0], atol=1e-5)


def test_each_landmark_has_its_layer_of_a_heatmap():
    """All at once as one by one."""
    pbtxt = """
      input_stream: "landmarks" input_stream: "tensors" output_stream: "out"
      node { calculator: "RefineLandmarksFromHeatmapCalculator"
             input_stream: "NORM_LANDMARKS:landmarks" input_stream: "TENSORS:tensors"
             output_stream: "NORM_LANDMARKS:out" options {
        [mediapipe.RefineLandmarksFromHeatmapCalculatorOptions.ext] { kernel_size: 5 } } }
    """
    random = np.random.default_rng(5)
    points = random.uniform(-0.2, 1.2, (9, 3)).astype(np.float32)
    points[3, 0] = np.nan
    heat = random.normal(size=(1, 8, 10, 9)).astype(np.float32)
    events: list[Any] = [
        ("landmarks", NormalizedLandmarkList(points), 0),
        ("tensors", [heat], 0),
    ]
    for place in range(9):
        one = NormalizedLandmarkList(points[place : place + 1])
        events += [
            ("landmarks", one, place + 1),
            ("tensors", [heat[..., place : place + 1]], place + 1),
        ]
    found = ours(pbtxt, events)["out"]
    each = np.concatenate([found[place + 1].points for place in range(9)])
    np.testing.assert_array_equal(found[0].points, each)
    assert np.sum(each[:, :2] != points[:, :2]) > 5
    wrong = ours(pbtxt, [events[0], ("tensors", [heat[..., :8]], 0)])
    assert "[1, 8, 10, 8]; expected [1, height, width, 9]" in str(wrong.error)


@pytest.mark.parametrize("copies", [(True, True), (True, False), (False, True)])
@checked
@given(known=lists(count=3), landmarks=lists(LandmarkList, count=4))
def test_visibility_is_copied_as_natively(
    native: NativeGraphs,
    *,
    copies: tuple[bool, bool],
    known: NormalizedLandmarkList,
    landmarks: LandmarkList,
):
    visibility, presence = (str(each).lower() for each in copies)
    pbtxt = f"""
      input_stream: "known" input_stream: "landmarks" output_stream: "out"
      node {{ calculator: "VisibilityCopyCalculator"
             input_stream: "NORM_LANDMARKS_FROM:known"
             input_stream: "LANDMARKS_TO:landmarks" output_stream: "LANDMARKS_TO:out"
             options {{ [mediapipe.VisibilityCopyCalculatorOptions.ext] {{
               copy_visibility: {visibility} copy_presence: {presence} }} }} }}
    """
    events = [("known", known, 0), ("landmarks", landmarks, 0)]
    theirs = native.run(pbtxt, events, {"out": WORLD})["out"][0]
    near(ours(pbtxt, events)["out"][0], theirs)


def test_the_visibility_of_one_landmark_is_told_and_set():
    pbtxt = """
      input_stream: "landmarks" input_stream: "told" output_stream: "out"
      output_stream: "changed"
      node { calculator: "LandmarkVisibilityCalculator"
             input_stream: "NORM_LANDMARKS:landmarks" output_stream: "VISIBILITY:out" }
      node { calculator: "SetLandmarkVisibilityCalculator"
             input_stream: "NORM_LANDMARKS:landmarks" input_stream: "VISIBILITY:told"
             output_stream: "NORM_LANDMARKS:changed" }
    """
    one = NormalizedLandmarkList(np.ones((1, 3), np.float32))
    seen = replace(one, visibility=np.array([0.25], np.float32))
    events = [("landmarks", one, 0), ("told", 100.0, 0), ("landmarks", seen, 1)]
    found = ours(pbtxt, events)
    assert found["out"] == {0: 0.0, 1: 0.25}
    assert [each.visibility.tolist() for each in found["changed"].values()] == [[100]]
    two = NormalizedLandmarkList(np.ones((2, 3), np.float32))
    assert "expected one landmark, found 2" in str(
        ours(pbtxt, [("landmarks", two, 0)]).error
    )


@checked
@given(rotation=angles, shape=sizes)
def test_a_matrix_and_its_inverse_lead_nowhere(rotation: float, shape: tuple[int, int]):
    pbtxt = """
      input_stream: "matrix" output_stream: "inverse"
      node { calculator: "InverseMatrixCalculator" input_stream: "MATRIX:matrix"
             output_stream: "MATRIX:inverse" }
    """
    cos, sin = np.cos(rotation), np.sin(rotation)
    wide, high = shape
    matrix = np.array(
        [
            [cos * wide, -sin, 0, 3],
            [sin, cos * high + 2, 0, 4],
            [0, 0, wide, 0],
            [0, 0, 0, 1],
        ],
        np.float32,
    )
    if abs(np.linalg.det(matrix.astype(float))) < 1e-3:
        return
    inverse = ours(pbtxt, [("matrix", matrix, 0)])["inverse"][0]
    np.testing.assert_allclose(matrix.astype(float) @ inverse, np.eye(4), atol=1e-2)
    flat = np.zeros((4, 4), np.float32)
    assert "has no inverse" in str(ours(pbtxt, [("matrix", flat, 0)]).error)


@pytest.mark.parametrize(("count", "least", "enough"), [(2, 2, True), (0, 1, False)])
def test_a_list_is_long_enough_or_not(count: int, least: int, enough: bool):
    pbtxt = f"""
      input_stream: "items" output_stream: "out"
      node {{ calculator: "NormalizedRectVectorHasMinSizeCalculator"
             input_stream: "ITERABLE:items" output_stream: "out" options {{
        [mediapipe.CollectionHasMinSizeCalculatorOptions.ext] {{ min_size: {least} }}
      }} }}
    """
    assert ours(pbtxt, [("items", [None] * count, 0)])["out"] == {0: enough}
    with pytest.raises(ServingError, match="less than 0"):
        ours(pbtxt.replace(f"min_size: {least}", "min_size: -1"), [])
