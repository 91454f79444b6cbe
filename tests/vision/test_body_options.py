"""Side packets change what the subgraphs of hands and bodies do as those of mp.solutions
change it; and OVMS's demo of a person is served as it is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from graphs import repository
from tests.graphs.in_process import serving
from tests.vision import bodies
from tests.vision.streamed import served_graph, streamed

pytestmark = pytest.mark.timeout(900)

HANDS = """
input_stream: "IMAGE:frame" input_side_packet: "number" input_side_packet: "follow"
output_stream: "OVTENSOR:hands" output_stream: "OVTENSOR1:hands_in_metres"
output_stream: "OVTENSOR2:handedness"
node { calculator: "HandLandmarkTrackingCpu" input_stream: "IMAGE:frame"
       input_side_packet: "NUM_HANDS:number"
       input_side_packet: "USE_PREV_LANDMARKS:follow"
       output_stream: "LANDMARKS:hands" output_stream: "WORLD_LANDMARKS:hands_in_metres"
       output_stream: "HANDEDNESS:handedness" }
"""
POSE = """
input_stream: "IMAGE:frame" input_side_packet: "smooth" input_side_packet: "follow"
output_stream: "OVTENSOR:body" output_stream: "OVTENSOR1:body_in_metres"
output_stream: "IMAGE:mask"
node { calculator: "ConstantSidePacketCalculator" output_side_packet: "PACKET:mask"
       node_options { [type.googleapis.com/mediapipe.ConstantSidePacketCalculatorOptions] {
         packet { bool_value: true } } } }
node { calculator: "PoseLandmarkCpu" input_stream: "IMAGE:frame"
       input_side_packet: "SMOOTH_LANDMARKS:smooth"
       input_side_packet: "SMOOTH_SEGMENTATION:smooth"
       input_side_packet: "ENABLE_SEGMENTATION:mask"
       input_side_packet: "USE_PREV_LANDMARKS:follow"
       output_stream: "LANDMARKS:body" output_stream: "WORLD_LANDMARKS:body_in_metres"
       output_stream: "SEGMENTATION_MASK:mask" }
"""
HAND = ("palm_detection_full", "hand_landmark_full")
BODY = ("pose_detection", "pose_landmark_full")


@pytest.fixture(autouse=True)
def needs_mediapipe(request: pytest.FixtureRequest) -> None:
    if "demo" not in request.node.name:
        request.getfixturevalue("mediapipe")


def near(mine: bodies.Found, theirs: bodies.Found, name: str, limit: float) -> None:
    """Landmarks in metres, or scores: off by less than the limit in the mean, and by
    less than six times as much in 99 of 100.
    """
    apart: list[Any] = []
    for one, other in zip(mine, theirs, strict=True):
        assert (name in one) == (name in other)
        if name in one:
            a, b = one[name][..., :3], other[name][..., :3]
            apart.append(np.abs(a - b).ravel())
    assert len(apart) > 5
    every = np.concatenate(apart)
    assert every.mean() < limit
    assert np.percentile(every, 99) < 6 * limit


@pytest.mark.parametrize("follow", [True, False])
def test_hands_are_followed_or_looked_for_anew_and_each_is_left_or_right(
    tmp_path: Path, follow: bool
):
    frames = bodies.video("cup.mp4.gz", 0, 60, step=3)
    with served_graph(tmp_path, HANDS, {each: each for each in HAND}) as catalog:
        mine = streamed(
            catalog, "graph", frames, every=bodies.EVERY, number=1, follow=follow
        )
    options = {"max_num_hands": 1, "static_image_mode": not follow}
    theirs = bodies.solved("hands", frames, options)
    found = bodies.distance("hands", mine, theirs, frames)
    assert found.found > 5
    assert found.different == 0
    assert found.mean < 0.005
    assert found.p99 < 0.015
    near(mine, theirs, "hands_in_metres", 0.005)
    near(mine, theirs, "handedness", 0.02)


@pytest.mark.parametrize("smooth", [True, False])
def test_bodies_are_smoothed_or_not_and_have_a_mask_and_metres(
    tmp_path: Path, smooth: bool
):
    frames = bodies.clip(bodies.assets.fetch("carphone.mp4"), 0, 12)
    with served_graph(tmp_path, POSE, {each: each for each in BODY}) as catalog:
        mine = streamed(
            catalog, "graph", frames, every=bodies.EVERY, smooth=smooth, follow=smooth
        )
    options: Mapping[str, Any] = {
        "smooth_landmarks": smooth,
        "smooth_segmentation": smooth,
        "enable_segmentation": True,
        "static_image_mode": not smooth,
    }
    theirs = bodies.solved("pose", frames, options)
    found = bodies.distance("body", mine, theirs, frames)
    assert found.found == 12
    assert found.different == 0
    assert found.mean < 0.005
    assert found.p99 < 0.015
    near(mine, theirs, "body_in_metres", 0.02)
    for one, other in zip(mine, theirs, strict=True):
        apart = np.abs(one["mask"][..., 0] - other["mask"])
        assert apart.mean() < 0.005
        assert np.percentile(apart, 99) < 0.05


REFINED = """
input_stream: "IMAGE:frame" output_stream: "OVTENSOR:face"
node { calculator: "ConstantSidePacketCalculator" output_side_packet: "PACKET:refine"
       node_options { [type.googleapis.com/mediapipe.ConstantSidePacketCalculatorOptions] {
         packet { bool_value: true } } } }
