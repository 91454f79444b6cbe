"""What a detector gives is judged, and read as the options say; by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ovms_mp_calculators.tensors_to_detections import (
    OpenVINOTensorsToDetectionsCalculator,
    TensorsToDetectionsCalculator,
)

from ovms_mp.core.errors import ServingError
from ovms_mp.graph.runner import CalculatorRunner


def decoder(options: str, calculator: Any = TensorsToDetectionsCalculator) -> Any:
    name = calculator.__name__
    return CalculatorRunner(
        calculator,
        f"""calculator: "{name}" input_stream: "TENSORS:tensors"
            input_side_packet: "ANCHORS:anchors" output_stream: "DETECTIONS:out"
            node_options {{ [type.googleapis.com/mediapipe.{name}Options] {{ {options} }}
            }}""",
        side_packets={"ANCHORS": np.array([[0.5, 0.5, 1, 1]] * 2, np.float32)},
    )


TWO = "num_classes: 2 num_boxes: 2 num_coords: 4 x_scale: 1 y_scale: 1 w_scale: 1 h_scale: 1 "


@pytest.mark.parametrize(
    "calculator", [TensorsToDetectionsCalculator, OpenVINOTensorsToDetectionsCalculator]
)
def test_tensors_that_are_no_numbers_make_no_detections(calculator: Any):
    run = decoder(TWO + "min_score_thresh: 0.5", calculator)
    boxes = np.array([[[0, 0, 1, 1], [np.nan] * 4]], np.float32)
    run.feed("tensors", [boxes, np.full((1, 2, 2), np.nan, np.float32)], at=0)
    run.feed("tensors", [boxes, np.full((1, 2, 2), 0.75, np.float32)], at=1)
    (_, nothing), (_, found) = run.outputs["out"]
    assert nothing == []
    assert [(each.box, each.scores, each.label_ids) for each in found] == [
        ((0, 0, 1, 1), (0.75,), (0,))
    ]


def test_a_model_with_its_own_suppression_gives_boxes_with_several_classes():
    run = decoder(
        TWO
        + "max_classes_per_detection: 2 min_score_thresh: 0.3 ignore_classes: 7 "
        + "box_boundaries_indices { ymin: 1 xmin: 0 ymax: 3 xmax: 2 }"
    )
    box, other = [0.1, 0.2, 0.5, 0.8], [0, 0, 1, 1]
    tensors = [
        np.array([[box, box, other, other, other]], np.float32),
        np.array([[3, 4, 7, 5, 0]], np.float32),
        np.array([[0.9, 0.4, 0.9, 0.2, 0.9]], np.float32),
        np.array([2], np.float32),
    ]
    run.feed("tensors", tensors, at=0)
    ((_, (found,)),) = run.outputs["out"]
    np.testing.assert_allclose(found.box, (0.1, 0.2, 0.4, 0.6), atol=1e-6)
    assert found.label_ids == (3, 4)
    np.testing.assert_allclose(found.scores, (0.9, 0.4))


@pytest.mark.parametrize(
    ("tensors", "said"),
    [
        (
            [np.zeros((1, 2, 5), np.float32), np.zeros((1, 2, 2), np.float32)],
            "[1, 2, 5]",
        ),
        (
            [np.zeros((1, 2, 4), np.float32), np.zeros((1, 3, 2), np.float32)],
            "[1, 3, 2]",
        ),
        ([np.zeros((1, 2, 4)), np.zeros((1, 2, 2))], "float64; expected float32"),
        ([np.zeros((1, 2, 4), np.float32)], "1 tensors; expected 2, 3 or 4"),
        ([3, 4], "expected an array, found int"),
    ],
)
def test_a_model_of_other_shapes_is_told(tensors: list[Any], said: str):
    run = decoder(TWO)
    run.feed("tensors", tensors, at=0)
    assert run.error is not None
    assert said in run.error.text


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("num_classes: 1 num_coords: 4 num_keypoints: 1", "num_coords is 4"),
        ("num_coords: 4", "must be set"),
        (TWO + "max_results: 0", "not 0"),
        (TWO + "allow_classes: 1 ignore_classes: 0", "exclude each other"),
        (TWO + "tensor_mapping { detections_tensor_index: 0 }", "tensor_mapping"),
        (TWO + "box_boundaries_indices { ymin: 1 }", "box_boundaries_indices"),
    ],
)
def test_options_that_contradict_each_other_are_refused(options: str, said: str):
    with pytest.raises(ServingError, match=said):
        decoder(options)
