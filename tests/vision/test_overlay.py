"""What is drawn looks as it does natively."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from ovms_mp.core.image import ImageFormat, ImageFrame
from ovms_mp.formats import render_data as shapes
from ovms_mp.formats.detection import Box, Detection
from ovms_mp.formats.render_data import Color, RenderAnnotation, RenderData
from tests.vision.both import NativeGraphs, image, ours
from tests.vision.similarity import similarity

pytestmark = pytest.mark.timeout(600)

checked = settings(
    max_examples=40,
    phases=[Phase.explicit, Phase.generate],
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
OVERLAY = """
input_stream: "image" input_stream: "data" output_stream: "IMAGE:out"
node { calculator: "AnnotationOverlayCalculator" input_stream: "IMAGE:image"
       input_stream: "data" output_stream: "IMAGE:out" }
"""
WIDTH, HEIGHT = 96, 64


@st.composite
def points(draw: st.DrawFn) -> tuple[list[float], bool]:
    """Four numbers, of the image and around it, in pixels or in parts."""
    normalized = draw(st.booleans())
    ends = [draw(st.floats(-0.25, 1.25, width=16)) for _ in range(4)]
    if not normalized:
        ends = [end * side for end, side in zip(ends, [WIDTH, HEIGHT] * 2, strict=True)]
    return ends, normalized


@st.composite
def rectangles(draw: st.DrawFn) -> shapes.Rectangle:
    (a, b, c, d), normalized = draw(points())
    return shapes.Rectangle(
        min(a, c),
        min(b, d),
        max(a, c),
        max(b, d),
        normalized,
        draw(st.sampled_from([0.0, 0.0, 0.5, -2.0])),
        draw(st.sampled_from([None, None, 3.0])),
    )


@st.composite
def texts(draw: st.DrawFn) -> shapes.Text:
    (left, baseline, _, _), normalized = draw(points())
    height = draw(st.integers(8, 30))
    return shapes.Text(
        draw(st.sampled_from(["face,0.92,", "Ag", ""])),
        left,
        baseline,
        height / HEIGHT if normalized else height,
        normalized,
        draw(st.integers(0, 7)),
        draw(st.booleans()),
        draw(st.booleans()),
        draw(st.sampled_from([0.0, 1.0])),
        Color(0, 90, 0),
    )


colors = st.builds(Color, *[st.integers(0, 255)] * 3)
ends = points().map(
    lambda drawn: (drawn[0][0], drawn[0][1], drawn[0][2], drawn[0][3], drawn[1])
)


def gradient_line(
    drawn: tuple[float, float, float, float, bool], first: Color, last: Color
) -> shapes.GradientLine:
    x_start, y_start, x_end, y_end, normalized = drawn
    return shapes.GradientLine(x_start, y_start, x_end, y_end, normalized, first, last)


every_shape = st.one_of(
    rectangles(),
    rectangles().map(shapes.FilledRectangle),
    rectangles().map(shapes.Oval),
    rectangles().map(lambda each: shapes.FilledOval(shapes.Oval(each))),
    st.builds(
        shapes.RoundedRectangle,
        rectangles(),
        st.integers(0, 8),
        st.sampled_from([4, 8, 16]),
    ),
    ends.map(lambda each: shapes.Point(each[0], each[1], each[4])),
    ends.map(lambda each: shapes.Line(*each)),
    ends.map(lambda each: shapes.Arrow(*each)),
    st.builds(gradient_line, ends, colors, colors),
    texts(),
)
pictures = st.builds(
    RenderData,
    st.lists(
        st.builds(RenderAnnotation, every_shape, colors, st.integers(1, 6).map(float)),
        min_size=1,
        max_size=3,
    ).map(tuple),
)


@checked
@given(data=pictures, channels=st.sampled_from([1, 3, 4]))
def test_shapes_look_as_natively(native: NativeGraphs, data: RenderData, channels: int):
    """At most 2 % of the pixels differ, of what two versions of OpenVINO's OpenCV draw."""
    frame = image(np.full((HEIGHT, WIDTH, channels), 128, np.uint8))
    events: list[Any] = [("image", frame, 0), ("data", data, 0)]
    theirs = native.run(OVERLAY, events, {"out": "image"})["out"][0]
    mine = ours(OVERLAY, events)["out"][0].pixels
    assert mine.shape == theirs.shape
    assert np.mean(np.any(mine != theirs, axis=2)) <= 0.02, data


