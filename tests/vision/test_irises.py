"""Irises are drawn, and eyes of a face replaced, as MediaPipe's code says: the wheel has
neither calculator.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from ovms_mp_calculators.annotation_renderer import AnnotationRenderer

from ovms_mp.formats.landmark import NormalizedLandmarkList
from ovms_mp.formats.render_data import Oval, Point, RenderData, Text
from tests.vision.both import ours

IRISES = """
input_stream: "irises" input_stream: "size" input_stream: "left" input_stream: "right"
output_stream: "out"
node {{ calculator: "IrisToRenderDataCalculator" input_stream: "IRIS:irises"
       input_stream: "IMAGE_SIZE:size" {depths} output_stream: "RENDER_DATA:out"
       options {{ [mediapipe.IrisToRenderDataCalculatorOptions.ext] {{
         oval_color {{ r: 1 g: 2 b: 3 }} oval_thickness: 4
         landmark_color {{ r: 5 g: 6 b: 7 }} landmark_thickness: 2
         {options} }} }} }}
"""
DEPTHS = (
    'input_stream: "LEFT_IRIS_DEPTH_MM:left" input_stream: "RIGHT_IRIS_DEPTH_MM:right"'
)


def eye(x: float, y: float, *, width: float, height: float, mirrored: bool) -> Any:
    """Centre, then the model's order of the others."""
    right, top = (x + width / 2, y, 0), (x, y - height / 2, 0)
    left, bottom = (x - width / 2, y, 0), (x, y + height / 2, 0)
    # The left eye: centre, right, top, left, bottom; the right one as in a mirror.
    around = [left, top, right, bottom] if mirrored else [right, top, left, bottom]
    return [(x, y, 0), *around]


def irises() -> NormalizedLandmarkList:
    left = eye(0.25, 0.5, width=0.1, height=0.3, mirrored=False)
    right = eye(0.75, 0.5, width=0.1, height=0.2, mirrored=True)
    return NormalizedLandmarkList(np.array(left + right, np.float32))


def drawn(depths: str = "", options: str = "", **events: Any) -> Any:
    pbtxt = IRISES.format(depths=depths, options=options)
    given = [("irises", irises(), 0), ("size", (200, 100), 0)]
    given += [(name, value, 0) for name, value in events.items()]
    return ours(pbtxt, given)["out"][0].render_annotations


def test_each_iris_is_a_circle_of_its_mean_diameter_and_five_points():
    found = drawn()
    assert [type(each.data) for each in found] == ([Oval] + [Point] * 5) * 2
    for oval, x, diameter in ((found[0], 0.25, 25), (found[6], 0.75, 20)):
        # In pixels: 20 by 30 and 20 by 20 in an image of 200 by 100.
        box = oval.data.rectangle
        assert box.normalized
        assert (box.right - box.left) * 200 == pytest.approx(diameter, rel=1e-5)
        assert (box.bottom - box.top) * 100 == pytest.approx(diameter, rel=1e-5)
        assert (box.left + box.right) / 2 == pytest.approx(x)
        assert (oval.color, oval.thickness, oval.scene_tag) == ((1, 2, 3), 4, "OVAL")
    assert {(each.color, each.thickness) for each in (*found[1:6], *found[7:])} == {
        ((5, 6, 7), 2)
    }
    # Centre, top, bottom, left, right of the left eye.
    places = [(0.25, 0.5), (0.25, 0.35), (0.25, 0.65), (0.2, 0.5), (0.3, 0.5)]
    tops = [(each.data.x, each.data.y) for each in found[1:6]]
    np.testing.assert_allclose(sorted(tops), sorted(places), atol=1e-6)


def test_how_far_away_eyes_are_is_written_in_centimetres():
    options = "font_height_px: 21 horizontal_offset_px: 8 vertical_offset_px: 10"
    texts = drawn(DEPTHS, options, left=525.0, right=float("inf"))[12:]
    ((text, color, thickness),) = (
        (each.data, each.color, each.thickness) for each in texts
    )
    assert isinstance(text, Text)
    assert text.display_text == "Left : :53 cm"
    assert (text.left, text.baseline, text.font_height) == (8, 10 + 32, 21)
    assert (color, thickness) == ((255, 0, 0), 5)