node { calculator: "HolisticLandmarkCpu" input_stream: "IMAGE:frame"
       input_side_packet: "REFINE_FACE_LANDMARKS:refine"
       output_stream: "FACE_LANDMARKS:face" }
"""


def test_the_face_of_a_person_may_be_refined(tmp_path: Path):
    """Its lips, eyes and irises are those of mp.solutions then."""
    frames = [bodies.picture("messi5.jpg")] * 3
    models = {**DEMO_MODELS, ATTENTION: ATTENTION}
    with served_graph(tmp_path, REFINED, models) as catalog:
        mine = streamed(catalog, "graph", frames, every=bodies.EVERY)
    assert [each["face"].shape for each in mine] == [(478, 5)] * 3
    theirs = bodies.solved("holistic", frames, {"refine_face_landmarks": True})
    found = bodies.distance("face", mine, theirs, frames)
    assert (found.found, found.different) == (3, 0)
    assert found.mean < 0.005
    assert found.p99 < 0.015


ATTENTION = "face_landmark_with_attention"
# As OVMS's demo holistic_tracking has it: names, nodes and models.
DEMO = """
input_stream: "IMAGE:first_input_video"
output_stream: "IMAGE:output"
node {
  calculator: "HolisticLandmarkCpu"
  input_stream: "IMAGE:first_input_video"
  output_stream: "POSE_LANDMARKS:pose_landmarks"
  output_stream: "POSE_ROI:pose_roi"
  output_stream: "POSE_DETECTION:pose_detection"
  output_stream: "FACE_LANDMARKS:face_landmarks"
  output_stream: "LEFT_HAND_LANDMARKS:left_hand_landmarks"
  output_stream: "RIGHT_HAND_LANDMARKS:right_hand_landmarks"
}
node {
  calculator: "ImagePropertiesCalculator"
  input_stream: "IMAGE:first_input_video"
  output_stream: "SIZE:image_size"
}
node {
  calculator: "HolisticTrackingToRenderData"
  input_stream: "IMAGE_SIZE:image_size"
  input_stream: "POSE_LANDMARKS:pose_landmarks"
  input_stream: "POSE_ROI:pose_roi"
  input_stream: "LEFT_HAND_LANDMARKS:left_hand_landmarks"
  input_stream: "RIGHT_HAND_LANDMARKS:right_hand_landmarks"
  input_stream: "FACE_LANDMARKS:face_landmarks"
  output_stream: "RENDER_DATA_VECTOR:render_data_vector"
}
node {
  calculator: "AnnotationOverlayCalculator"
  input_stream: "IMAGE:first_input_video"
  input_stream: "VECTOR:render_data_vector"
  output_stream: "IMAGE:output"
}
"""
DEMO_MODELS = {
    "face_landmark": "face_landmark",
    "hand_landmark_full": "hand_landmark_full",
    "hand_recrop": "hand_recrop",
    "pose_detection": "pose_detection",
    "face_detection": "mediapipe_face_detection",
    "pose_landmark_full": "pose_landmark_full",
}


def test_the_demo_of_a_person_is_served_as_it_is(tmp_path: Path):
    """Its config has the models beside the graph, in the same list."""
    (tmp_path / "holistic_tracking.pbtxt").write_text(DEMO)
    models: list[Any] = []
    for name, model in DEMO_MODELS.items():
        repository.add_model(tmp_path, model)
        hint = {"PERFORMANCE_HINT": "LATENCY"}
        models.append(
            {"config": {"name": name, "base_path": model, "plugin_config": hint}}
        )
    graph = {
        "name": "holisticTracking",
        "base_path": "./",
        "graph_path": "holistic_tracking.pbtxt",
    }
    config = {"model_config_list": models, "mediapipe_config_list": [graph]}
    (tmp_path / "config.json").write_text(json.dumps(config))
    frame = bodies.picture("astronaut.png")
    nobody = np.full((60, 80, 3), 200, np.uint8)
    with serving(tmp_path) as catalog:
        person, empty = streamed(
            catalog, "holisticTracking", [frame, nobody], name="first_input_video"
        )
    assert person["output"].shape == frame.shape
    changed = np.mean((person["output"] != frame).any(axis=2))
    assert 0.005 < changed < 0.2
    assert np.array_equal(empty["output"], nobody)
