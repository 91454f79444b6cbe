"""Rects are made of detections and changed as they are in MediaPipe."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from ovms_mp.core.errors import ServingError
from ovms_mp.formats.detection import Box, Detection, LocationFormat
from ovms_mp.formats.rect import NormalizedRect, Rect
from tests.vision.both import NativeGraphs, image, ours

pytestmark = pytest.mark.timeout(600)

checked = settings(
    max_examples=40,
    phases=[Phase.explicit, Phase.generate],
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
parts = st.floats(-0.5, 1.5, width=32)
sizes = st.tuples(st.integers(1, 60), st.integers(1, 60))

SIZED = """
input_stream: "image"
node { calculator: "ImagePropertiesCalculator" input_stream: "IMAGE:image"
       output_stream: "SIZE:size" }
"""


def near(mine: NormalizedRect | Rect, theirs: NormalizedRect | Rect) -> None:
    assert type(mine) is type(theirs)
    for name in ("x_center", "y_center", "width", "height", "rotation"):
        found, expected = getattr(mine, name), getattr(theirs, name)
        assert found == pytest.approx(expected, abs=2e-5, rel=1e-5), name


@st.composite
def changes(draw: st.DrawFn) -> str:
    text = ""
    for name in ("scale_x", "scale_y", "shift_x", "shift_y"):
        if draw(st.booleans()):
            text += f"{name}: {draw(st.floats(-1, 3, width=16)):.3f} "
    turn = draw(st.sampled_from(["", "rotation: 0.7 ", "rotation_degrees: -200 "]))
    square = draw(st.sampled_from(["", "square_long: true ", "square_short: true "]))
    return text + turn + square


@checked
@given(
    rect=st.builds(
        NormalizedRect, parts, parts, parts, parts, st.floats(-3, 3, width=32)
    ),
    shape=sizes,
    text=changes(),
)
def test_a_rect_changes_as_natively(
    native: NativeGraphs, rect: NormalizedRect, shape: tuple[int, int], text: str
):
    pbtxt = f"""{SIZED}
      input_stream: "rect" output_stream: "out"
      node {{ calculator: "RectTransformationCalculator" input_stream: "NORM_RECT:rect"
             input_stream: "IMAGE_SIZE:size" output_stream: "out" options {{
        [mediapipe.RectTransformationCalculatorOptions.ext] {{ {text} }} }} }}
    """
    events = [("rect", rect, 3), ("image", image(np.zeros((*shape, 3), np.uint8)), 3)]
    theirs = native.run(pbtxt, events, {"out": "proto:mediapipe.NormalizedRect"})["out"]
    near(ours(pbtxt, events)["out"][3], theirs[3])


@checked
@given(
    rect=st.builds(Rect, *[st.integers(1, 300)] * 4, st.floats(-3, 3, width=32)),
    text=changes(),
)
def test_a_rect_in_pixels_changes_as_natively(
    native: NativeGraphs, rect: Rect, text: str
):
    """Within a pixel: a float32 next to a whole number may fall to either side."""
    pbtxt = f"""
      input_stream: "rect" output_stream: "out"
      node {{ calculator: "RectTransformationCalculator" input_stream: "RECT:rect"
             output_stream: "out" options {{
        [mediapipe.RectTransformationCalculatorOptions.ext] {{ {text} }} }} }}
    """
    events = [("rect", rect, 0)]
    theirs = native.run(pbtxt, events, {"out": "proto:mediapipe.Rect"})["out"][0]
    mine = ours(pbtxt, events)["out"][0]
    for name in ("x_center", "y_center", "width", "height"):
        assert abs(getattr(mine, name) - getattr(theirs, name)) <= 1
    assert mine.rotation == pytest.approx(theirs.rotation)


points = st.lists(st.tuples(parts, parts), min_size=3, max_size=3)


@checked
@given(
    box=st.builds(
        Box, parts, parts, st.floats(0, 1, width=32), st.floats(0, 1, width=32)
    ),
    keypoints=points,
    shape=sizes,
    mode=st.sampled_from(["DEFAULT", "USE_BOUNDING_BOX", "USE_KEYPOINTS"]),
    angle=st.sampled_from(
        [
            "rotation_vector_target_angle: 1.2",
            "rotation_vector_target_angle_degrees: 90",
        ]
    ),
    calculator=st.sampled_from(
        ["DetectionsToRectsCalculator", "AlignmentPointsRectsCalculator"]
    ),
)
def test_a_detection_becomes_the_native_rect(
    native: NativeGraphs,
    *,
    box: Box,
    keypoints: list[tuple[float, float]],
    shape: tuple[int, int],
    mode: str,
    angle: str,
    calculator: str,
):
    if keypoints[0] == keypoints[1]:
        return  # a line without a direction
    pbtxt = f"""{SIZED}
      input_stream: "detection" output_stream: "out"
      node {{ calculator: "{calculator}" input_stream: "DETECTION:detection"
             input_stream: "IMAGE_SIZE:size" output_stream: "NORM_RECT:out" options {{
        [mediapipe.DetectionsToRectsCalculatorOptions.ext] {{
          rotation_vector_start_keypoint_index: 0
          rotation_vector_end_keypoint_index: 1
          conversion_mode: {mode} {angle} }} }} }}
    """
    detection = Detection(box, (0.5,), (0,), keypoints=np.array(keypoints, np.float32))
    frame = image(np.zeros((*shape, 3), np.uint8))
    events = [("detection", detection, 0), ("image", frame, 0)]
    kinds = {"out": "proto:mediapipe.NormalizedRect"}
    theirs = native.run(pbtxt, events, kinds)["out"][0]
    mine = ours(pbtxt, events)["out"][0]
    turn = (mine.rotation - theirs.rotation + np.pi) % (2 * np.pi) - np.pi
    assert abs(turn) < 1e-4
    near(
        NormalizedRect(mine.x_center, mine.y_center, mine.width, mine.height),
        NormalizedRect(theirs.x_center, theirs.y_center, theirs.width, theirs.height),
    )


VECTOR = """
input_stream: "in" output_stream: "out"
node { calculator: "DetectionsToRectsCalculator" input_stream: "DETECTIONS:in"
       output_stream: "%s:out" options {
  [mediapipe.DetectionsToRectsCalculatorOptions.ext] { %s } } }