def test_texts_may_stand_at_the_bottom():
    options = "font_height_px: 20 location: BOTTOM_LEFT"
    texts = drawn(DEPTHS, options, left=500.0, right=510.0)[12:]
    assert [each.data.baseline for each in texts] == [100 - 60, 100 - 30]


def test_texts_have_the_font_that_the_options_say():
    """By OpenCV's number of it, 0 unless one is given; and are drawn in it."""
    pictures: list[Any] = []
    for options, face in (
        ("", cv2.FONT_HERSHEY_SIMPLEX),
        ("font_face: 4", cv2.FONT_HERSHEY_TRIPLEX),
    ):
        given = "font_height_px: 21 vertical_offset_px: 0 " + options
        texts = drawn(DEPTHS, given, left=500.0, right=510.0)[12:]
        assert [each.data.font_face for each in texts] == [face, face]
        pixels = np.zeros((100, 200, 3), np.uint8)
        AnnotationRenderer().render(RenderData(texts), pixels)
        expected = np.zeros_like(pixels)
        for each in texts:
            # Font 21 high less the pen's half, in the font's units.
            scale = (21 - 3) / 21
            at = each.data.left, each.data.baseline
            cv2.putText(
                expected, each.data.display_text, at, face, scale, (255, 0, 0), 5
            )
        np.testing.assert_array_equal(pixels, expected)
        pictures.append(pixels)
    assert (pictures[0] != pictures[1]).any()


@pytest.mark.parametrize(
    ("given", "size", "said"),
    [
        (irises()[:9], (10, 10), "9 iris landmarks; expected 10"),
        (irises(), None, "IMAGE_SIZE has no packet"),
        (irises(), (0, 10), "0x10 has no irises"),
    ],
)
def test_irises_that_cannot_be_drawn_are_told(given: Any, size: Any, said: str):
    events = [("irises", given, 0)]
    if size:
        events.append(("size", size, 0))
    outcome = ours(IRISES.format(depths="", options=""), events)
    assert said in str(outcome.error)


UPDATE = """
input_stream: "face" input_stream: "eyes" output_stream: "out"
node { calculator: "UpdateFaceLandmarksCalculator" input_stream: "FACE_LANDMARKS:face"
       input_stream: "NEW_EYE_LANDMARKS:eyes"
       output_stream: "UPDATED_FACE_LANDMARKS:out" }
"""


def numbered(count: int, start: int) -> Any:
    return np.arange(start, start + count * 3, dtype=np.float32).reshape(count, 3)


def test_eyes_take_the_places_that_they_have_in_a_face():
    face = NormalizedLandmarkList(numbered(468, 0))
    eyes = NormalizedLandmarkList(numbered(142, 10_000))
    (found,) = ours(UPDATE, [("face", face, 0), ("eyes", eyes, 0)])["out"].values()
    changed = np.flatnonzero((found.points != face.points).any(axis=1))
    assert len(changed) == 142
    # Corners of the eyes: the first and the ninth of each, and the last of a brow.
    for place, number in (
        (33, 0),
        (133, 8),
        (193, 70),
        (263, 71),
        (362, 79),
        (417, 141),
    ):
        np.testing.assert_array_equal(found.points[place], eyes.points[number])
    np.testing.assert_array_equal(found.points[1], face.points[1])
    assert found.visibility is None


def test_what_is_known_of_eyes_is_kept():
    ones = np.ones(468, np.float32)
    face = NormalizedLandmarkList(numbered(468, 0), ones, ones)
    eyes = NormalizedLandmarkList(numbered(142, 0), np.full(142, 0.5, np.float32))
    (found,) = ours(UPDATE, [("face", face, 0), ("eyes", eyes, 0)])["out"].values()
    assert (found.visibility == 0.5).sum() == 142
    np.testing.assert_array_equal(found.presence, ones)


def test_a_face_without_new_eyes_gives_nothing():
    face = NormalizedLandmarkList(numbered(468, 0))
    assert ours(UPDATE, [("face", face, 0)])["out"] == {}


@pytest.mark.parametrize(
    ("face", "eyes", "said"),
    [(478, 142, "478 face landmarks"), (468, 71, "71 eye landmarks; expected 142")],
)
def test_other_models_are_told(face: int, eyes: int, said: str):
    events = [
        ("face", NormalizedLandmarkList(numbered(face, 0)), 0),
        ("eyes", NormalizedLandmarkList(numbered(eyes, 0)), 0),
    ]
    assert said in str(ours(UPDATE, events).error)
