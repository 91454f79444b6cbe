"""Subgraphs of Images say of each what those of ImageFrames say, which here are the same,
and where they may leave frames out, which ones they have looked at.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import pytest

from graphs import repository
from ovms_mp import Graph
from ovms_mp.core.image import ImageFormat, ImageFrame
from ovms_mp.formats.tensors import tensor_of
from tests.vision import faces
from tests.vision.bodies import video

pytestmark = pytest.mark.timeout(300)


class Pair(NamedTuple):
    """Of Images and of ImageFrames; `outputs` are tags, `models` are what the graph calls
    those of `repository`, `side` says how many to look for.
    """

    of_images: str
    of_frames: str
    outputs: Sequence[str]
    models: Mapping[str, str]
    side: str = ""
    leaves_out: bool = True


FACES: Final = {"face_detection": "mediapipe_face_detection"}
PAIRS: Final = [
    Pair(
        "FaceDetectionShortRangeImage", "FaceDetectionShortRange", ["DETECTIONS"], FACES
    ),
    Pair(
        "FaceDetectionFullRangeImage",
        "FaceDetectionFullRange",
        ["DETECTIONS"],
        {"face_detection_full_range": "face_detection_full_range"},
    ),
    Pair(
        "FaceLandmarkFrontCpuImage",
        "FaceLandmarkFrontCpu",
        ["LANDMARKS", "DETECTIONS", "ROIS_FROM_LANDMARKS", "ROIS_FROM_DETECTIONS"],
        {**FACES, "face_landmark": "face_landmark"},
        "NUM_FACES",
    ),
    Pair(
        "HandLandmarkTrackingCpuImage",
        "HandLandmarkTrackingCpu",
        [
            "LANDMARKS",
            "HANDEDNESS",
            "PALM_DETECTIONS",
            "HAND_ROIS_FROM_LANDMARKS",
            "HAND_ROIS_FROM_PALM_DETECTIONS",
        ],
        {
            "palm_detection_full": "palm_detection_full",
            "hand_landmark_full": "hand_landmark_full",
        },
        "NUM_HANDS",
        leaves_out=False,
    ),
    Pair(
        "SelfieSegmentationCpuImage",
        "SelfieSegmentationCpu",
        ["SEGMENTATION_MASK"],
        {"selfie_segmentation": "selfie_segmentation"},
    ),
]


PAIRS_BY_NAME: Final = pytest.mark.parametrize(
    "pair", PAIRS, ids=[pair.of_images for pair in PAIRS]
)


def loaded(
    subgraph: str, pair: Pair, folder: Path, tags: Sequence[str], options: str = ""
) -> Graph:
    """A graph of this node alone."""
    streams = [(tag, tag.lower()) for tag in tags]
    outputs = [f'output_stream: "{name}"' for _, name in streams]
    inside = [f'output_stream: "{tag}:{name}"' for tag, name in streams]
    count = f'input_side_packet: "{pair.side}:count"' if pair.side else ""
    pbtxt = f"""
      input_stream: "frame" {" ".join(outputs)}
      {'input_side_packet: "count"' if count else ""}
      node {{ calculator: "{subgraph}" input_stream: "IMAGE:frame" {count}
              {" ".join(inside)} {options} }}
    """
    models = {
        name: repository.add_model(folder, model) for name, model in pair.models.items()
    }
    return Graph.parse(pbtxt, models=models)


def frames_of(pair: Pair) -> list[ImageFrame]:
    if pair.side == "NUM_HANDS":
        pixels = video("cup.mp4.gz", 0, 4)
    else:
        pixels = faces.material()["carphone.mp4"][:4]
    nobody = np.full((48, 64, 3), 127, np.uint8)
    return [ImageFrame(ImageFormat.SRGB, each) for each in (*pixels, nobody)]


def sides_of(pair: Pair) -> dict[str, int]:
    return {"count": 2} if pair.side else {}


def tensors(found: Any) -> dict[int, dict[str, Any]]:
    """By time and name."""
    return {
        at: {
            name: each.pixels if isinstance(each, ImageFrame) else tensor_of(each)
            for name, each in outputs.items()
        }
        for at, outputs in found
    }


@PAIRS_BY_NAME
def test_of_images_the_same_is_said_as_of_frames(pair: Pair, tmp_path: Path):
    """One after the other: all of them are looked at."""
    frames = frames_of(pair)
    sides = sides_of(pair)
    tags = ["IMAGE", *pair.outputs] if pair.leaves_out else pair.outputs
    with loaded(pair.of_frames, pair, tmp_path / "frames", pair.outputs) as graph:
        expected = tensors(
            graph.stream({"frame": frames}, side_packets=sides, window=1)
        )
    with loaded(pair.of_images, pair, tmp_path / "images", tags) as graph:
        found = tensors(graph.stream({"frame": frames}, side_packets=sides, window=1))
    for at, frame in enumerate(frames if pair.leaves_out else ()):
        np.testing.assert_array_equal(found[at].pop("image"), frame.pixels)
    assert any(expected.values())
    for at in range(len(frames)):
        assert set(found.get(at, {})) == set(expected.get(at, {}))
        for name, tensor in expected.get(at, {}).items():
            np.testing.assert_array_equal(found[at][name], tensor)


@pytest.mark.parametrize(
    "pair",
    [each for each in PAIRS if each.leaves_out],
    ids=[each.of_images for each in PAIRS if each.leaves_out],
)
def test_of_frames_that_come_too_fast_some_are_left_out(pair: Pair, tmp_path: Path):
    """What is said is said of those that were looked at, and the last one always is."""
    frames = frames_of(pair)[:4] * 3
    tags = ["IMAGE", *pair.outputs]
    with (
        loaded(pair.of_images, pair, tmp_path, tags) as graph,
        graph.run(sides_of(pair)) as run,
    ):
        for at, frame in enumerate(frames):
            run.feed("frame", frame, at=at)
        run.close()
        looked_at = [packet.timestamp for packet in run.poll("image")]
        (first, *_) = pair.outputs
        said = [packet.timestamp for packet in run.poll(first.lower())]
    assert looked_at == sorted({*looked_at})
    assert looked_at[0] == 0
    assert looked_at[-1] == len(frames) - 1
    assert {*said} <= {*looked_at}
    assert said


def test_faces_of_whole_images_are_those_that_a_size_s_own_subgraph_finds(
    tmp_path: Path,
):
    """FaceDetectionWithoutRoi is told the sizes of the short range."""
    (pair, *_) = PAIRS
    sizes = """node_options { [type.googleapis.com/mediapipe.FaceDetectionOptions] {
      tensor_width: 128 tensor_height: 128 num_layers: 4 strides: [8, 16, 16, 16]
      num_boxes: 896 x_scale: 128 y_scale: 128 h_scale: 128 w_scale: 128
      min_score_thresh: 0.5
    } }"""
    found: list[dict[int, dict[str, Any]]] = []
    for name, options in (
        ("FaceDetectionShortRange", ""),
        ("FaceDetectionWithoutRoi", sizes),
    ):
        with loaded(name, pair, tmp_path / name, pair.outputs, options) as graph:
            frames = {"frame": frames_of(pair)}
            found.append(tensors(graph.stream(frames, window=1)))
    expected, without = found
    assert expected
    assert without.keys() == expected.keys()
    for at, outputs in expected.items():
        np.testing.assert_array_equal(without[at]["detections"], outputs["detections"])
