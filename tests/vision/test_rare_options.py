"""Options that few graphs set do what they do natively, or what MediaPipe's code says."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from google.protobuf import text_format
from ovms_mp_calculators.ssd_anchors import generated
from ovms_mp_protos import graph

from ovms_mp.core.errors import ServingError
from ovms_mp.formats import render_data as shapes
from ovms_mp.formats.detection import Box, Detection
from ovms_mp.formats.landmark import LandmarkList
from ovms_mp.formats.render_data import (
    Color,
    GradientLine,
    RenderAnnotation,
    RenderData,
)
from tests.vision.both import NativeGraphs, image, ours
from tests.vision.landmarks import WORLD, near

pytestmark = pytest.mark.timeout(600)

DETECTIONS = "protos:mediapipe.Detection"
# Python cannot make vectors for native code; a loop can.
SUPPRESSED = """
input_stream: "one" input_stream: "other" input_stream: "numbers" output_stream: "out"
node {{ calculator: "BeginLoopIntCalculator" input_stream: "ITERABLE:numbers"
       output_stream: "ITEM:number" output_stream: "BATCH_END:end" }}
node {{ calculator: "EndLoopDetectionCalculator" input_stream: "ITEM:one"
       input_stream: "BATCH_END:end" output_stream: "ITERABLE:ones" }}
node {{ calculator: "EndLoopDetectionCalculator" input_stream: "ITEM:other"
       input_stream: "BATCH_END:end" output_stream: "ITERABLE:others" }}
node {{ calculator: "NonMaxSuppressionCalculator" input_stream: "ones"
       input_stream: "others" output_stream: "out" options {{
  [mediapipe.NonMaxSuppressionCalculatorOptions.ext] {{
    num_detection_streams: 2 min_suppression_threshold: 0.5
    overlap_type: INTERSECTION_OVER_UNION {more} }} }} }}
