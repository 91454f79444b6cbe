"""What trembles is smoothed as it is in MediaPipe, frame after frame."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from ovms_mp.core.errors import ServingError
from ovms_mp.core.image import ImageFormat, ImageFrame
from ovms_mp.formats.landmark import LandmarkList, NormalizedLandmarkList
from ovms_mp.formats.rect import NormalizedRect
from tests.vision.both import NativeGraphs, ours
from tests.vision.landmarks import (
    NORMALIZED,
    SIZED,
    WORLD,
    checked,
    frame,
    near,
    parts,
)

pytestmark = pytest.mark.timeout(600)

scores = st.floats(0, 1, width=32)


@st.composite
def videos(draw: st.DrawFn) -> list[tuple[int, Any, Any]]:
    """Timestamps, points of three landmarks, and how visible they are."""
    steps = draw(st.lists(st.integers(1, 200_000), min_size=2, max_size=8))
    at = draw(st.integers(0, 2))
    frames: list[tuple[int, Any, Any]] = []
    for step in steps:
        points = draw(arrays.arrays(np.float32, (3, 3), elements=parts))
        visible = draw(arrays.arrays(np.float32, 3, elements=scores))
        frames.append((at, points, visible))
        at += step
    return frames


@st.composite
def filters(draw: st.DrawFn) -> str:
    scaling = f"disable_value_scaling: {str(draw(st.booleans())).lower()}"
    if draw(st.booleans()):
        window = draw(st.sampled_from([1, 5, 12]))
        scale = draw(st.sampled_from([0.1, 10.0, 50.0]))
        return f"velocity_filter {{ window_size: {window} velocity_scale: {scale} {scaling} }}"
    cutoff = draw(st.sampled_from([0.01, 0.1, 1.5]))
    beta = draw(st.sampled_from([0.0, 0.5, 80.0]))
    return f"one_euro_filter {{ min_cutoff: {cutoff} beta: {beta} {scaling} }}"


@checked
@given(video=videos(), text=filters(), shape=st.tuples(*[st.integers(20, 60)] * 2))
def test_landmarks_are_smoothed_as_natively(
    native: NativeGraphs,
    video: list[tuple[int, Any, Any]],
    text: str,
    shape: tuple[int, int],
):
    """With the size of the object told, and as the landmarks reach."""
    options = f"""options {{ [mediapipe.LandmarksSmoothingCalculatorOptions.ext] {{
      {text} }} }}"""
    pbtxt = f"""{SIZED}
      input_stream: "landmarks" input_stream: "roi"
      output_stream: "one" output_stream: "other"
      node {{ calculator: "LandmarksSmoothingCalculator"
             input_stream: "NORM_LANDMARKS:landmarks" input_stream: "IMAGE_SIZE:size"
             output_stream: "NORM_FILTERED_LANDMARKS:one" {options} }}
      node {{ calculator: "LandmarksSmoothingCalculator"
             input_stream: "NORM_LANDMARKS:landmarks" input_stream: "IMAGE_SIZE:size"
             input_stream: "OBJECT_SCALE_ROI:roi"
             output_stream: "NORM_FILTERED_LANDMARKS:other" {options} }}
    """
    roi = NormalizedRect(0.5, 0.5, 0.25, 0.75)
    events: list[Any] = []
    for at, points, visible in video:
        landmarks = NormalizedLandmarkList(points, visible)
        events += [frame(shape, at), ("landmarks", landmarks, at), ("roi", roi, at)]
    kinds = {"one": NORMALIZED, "other": NORMALIZED}
    theirs, mine = native.run(pbtxt, events, kinds), ours(pbtxt, events)
    for name in kinds:
        assert mine[name].keys() == theirs[name].keys()
        for at, each in mine[name].items():
            near(each, theirs[name][at], atol=1e-4)


@checked
@given(video=videos(), text=filters())
def test_landmarks_in_metres_are_smoothed_as_natively(
    native: NativeGraphs, video: list[tuple[int, Any, Any]], text: str
):
    pbtxt = f"""
      input_stream: "landmarks" output_stream: "out"
      node {{ calculator: "LandmarksSmoothingCalculator"
             input_stream: "LANDMARKS:landmarks" output_stream: "FILTERED_LANDMARKS:out"
             options {{ [mediapipe.LandmarksSmoothingCalculatorOptions.ext] {{
               {text} }} }} }}
    """
    events = [("landmarks", LandmarkList(p, v), at) for at, p, v in video]
    theirs = native.run(pbtxt, events, {"out": WORLD})["out"]
    mine = ours(pbtxt, events)["out"]
    for at, each in mine.items():
        near(each, theirs[at], atol=1e-4)


def test_a_frame_without_landmarks_begins_anew(native: NativeGraphs):
    pbtxt = f"""{SIZED}
      input_stream: "landmarks" output_stream: "out"
      node {{ calculator: "LandmarksSmoothingCalculator"
             input_stream: "NORM_LANDMARKS:landmarks" input_stream: "IMAGE_SIZE:size"
             output_stream: "NORM_FILTERED_LANDMARKS:out" options {{
        [mediapipe.LandmarksSmoothingCalculatorOptions.ext] {{
          one_euro_filter {{ min_cutoff: 0.01 }} }} }} }}
    """
    points = np.array([[0, 0, 0], [0.5, 0.5, 0]], np.float32)
    events: list[Any] = []
    for at in (1, 2, 3, 4, 5):
        events.append(frame((20, 20), at * 33_333))
        if at != 3:
            shown = NormalizedLandmarkList(points * at)
            events.append(("landmarks", shown, at * 33_333))
    theirs = native.run(pbtxt, events, {"out": NORMALIZED})["out"]
    mine = ours(pbtxt, events)["out"]
    for at, each in mine.items():
        near(each, theirs[at])
    np.testing.assert_allclose(mine[4 * 33_333].points, points * 4)
    assert mine[5 * 33_333].points[1, 0] < 2.1  # of 2.5


@checked
@given(video=videos(), alpha=st.sampled_from([0.0, 0.1, 1.0]), known=st.booleans())
def test_visibility_is_smoothed_as_natively(
    native: NativeGraphs, video: list[tuple[int, Any, Any]], alpha: float, known: bool
):
    """Of landmarks without one, too: 0 then."""
    pbtxt = f"""
      input_stream: "landmarks" output_stream: "out"
      node {{ calculator: "VisibilitySmoothingCalculator"
             input_stream: "LANDMARKS:landmarks" output_stream: "FILTERED_LANDMARKS:out"
             options {{ [mediapipe.VisibilitySmoothingCalculatorOptions.ext] {{
               low_pass_filter {{ alpha: {alpha} }} }} }} }}
    """
    events = [
        ("landmarks", LandmarkList(p, v if known else None), at) for at, p, v in video
    ]
    theirs = native.run(pbtxt, events, {"out": WORLD})["out"]
    mine = ours(pbtxt, events)["out"]
    assert mine.keys() == theirs.keys()
    for at, each in mine.items():
        near(each, theirs[at])


@checked
@given(
    masks=arrays.arrays(np.float32, (4, 5, 6, 1), elements=scores),
    ratio=st.sampled_from([0.0, 0.7, 1.0]),
)
def test_masks_are_smoothed_as_natively(native: NativeGraphs, masks: Any, ratio: float):
    """The first as it came, then each with what became of the one before."""
    smoothing = f"""
      node {{ calculator: "SegmentationSmoothingCalculator"
             input_stream: "MASK:mask" input_stream: "MASK_PREVIOUS:last"
             output_stream: "MASK_SMOOTHED:smooth" options {{
        [mediapipe.SegmentationSmoothingCalculatorOptions.ext] {{
          combine_with_previous_ratio: {ratio} }} }} }}
      node {{ calculator: "PreviousLoopbackCalculator" input_stream: "MAIN:mask"
             input_stream: "LOOP:smooth" output_stream: "PREV_LOOP:last"
             input_stream_info {{ tag_index: "LOOP" back_edge: true }} }}
    """
    pbtxt = f"""
      input_stream: "frame" output_stream: "out"
      node {{ calculator: "ToImageCalculator" input_stream: "IMAGE_CPU:frame"
             output_stream: "IMAGE:mask" }}
      {smoothing}
      node {{ calculator: "FromImageCalculator" input_stream: "IMAGE:smooth"
             output_stream: "IMAGE_CPU:out" }}
    """
    events = [
        ("frame", ImageFrame(ImageFormat.VEC32F1, each), at)
        for at, each in enumerate(masks)
    ]
    theirs = native.run(pbtxt, events, {"out": "mask"})["out"]
    mine = ours(pbtxt, events)["out"]
    assert mine.keys() == theirs.keys()
    for at, each in mine.items():
        np.testing.assert_allclose(each.pixels, theirs[at], atol=1e-6)


SMOOTH = """
input_stream: "landmarks" output_stream: "out"
node { calculator: "%s" input_stream: "LANDMARKS:landmarks"
       output_stream: "FILTERED_LANDMARKS:out" options {
  [mediapipe.%sOptions.ext] { %s } } }
