"""Landmarks, rects and labels become what is drawn, by MediaPipe's rules; by hand, since
the wheel has none of these calculators.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ovms_mp_protos import graph

from ovms_mp.core.errors import ServingError
from ovms_mp.formats.landmark import LandmarkList, NormalizedLandmarkList
from ovms_mp.formats.rect import NormalizedRect, Rect
from ovms_mp.formats.render_data import (
    BLACK,
    Color,
    FilledOval,
    FilledRectangle,
    GradientLine,
    Line,
    Oval,
    Point,
    Rectangle,
    RenderAnnotation,
    RenderData,
    Text,
)
from tests.vision.both import ours

RED, GREEN = Color(255, 0, 0), Color(0, 255, 0)
POINTS = np.array([[0, 0, 0], [0.5, 0.25, 0.5], [1, 1, 1]], np.float32)
SEEN = np.array([1, 0.5, 0.25], np.float32)

LANDMARKS = """
input_stream: "in" output_stream: "out" %s
node { calculator: "LandmarksToRenderDataCalculator" input_stream: "%s:in" %s
       output_stream: "RENDER_DATA:out" options {
  [mediapipe.LandmarksToRenderDataCalculatorOptions.ext] {
    landmark_connections: [0, 1, 1, 2, 2, 3] landmark_color { r: 255 }
    connection_color { g: 255 } thickness: 2 %s } } }
"""
FLAT = "visualize_landmark_depth: false "


def drawn(landmarks: Any, options: str) -> list[RenderAnnotation]:
    tag = "LANDMARKS"
    tag = f"NORM_{tag}" if isinstance(landmarks, NormalizedLandmarkList) else tag
    found = ours(LANDMARKS % ("", tag, "", options), [("in", landmarks, 0)])["out"][0]
    assert isinstance(found, RenderData)
    return list(found.render_annotations)


@pytest.mark.parametrize(
    ("kind", "normalized"), [(NormalizedLandmarkList, True), (LandmarkList, False)]
)
def test_lines_come_before_points_and_only_between_landmarks(
    kind: Any, normalized: bool
):
    assert drawn(kind(POINTS), FLAT) == [
        RenderAnnotation(Line(0, 0, 0.5, 0.25, normalized), GREEN, 2),
        RenderAnnotation(Line(0.5, 0.25, 1, 1, normalized), GREEN, 2),
        RenderAnnotation(Point(0, 0, normalized), RED, 2, "KEYPOINT"),
        RenderAnnotation(Point(0.5, 0.25, normalized), RED, 2, "KEYPOINT"),
        RenderAnnotation(Point(1, 1, normalized), RED, 2, "KEYPOINT"),
    ]


def test_depth_is_shown_by_size_and_colour():
    """The smallest depth is the nearest: the largest circle, and white."""
    options = "max_depth_circle_thickness: 10 min_depth_line_color { r: 100 }"
    first, _, *points = drawn(LandmarkList(POINTS), options)
    assert first.data == GradientLine(
        0, 0, 0.5, 0.25, False, Color(255, 255, 255), Color(177, 127, 127)
    )
    assert first.color == BLACK
    assert [(each.thickness, each.color.r) for each in points] == [
        (10, 255),
        (5, 128),
        (0, 1),
    ]


def test_landmarks_of_one_depth_have_none():
    level = POINTS * np.array([1, 1, 0], np.float32)
    assert drawn(LandmarkList(level), "") == drawn(LandmarkList(level), FLAT)


@pytest.mark.parametrize(
    ("options", "lines", "points"),
    [
        ("utilize_visibility: true visibility_threshold: 0.3", 1, 2),
        ("utilize_visibility: true visibility_threshold: 0.6", 0, 1),
        ("utilize_presence: true presence_threshold: 0.3", 2, 3),
        ("render_landmarks: false", 2, 0),
    ],
)
def test_what_is_not_seen_is_not_drawn_nor_are_its_lines(
    options: str, lines: int, points: int
):
    """Presence is not known here, and so nothing against them."""
    found = drawn(LandmarkList(POINTS, SEEN), FLAT + options)
    kinds = [type(each.data) for each in found]
    assert kinds == [Line] * lines + [Point] * points


def test_a_scale_makes_all_thicker():
    scaled = LANDMARKS % (
        'input_stream: "scale"',
        "LANDMARKS",
        'input_stream: "RENDER_SCALE:scale"',
        FLAT,
    )
    landmarks = ("in", LandmarkList(POINTS), 0)
    found = ours(scaled, [landmarks, ("scale", 1.5, 0)])["out"][0]
    assert {each.thickness for each in found.render_annotations} == {3}
    assert "without their RENDER_SCALE" in str(ours(scaled, [landmarks]).error)


def test_connections_come_in_pairs():
    with pytest.raises(ServingError, match="multiple of 2"):
        drawn(LandmarkList(POINTS), "landmark_connections: 1")


RECTS = """
input_stream: "in" output_stream: "out"
node { calculator: "RectToRenderDataCalculator" input_stream: "%s:in"
       output_stream: "RENDER_DATA:out" options {
  [mediapipe.RectToRenderDataCalculatorOptions.ext] {
    color { r: 255 } thickness: 4 %s } } }
