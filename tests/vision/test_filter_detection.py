"""Detections of some labels stay, as natively."""

from __future__ import annotations

import numpy as np
import pytest

from ovms_mp.core.errors import ServingError
from ovms_mp.formats.detection import Box, Detection
from tests.vision.both import NativeGraphs, ours

FILTER = """
input_stream: "in" output_stream: "out"
node {{ calculator: "ConstantSidePacketCalculator" output_side_packet: "PACKET:labels"
       options {{ [mediapipe.ConstantSidePacketCalculatorOptions.ext] {{
         packet {{ string_value: "{labels}" }} }} }} }}
node {{ calculator: "FilterDetectionCalculator" input_stream: "DETECTION:in"
       output_stream: "DETECTION:out" {side}
       options {{ [mediapipe.FilterDetectionCalculatorOptions.ext] {{ {options} }} }} }}
"""
SIDE = 'input_side_packet: "LABELS_CSV:labels"'


def found() -> Detection:
    points = np.array([[0.25, 0.5]], np.float32)
    return Detection(
        Box(0.125, 0.25, 0.5, 0.5),
        (0.25, 0.75, 0.5),
        labels=("cat", "dog", "hot dog"),
        keypoints=points,
        feature_tag="kept by nobody",
    )


@pytest.mark.parametrize("side", ["", SIDE])
@pytest.mark.parametrize(
    ("labels", "options"),
    [
        ("cat, dog", ""),
        ("hot dog", ""),
        ("bird", ""),
        ("", ""),
        ("", "empty_allowed_labels_means_allow_everything: true"),
        ("cat,dog", "min_score: 0.5"),
        ("dog,hot dog", "max_score: 0.6"),
    ],
)
def test_labels_stay_that_stay_natively(
    native: NativeGraphs, labels: str, options: str, side: str
):
    pbtxt = FILTER.format(labels=labels, options=options, side=side)
    events = [("in", found(), 0)]
    theirs = native.run(pbtxt, events, {"out": "proto:mediapipe.Detection"})["out"]
    mine = ours(pbtxt, events)["out"]
    assert mine.keys() == theirs.keys()
    for at, each in mine.items():
        assert each.labels == theirs[at].labels
        assert each.scores == pytest.approx(theirs[at].scores)
        assert each.box == pytest.approx(theirs[at].box)
        np.testing.assert_array_equal(each.keypoints, theirs[at].keypoints)
        assert each.feature_tag == theirs[at].feature_tag == ""


def test_of_a_list_those_stay_that_have_a_label_left():
    pbtxt = """
      input_stream: "in" output_stream: "out"
      node { calculator: "FilterDetectionCalculator" input_stream: "DETECTIONS:in"
             output_stream: "DETECTIONS:out"
             options { [mediapipe.FilterDetectionCalculatorOptions.ext] {
               min_score: 0.6 } } }
    """
    other = Detection(Box(0, 0, 1, 1), (0.5,), labels=("cat",))
    (kept,) = ours(pbtxt, [("in", [other, found()], 0)])["out"].values()
    assert [each.labels for each in kept] == [("dog",)]


@pytest.mark.parametrize(
    ("labels", "options", "said"),
    [
        ("(a+)+", "", "is a regular expression"),
        ("", "fail_on_empty_labels: true", "no label is allowed"),
    ],
)
def test_labels_that_cannot_be_meant_are_told(labels: str, options: str, said: str):
    outcome = ours(FILTER.format(labels=labels, options=options, side=SIDE), [])
    assert said in str(outcome.error)


def test_one_stream_in_is_one_stream_out():
    pbtxt = """
      input_stream: "in" output_stream: "out"
      node { calculator: "FilterDetectionCalculator" input_stream: "DETECTIONS:in"
             output_stream: "DETECTION:out" }
    """
    with pytest.raises(ServingError, match="one input and one output of its tag"):
        ours(pbtxt, [])