"""
EURO = "LandmarksSmoothingCalculator"
LOW = "VisibilitySmoothingCalculator"


@pytest.mark.parametrize(
    ("calculator", "options", "said"),
    [
        (EURO, "", "a filter must be set"),
        (EURO, "one_euro_filter { min_cutoff: 0 }", "min_cutoff should be > 0"),
        (EURO, "one_euro_filter { frequency: -1 }", "frequency should be > 0"),
        (EURO, "velocity_filter { window_size: -1 }", "window_size -1"),
        (LOW, "", "a filter must be set"),
        (LOW, "low_pass_filter { alpha: 1.5 }", "alpha 1.5 is not between 0 and 1"),
    ],
)
def test_filters_that_cannot_be_are_refused(calculator: str, options: str, said: str):
    with pytest.raises(ServingError, match=said):
        ours(SMOOTH % (calculator, calculator, options), [])


@pytest.mark.parametrize(
    ("calculator", "options"),
    [
        (EURO, "one_euro_filter {}"),
        (EURO, "velocity_filter {}"),
        (LOW, "low_pass_filter {}"),
    ],
)
def test_another_number_of_landmarks_is_told(calculator: str, options: str):
    lists = [LandmarkList(np.eye(count, 3, dtype=np.float32)) for count in (2, 3)]
    events = [("landmarks", each, at + 1) for at, each in enumerate(lists)]
    outcome = ours(SMOOTH % (calculator, calculator, options), events)
    assert "3 landmarks came after 2" in str(outcome.error)


def test_an_empty_list_is_told_or_begins_anew():
    empty = LandmarkList(np.empty((0, 3), np.float32))
    events = [("landmarks", empty, 1)]
    text = "one_euro_filter {}"
    assert "Landmarks are empty." in str(
        ours(SMOOTH % (EURO, EURO, text), events).error
    )
    text += " empty_landmarks_policy: EMPTY_LANDMARKS_POLICY_RESET"
    assert len(ours(SMOOTH % (EURO, EURO, text), events)["out"][1]) == 0


def test_masks_of_different_sizes_are_told():
    pbtxt = """
      input_stream: "mask" input_stream: "last" output_stream: "out"
      node { calculator: "SegmentationSmoothingCalculator" input_stream: "MASK:mask"
             input_stream: "MASK_PREVIOUS:last" output_stream: "MASK_SMOOTHED:out" }
    """
    masks = [
        ImageFrame(ImageFormat.VEC32F1, np.ones((size, 4, 1), np.float32))
        for size in (2, 3)
    ]
    outcome = ours(pbtxt, [("mask", masks[0], 0), ("last", masks[1], 0)])
    assert "4x2 after one of 4x3" in str(outcome.error)