alike = st.one_of(
    st.lists(ends.map(lambda each: shapes.Line(*each)), min_size=2, max_size=6),
    st.lists(st.builds(gradient_line, ends, colors, colors), min_size=2, max_size=6),
)


@checked
@given(alike, st.integers(1, 9).map(float), st.sampled_from([3, 4]))
def test_lines_in_a_row_are_drawn_as_each_by_itself(
    several: list[Any], thickness: float, channels: int
):
    """One upon the other, also where they cross or leave the image."""
    pixels = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, channels))
    together = one_by_one = image(pixels.astype(np.uint8))
    drawn = [RenderAnnotation(each, Color(9, 99, 200), thickness) for each in several]
    for each in drawn:
        one_by_one = overlaid(one_by_one, each)
    assert np.array_equal(overlaid(together, *drawn).pixels, one_by_one.pixels)


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("thickness", [0.0, 1.0, 2.5, 4.0, 5.0])
def test_many_points_are_drawn_as_each_by_itself(thickness: float, channels: int):
    """Two colours, one upon the other; some leave the image, and some are nowhere."""
    rng = np.random.default_rng(int(thickness))
    pixels = rng.integers(0, 256, (HEIGHT, WIDTH, channels), np.uint8)
    drawn = [
        RenderAnnotation(shapes.Point(x, y, True), color, thickness)
        for color in (Color(9, 99, 200), Color(300, -1, 7))
        for x, y in [*rng.normal(0.5, 0.4, (80, 2)).tolist(), (np.nan, 0.5)]
    ]
    one_by_one = image(pixels)
    for first in range(0, len(drawn), 9):
        one_by_one = overlaid(one_by_one, *drawn[first : first + 9])
    assert np.array_equal(overlaid(image(pixels), *drawn).pixels, one_by_one.pixels)


def overlaid(frame: ImageFrame, *drawn: RenderAnnotation) -> ImageFrame:
    events: list[Any] = [("image", frame, 0), ("data", RenderData(drawn), 0)]
    return ours(OVERLAY, events)["out"][0]


def test_the_picture_of_a_detection_is_similar_to_the_native_one(native: NativeGraphs):
    """Labels, box and key points of DetectionsToRenderDataCalculator, drawn by both:
    structural similarity of at least 0.95.
    """
    pbtxt = """
      input_stream: "in" output_stream: "out"
      node { calculator: "DetectionsToRenderDataCalculator" input_stream: "DETECTIONS:in"
             output_stream: "RENDER_DATA:out" options {
        [mediapipe.DetectionsToRenderDataCalculatorOptions.ext] {
          thickness: 3 color { r: 255 g: 40 b: 10 } } } }
    """
    keypoints = np.random.default_rng(0).uniform(0.3, 0.6, (6, 2)).astype(np.float32)
    found = Detection(Box(0.25, 0.2, 0.4, 0.5), (0.9217,), (0,), keypoints=keypoints)
    data = ours(pbtxt, [("in", [found], 0)])["out"][0]
    pixels = np.random.default_rng(1).integers(0, 256, (60, 80, 3), np.uint8)
    frame = image(pixels.repeat(8, 0).repeat(8, 1))
    events = [("image", frame, 0), ("data", data, 0)]
    theirs = native.run(OVERLAY, events, {"out": "image"})["out"][0]
    mine = ours(OVERLAY, events)["out"][0].pixels
    assert np.any(mine != frame.pixels)
    assert similarity(mine, theirs) >= 0.95


def drawn_of(options: str, *found: Detection) -> RenderData:
    pbtxt = f"""
      input_stream: "in" output_stream: "out"
      node {{ calculator: "DetectionsToRenderDataCalculator"
             input_stream: "DETECTIONS:in" output_stream: "RENDER_DATA:out" options {{
        [mediapipe.DetectionsToRenderDataCalculatorOptions.ext] {{ {options} }} }} }}
    """
    return ours(pbtxt, [("in", list(found), 0)])["out"][0]