"""


def boxes(left: float, *scores: float) -> list[Detection]:
    return [
        Detection(Box(left + 0.25 * n, 0, 0.25, 0.5), (score,), (1,))
        for n, score in enumerate(scores)
    ]


def suppressed(ones: list[Detection], others: list[Detection]) -> list[Any]:
    numbers = list(range(max(len(ones), len(others))))
    events: list[Any] = [("numbers", numbers, 0)]
    for at in numbers:
        for name, found in (("one", ones), ("other", others)):
            if at < len(found):
                events.append((name, found[at], at))
    return events


def test_detections_of_two_streams_are_suppressed_together(native: NativeGraphs):
    pbtxt = SUPPRESSED.format(more="")
    events = suppressed(boxes(0, 0.5, 0.75), boxes(0.01, 0.625, 0.25))
    theirs = native.run(pbtxt, events, {"out": DETECTIONS})["out"]
    mine = ours(pbtxt, events)["out"]
    assert list(mine) == list(theirs)
    ((some,), (expected,)) = mine.values(), theirs.values()
    assert [each.scores for each in some] == [(0.75,), (0.625,)]
    assert [each.scores for each in expected] == [(0.75,), (0.625,)]
    for one, other in zip(some, expected, strict=True):
        np.testing.assert_allclose(one.box, other.box, atol=1e-6)


@pytest.mark.parametrize("empty", [True, False])
def test_of_no_detections_there_are_none_or_nothing(native: NativeGraphs, empty: bool):
    """What has no vector at all, as one whose batch is empty."""
    pbtxt = SUPPRESSED.format(more=f"return_empty_detections: {str(empty).lower()}")
    events: list[Any] = [("numbers", [], 0)]
    theirs = native.run(pbtxt, events, {"out": DETECTIONS})["out"]
    assert ours(pbtxt, events)["out"] == theirs


@pytest.mark.parametrize("name", ["Landmarks", "Visibility"])
def test_without_a_filter_landmarks_are_as_they_came(native: NativeGraphs, name: str):
    calculator = f"{name}SmoothingCalculator"
    pbtxt = f"""
      input_stream: "in" output_stream: "out"
      node {{ calculator: "{calculator}" input_stream: "LANDMARKS:in"
             output_stream: "FILTERED_LANDMARKS:out" options {{
        [mediapipe.{calculator}Options.ext] {{ no_filter {{}} }} }} }}
    """
    given = [
        LandmarkList(np.full((2, 3), at, np.float32), np.full(2, at / 4, np.float32))
        for at in range(3)
    ]
    events = [("in", each, at) for at, each in enumerate(given)]
    theirs = native.run(pbtxt, events, {"out": WORLD})["out"]
    mine = ours(pbtxt, events)["out"]
    for at, each in enumerate(given):
        near(mine[at], theirs[at])
        near(mine[at], each)


@pytest.mark.parametrize("flips", [True, False])
def test_text_stands_on_its_head_if_wanted(native: NativeGraphs, flips: bool):
    pbtxt = f"""
      input_stream: "image" input_stream: "data" output_stream: "IMAGE:out"
      node {{ calculator: "AnnotationOverlayCalculator" input_stream: "IMAGE:image"
             input_stream: "data" output_stream: "IMAGE:out" options {{
        [mediapipe.AnnotationOverlayCalculatorOptions.ext] {{
          flip_text_vertically: {str(flips).lower()} }} }} }}
    """
    text = RenderAnnotation(shapes.Text("Hi", 8, 32, 24), Color(255, 0, 0), 2)
    frame = image(np.zeros((64, 96, 3), np.uint8))
    events = [("image", frame, 0), ("data", RenderData((text,)), 0)]
    theirs = native.run(pbtxt, events, {"out": "image"})["out"][0]
    mine = ours(pbtxt, events)["out"][0].pixels
    assert mine.any()
    assert np.mean((mine != theirs).any(axis=2)) < 0.01
    # Letters stand on the baseline, or hang from it.
    assert bool(mine[40:].any()) is flips


def test_nothing_to_draw_is_no_picture_unless_wanted():
    for wanted, count in (("true", 1), ("false", 0)):
        pbtxt = f"""
          input_stream: "in" output_stream: "out"
          node {{ calculator: "DetectionsToRenderDataCalculator"
                 input_stream: "DETECTIONS:in" output_stream: "RENDER_DATA:out" options {{
            [mediapipe.DetectionsToRenderDataCalculatorOptions.ext] {{
              produce_empty_packet: {wanted} }} }} }}
        """
        assert len(ours(pbtxt, [("in", [], 0)])["out"]) == count


def test_the_ends_of_a_depth_have_sizes_and_colours():
    """Near is as large as the one limit says, far as the other."""
    pbtxt = """
      input_stream: "in" output_stream: "out"
      node { calculator: "LandmarksToRenderDataCalculator" input_stream: "LANDMARKS:in"
             output_stream: "RENDER_DATA:out" options {
        [mediapipe.LandmarksToRenderDataCalculatorOptions.ext] {
          landmark_connections: [0, 1] min_depth_circle_thickness: 2
          max_depth_circle_thickness: 12 min_depth_line_color { r: 100 g: 50 }
          max_depth_line_color { g: 200 b: 150 } } } }
    """
    given = LandmarkList(np.array([[0, 0, 0], [8, 6, 1]], np.float32))
    line, near_dot, far_dot = ours(pbtxt, [("in", given, 0)])["out"][
        0
    ].render_annotations
    assert isinstance(line.data, GradientLine)
    assert line.data.color1 == (0, 200, 150)
    assert np.abs(np.subtract(line.data.color2, (100, 50, 0))).max() <= 1
    assert near_dot.thickness == 12
    assert far_dot.thickness == 2


def test_labels_have_a_font_and_the_colour_of_their_outline():
    pbtxt = """
      input_stream: "in" output_stream: "out"
      node { calculator: "LabelsToRenderDataCalculator"
             input_stream: "CLASSIFICATIONS:in" output_stream: "RENDER_DATA:out" options {
        [mediapipe.LabelsToRenderDataCalculatorOptions.ext] {
          font_face: 3 max_num_labels: 3 outline_thickness: 2
          outline_color { r: 10 } outline_color { g: 20 } } } }
    """
    found = graph.ClassificationList()
    for label in "abc":
        found.classification.add(label=label)
    drawn = ours(pbtxt, [("in", found, 0)])["out"][0].render_annotations
    texts = [each.data for each in drawn]
    assert {each.font_face for each in texts} == {cv2.FONT_HERSHEY_COMPLEX}
    reds = Color(10, 0, 0)
    assert [each.outline_color for each in texts] == [reds, Color(0, 20, 0), reds]


FIXED = """
output_side_packet: "anchors"
node { calculator: "SsdAnchorsCalculator" output_side_packet: "anchors" options {
  [mediapipe.SsdAnchorsCalculatorOptions.ext] {
    fixed_anchors { x_center: 0.5 y_center: 0.25 h: 0.5 w: 1 }
    fixed_anchors { x_center: 0.75 y_center: 1 h: 0.125 w: 0.25 } %s } } }
"""


def test_anchors_that_are_given_are_taken(native: NativeGraphs):
    """And nothing is made beside them, here and natively."""
    sides = {"anchors": "protos:mediapipe.Anchor"}
    theirs = native.run(FIXED % "", [], {}, sides)["anchors"][0]
    text = (FIXED % "").partition(".ext] {")[2].rpartition("} } }")[0]
    mine = generated(text_format.Parse(text, graph.SsdAnchorsCalculatorOptions()))
    assert mine.tolist() == [[e.x_center, e.y_center, e.h, e.w] for e in theirs]
    more = FIXED % "num_layers: 4"
    assert "Fixed anchors are provided" in str(native.run(more, [], {}, sides).error)
    with pytest.raises(ServingError, match="exclude each other"):
        ours(more, [])


def test_a_key_point_has_two_numbers():
    """What ends MediaPipe's process is refused when the graph is loaded."""
    pbtxt = """
      input_stream: "in" output_stream: "out"
      node { calculator: "TensorsToDetectionsCalculator" input_stream: "TENSORS:in"
             output_stream: "DETECTIONS:out" options {
        [mediapipe.TensorsToDetectionsCalculatorOptions.ext] {
          num_classes: 1 num_boxes: 2 num_coords: 16 keypoint_coord_offset: 4
          num_keypoints: 4 num_values_per_keypoint: 3 } } }
    """
    with pytest.raises(ServingError, match="num_values_per_keypoint is 2"):
        ours(pbtxt, [])