"""
AT = NormalizedRect(0.5, 0.5, 0.5, 0.25, 0.5)
SHAPE = Rectangle(0.25, 0.375, 0.75, 0.625, True, 0.5)


@pytest.mark.parametrize(
    ("tag", "given", "options", "shapes"),
    [
        ("NORM_RECT", AT, "", [SHAPE]),
        ("NORM_RECT", AT, "filled: true", [FilledRectangle(SHAPE)]),
        ("NORM_RECT", AT, "oval: true", [Oval(SHAPE)]),
        ("NORM_RECT", AT, "oval: true filled: true", [FilledOval(Oval(SHAPE))]),
        ("NORM_RECTS", [AT, AT], "", [SHAPE, SHAPE]),
        ("RECT", Rect(10, 20, 5, 4), "", [Rectangle(7.5, 18, 12.5, 22)]),
        ("RECTS", [], "", []),
        ("NORM_RECT", NormalizedRect(3, 0.5, 0.5, 0.5), "", [Rectangle()]),
        (
            "NORM_RECT",
            NormalizedRect(3, 0.5, 0.5, 0.5, 1),
            "",
            [Rectangle(2.75, 0.25, 3.25, 0.75, True, 1)],
        ),
    ],
)
def test_rects_are_drawn_as_the_options_say(
    tag: str, given: object, options: str, shapes: list[Any]
):
    found = ours(RECTS % (tag, options), [("in", given, 0)])["out"][0]
    assert found == RenderData(tuple(RenderAnnotation(each, RED, 4) for each in shapes))


def test_a_rect_may_have_a_dot_but_nothing_else_may():
    events = [("in", AT, 0)]
    found = ours(RECTS % ("NORM_RECT", "top_left_thickness: 6"), events)["out"][0]
    assert found.render_annotations[0].data.top_left_thickness == 6
    with pytest.raises(ServingError, match="excludes filled and oval"):
        ours(RECTS % ("NORM_RECT", "top_left_thickness: 6 oval: true"), events)


SCALE = """
input_stream: "rect" input_stream: "size" output_stream: "out"
node { calculator: "RectToRenderScaleCalculator" input_stream: "NORM_RECT:rect"
       input_stream: "IMAGE_SIZE:size" output_stream: "RENDER_SCALE:out" options {
  [mediapipe.RectToRenderScaleCalculatorOptions.ext] { multiplier: 0.5 %s } } }
"""


def test_what_is_larger_is_drawn_thicker():
    """The longer side in pixels; what is not there is drawn with the multiplier."""
    events = [("rect", AT, 0), ("size", (40, 200), 0), ("size", (40, 200), 1)]
    assert ours(SCALE % "", events)["out"] == {0: 25.0, 1: 0.5}


def test_the_scale_is_told_for_every_time_if_wanted():
    pbtxt = SCALE.replace('input_stream: "rect" ', 'input_stream: "other" ')
    gate = """
      node { calculator: "GateCalculator" input_stream: "other" input_stream: "size"
             output_stream: "rect" output_stream: "size_too" options {
        [mediapipe.GateCalculatorOptions.ext] { allow: false } } }
    """
    pbtxt = pbtxt.replace("IMAGE_SIZE:size", "IMAGE_SIZE:size_too") + gate
    events = [("other", AT, 3), ("size", (40, 200), 3)]
    assert ours(pbtxt % "", events)["out"] == {}
    assert ours(pbtxt % "process_timestamp_bounds: true", events)["out"][3] == 0.5


LABELS = """
input_stream: "in" input_stream: "scores" output_stream: "out"
node { calculator: "LabelsToRenderDataCalculator" input_stream: "%s:in" %s
       output_stream: "RENDER_DATA:out" options {
  [mediapipe.LabelsToRenderDataCalculatorOptions.ext] {
    font_height_px: 10 horizontal_offset_px: 3 vertical_offset_px: 5 %s } } }
"""


def test_classifications_are_written_below_each_other():
    message = graph.ClassificationList()
    message.classification.add(index=0, score=0.9375, label="Left", display_name="L")
    message.classification.add(index=1, score=0.5, label="Right")
    options = """max_num_labels: 2 color { g: 255 } outline_thickness: 1
                 display_classification_score: true"""
    found = ours(LABELS % ("CLASSIFICATIONS", "", options), [("in", message, 0)])
    texts = [each.data for each in found["out"][0].render_annotations]
    assert texts == [
        Text("Left:0.9375", 3, 18, 10, outline_thickness=1),
        Text("Right:0.5", 3, 31, 10, outline_thickness=1),
    ]
    assert {each.color for each in found["out"][0].render_annotations} == {GREEN}
    found = ours(
        LABELS % ("CLASSIFICATIONS", "", "use_display_name: true"), [("in", message, 0)]
    )
    (only,) = found["out"][0].render_annotations
    assert (only.data.display_text, only.color) == ("L", RED)


def test_labels_have_a_score_each():
    pbtxt = LABELS % ("LABELS", 'input_stream: "SCORES:scores"', "max_num_labels: 9")
    events = [("in", ["cat", "dog"], 0), ("scores", [0.5, 0.25], 0)]
    found = ours(pbtxt, events)["out"][0].render_annotations
    assert [each.data.display_text for each in found] == ["cat:0.5", "dog:0.25"]
    outcome = ours(pbtxt, [events[0], ("scores", [0.5], 0)])
    assert "1 scores for 2 labels" in str(outcome.error)
    with pytest.raises(ServingError, match="Only TOP_LEFT"):
        ours(LABELS % ("LABELS", "", "location: BOTTOM_LEFT"), [])