def test_a_detection_is_drawn_by_the_documentation():
    """Worked out by hand: the wheel has no DetectionsToRenderDataCalculator."""
    points = np.array([[0.5, 0.25]], np.float32)
    found = Detection(
        Box(-0.25, 0.5, 0.5, 0.25), (0.125, 0.5), (3, 4), keypoints=points
    )
    data = drawn_of("color { r: 1 g: 2 b: 3 } thickness: 4", found)
    label, tag, box, point = data.render_annotations
    assert data.scene_class == "DETECTION"
    assert {each.color for each in data.render_annotations} == {(1, 2, 3)}
    assert {each.thickness for each in data.render_annotations} == {4.0}
    line = 0.25 * 0.1
    assert isinstance(label.data, shapes.Text)
    assert label.data.display_text == "3,0.13,4,0.5,"
    assert label.data.normalized
    assert label.data.left == 0.0
    assert label.data.baseline == pytest.approx(0.5 + line)
    assert label.data.font_height == pytest.approx(line * 0.9)
    assert isinstance(tag.data, shapes.Text)
    assert tag.data.baseline == pytest.approx(0.75)
    assert box.data == shapes.Rectangle(0.0, 0.5, 0.25, 0.75, normalized=True)
    assert point.data == shapes.Point(0.5, 0.25, normalized=True)
    tags = [each.scene_tag for each in data.render_annotations]
    assert tags == ["LABEL", "FEATURE", "LOCATION", "KEYPOINT"]


def test_each_label_may_have_a_line_and_the_detection_its_number():
    found = Detection(Box(0, 0, 1, 1), (0.5, 0.25), (), ("a", "b"), detection_id=7)
    data = drawn_of(
        'one_label_per_line: true render_detection_id: true text_delimiter: ";"', found
    )
    lines = [
        each.data.display_text
        for each in data.render_annotations
        if isinstance(each.data, shapes.Text) and each.scene_tag == "LABEL"
    ]
    assert lines == ["Id: 7", "a;0.5;", "b;0.25;"]


def test_nothing_to_draw_is_an_empty_picture():
    assert drawn_of("") == RenderData((), "DETECTION")


def test_shapes_that_are_nowhere_are_not_drawn():
    nowhere = float("nan")
    data = RenderData(
        tuple(
            RenderAnnotation(each)
            for each in (
                shapes.Rectangle(nowhere, 0, 1, 1),
                shapes.Line(0, 0, float("inf"), 0),
                shapes.Point(nowhere, 0, normalized=True),
                shapes.Text("text", 0, nowhere),
            )
        )
    )
    pixels = np.full((8, 8, 3), 200, np.uint8)
    out = ours(OVERLAY, [("image", image(pixels), 0), ("data", data, 0)])["out"][0]
    np.testing.assert_array_equal(out.pixels, pixels)


@pytest.mark.parametrize("value", [1e300, -1e300, 2.0**31])
def test_shapes_that_are_far_away_do_not_end_the_server(value: float):
    data = RenderData(
        tuple(
            RenderAnnotation(each, thickness=value)
            for each in (
                shapes.Rectangle(-value, -value, value, value, rotation=0.3),
                shapes.Line(-value, 0, value, 1),
                shapes.Arrow(-value, 0, value, 1),
                shapes.GradientLine(-value, 0, value, 1),
                shapes.Text("text", 0, 5, value),
            )
        )
    )
    frame = image(np.zeros((8, 8, 3), np.uint8))
    out = ours(OVERLAY, [("image", frame, 0), ("data", data, 0)])["out"][0]
    assert out.pixels.shape == (8, 8, 3)


@pytest.mark.parametrize(
    "frame",
    [
        ImageFrame(ImageFormat.SRGB48, np.zeros((4, 4, 3), np.uint16)),
        ImageFrame(ImageFormat.SRGB, np.zeros((0, 4, 3), np.uint8)),
    ],
)
def test_an_image_that_cannot_be_drawn_on_is_told(frame: ImageFrame):
    outcome = ours(OVERLAY, [("image", frame, 0)])
    assert "mage" in str(outcome.error)


def test_without_an_image_there_is_a_canvas():
    pbtxt = """
      input_stream: "data" output_stream: "IMAGE:out"
      node { calculator: "AnnotationOverlayCalculator" input_stream: "data"
             output_stream: "IMAGE:out" options {
        [mediapipe.AnnotationOverlayCalculatorOptions.ext] {
          canvas_width_px: 5 canvas_height_px: 3 canvas_color { r: 1 g: 2 b: 3 } } } }
    """
    out = ours(pbtxt, [("data", RenderData(), 4)])["out"][4]
    assert out.pixels.tolist() == [[[1, 2, 3]] * 5] * 3