"""
PIXELS = Detection(Box(3, 4, 5, 6), (0.5,), (1,), format=LocationFormat.BOUNDING_BOX)
PARTS = Detection(Box(0.25, 0.5, 0.25, 0.25), (0.5,), (1,))
ZEROS = "output_zero_rect_for_empty_detections: true"


@pytest.mark.parametrize(
    ("given_detections", "tag", "options", "expected"),
    [
        ([PIXELS], "RECT", "", {0: Rect(5, 7, 5, 6)}),
        ([PIXELS] * 2, "RECTS", "", {0: [Rect(5, 7, 5, 6)] * 2}),
        (
            [PARTS, PARTS],
            "NORM_RECTS",
            "",
            {0: [NormalizedRect(0.375, 0.625, 0.25, 0.25)] * 2},
        ),
        ([], "NORM_RECTS", "", {}),
        ([], "NORM_RECTS", ZEROS, {0: [NormalizedRect()]}),
        ([], "NORM_RECT", ZEROS, {0: NormalizedRect()}),
        ([], "RECT", ZEROS, {0: Rect()}),
        ([], "RECTS", ZEROS, {}),
    ],
)
def test_vectors_become_one_rect_or_as_many(
    given_detections: list[Detection], tag: str, options: str, expected: object
):
    events = [("in", given_detections, 0)]
    assert ours(VECTOR % (tag, options), events)["out"] == expected


def test_a_rect_of_another_kind_of_box_is_told():
    outcome = ours(VECTOR % ("RECT", ""), [("in", [PARTS], 0)])
    assert "RELATIVE_BOUNDING_BOX; expected BOUNDING_BOX" in str(outcome.error)


def test_a_turn_without_the_size_of_the_image_is_refused():
    options = "rotation_vector_start_keypoint_index: 0 "
    options += "rotation_vector_end_keypoint_index: 1 rotation_vector_target_angle: 0"
    with pytest.raises(ServingError, match="needs an input IMAGE_SIZE"):
        ours(VECTOR % ("NORM_RECT", options), [])
