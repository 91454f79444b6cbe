"""What can never fit is refused when a graph is loaded, by the node that would not take it;
what may fit is not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest

from ovms_mp import FunctionModel, GraphError
from ovms_mp.calculator import Foreseen, TensorInfo
from ovms_mp.library.explanation import explain
from tests.library.expecting import (
    BINARY,
    CLASSES,
    DETECTIONS,
    FLOAT,
    FLOATS,
    FRAME,
    HEAD,
    IMAGE,
    INFERENCE,
    LANDMARKS,
    MASK,
    MODEL,
    REFINED,
    TO_TENSOR,
    TRANSFORMED,
    gives,
    load,
)

FITTING: Final[list[tuple[str, Sequence[tuple[int, ...]]]]] = [
    (DETECTIONS, [(1, 2, 4), (1, 2, 3)]),
    (DETECTIONS, [(1, 1, 2, 4), (1, 2, 3)]),
    (DETECTIONS, [(1, 2, 4), (1, 2, 3), (2, 4)]),
    (DETECTIONS, [(1, 9, 4), (1, 9), (1, 9), (1,)]),
    (DETECTIONS, [(1, -1, 4), (-1, -1, -1)]),
    (LANDMARKS, [(1, 63)]),
    (LANDMARKS, [(1, 21, 3), (1, 1)]),
    (LANDMARKS, [(1, -1)]),
    (FLOAT, [(1, 1, 1)]),
    (FLOATS, [(1, 7)]),
    (MASK, [(1, 16, 16, 2)]),
    (MASK, [(16, 16, 2)]),
    (MASK, [(-1, -1, -1, -1)]),
    (CLASSES, [(1, 2)]),
    (CLASSES, [(-1, 2)]),
    (BINARY, [(1, 1)]),
    (REFINED, [(1, 20), (1, 8, 8, 5)]),
    (REFINED, [(1, 20), (8, 8, -1), (7,)]),
]
MISFITTING: Final[list[tuple[str, Sequence[tuple[int, ...]], str, str]]] = [
    (
        DETECTIONS,
        [(1, 3, 4), (1, 2, 3)],
        "TensorsToDetectionsCalculator",
        'output "a" of model "model" of shape [1, 3, 4]; expected [1, 2, 4]',
    ),
    (
        DETECTIONS,
        [(1, 2, 4), (1, 2, 5)],
        "TensorsToDetectionsCalculator",
        'output "b" of model "model" of shape [1, 2, 5]; expected [1, 2, 3]',
    ),
    (
        DETECTIONS,
        [(2, 4), (1, 2, 3)],
        "TensorsToDetectionsCalculator",
        'output "a" of model "model" of shape [2, 4]; expected [1, 2, 4]',
    ),
    (
        DETECTIONS,
        [(1, -1, 5), (1, 2, 3)],
        "TensorsToDetectionsCalculator",
        'output "a" of model "model" of shape [1, -1, 5]; expected [1, 2, 4]',
    ),
    (
        DETECTIONS,
        [(1, 2, 4)],
        "TensorsToDetectionsCalculator",
        "1 tensors; expected 2, 3 or 4",
    ),
    (
        DETECTIONS,
        [(1, 9, 4), (1, 9), (1, 9, 1), (1,)],
        "TensorsToDetectionsCalculator",
        'output "c" of model "model" of shape [1, 9, 1]; expected [1, -1]',
    ),
    (
        DETECTIONS.replace("num_boxes: 2", "num_boxes: 3"),
        [(1, 3, 4), (1, 3, 3)],
        "TensorsToDetectionsCalculator",
        "anchors of shape [2, 4]; expected [3, 4]",
    ),
    (
        DETECTIONS.replace('input_side_packet: "ANCHORS:anchors"', ""),
        [(1, 2, 4), (1, 2, 3)],
        "TensorsToDetectionsCalculator",
        "No anchor data available.",
    ),
    (
        DETECTIONS.replace(
            "num_boxes: 2",
            "num_boxes: 2 tensor_mapping { detections_tensor_index: 2 "
            "scores_tensor_index: 1 anchors_tensor_index: 0 }",
        ),
        [(1, 2, 4), (1, 2, 3)],
        "TensorsToDetectionsCalculator",
        "2 tensors; tensor_mapping numbers 3",
    ),
    (
        LANDMARKS,
        [(1, 10)],
        "TensorsToLandmarksCalculator",
        'output "a" of model "model" of shape [1, 10] has no values for 21 landmarks',
    ),
    (
        FLOAT,
        [(1, 2)],
        "TensorsToFloatsCalculator",
        'output "a" of model "model" of shape [1, 2] has 2 values; expected 1',
    ),
    (
        MASK,
        [(1, 16, 16, 1)],
        "TensorsToSegmentationCalculator",
        'output "a" of model "model" of 1 channels; activation SOFTMAX takes 2',
    ),
    (
        MASK,
        [(2, 16, 16, 2)],
        "TensorsToSegmentationCalculator",
        "of shape [2, 16, 16, 2]; expected [1, height, width, channels]",
    ),
    (
        CLASSES,
        [(1, 1000)],
        "TensorsToClassificationCalculator",
        'output "a" of model "model" has 1000 scores for 2 labels',
    ),
    (
        CLASSES,
        [(1, 2), (1, 2)],
        "TensorsToClassificationCalculator",
        "2 tensors; expected 1",
    ),
    (
        BINARY,
        [(1, 2)],
        "TensorsToClassificationCalculator",
        "2 scores; binary_classification takes 1",
    ),
    (
        REFINED,
        [(1, 20), (1, 8, 8, 4)],
        "RefineLandmarksFromHeatmapCalculator",
        'output "b" of model "model" of shape [1, 8, 8, 4]; '
        "expected [1, height, width, 5]",
    ),
    (
        REFINED,
        [(1, 4), (1, 8, 8, 5)],
        "TensorsToLandmarksCalculator",
        'output "a" of model "model" of shape [1, 4] has no values for 5 landmarks',
    ),
    (
        REFINED,
        [(1, 20)],
        "SplitTensorVectorCalculator",
        "a list of 1 items has no range that ends at 2",
    ),
]


@pytest.mark.parametrize(("pbtxt", "shapes"), FITTING)
def test_a_model_that_fits_or_may_fit_is_taken(
    pbtxt: str, shapes: Sequence[tuple[int, ...]]
):
    load(pbtxt, models={"model": gives(*shapes)}).close()


@pytest.mark.parametrize(("pbtxt", "shapes", "calculator", "said"), MISFITTING)
def test_a_model_of_other_shapes_is_refused(
    pbtxt: str, shapes: Sequence[tuple[int, ...]], calculator: str, said: str
):
    """At the line of the node that could not take what the model gives."""
    lines = pbtxt.splitlines()
    place = next(n for n, line in enumerate(lines) if f'"{calculator}"' in line)
    with pytest.raises(GraphError) as caught:
        load(pbtxt, models={"model": gives(*shapes)})
    text = str(caught.value)
    assert f'graph.pbtxt:{place}: node "{calculator}": ' in text
    assert text.endswith(said)


@pytest.mark.parametrize(
    ("pbtxt", "shapes"),
    [
        (DETECTIONS, [(1, 2, 4), (1, 2, 3)]),
        (LANDMARKS, [(1, 63)]),
        (FLOAT, [(1, 1)]),
        (MASK, [(1, 16, 16, 2)]),
        (CLASSES, [(1, 2)]),
        (REFINED, [(1, 20), (1, 8, 8, 5)]),
    ],
)
def test_a_model_of_other_numbers_than_floats_is_refused(
    pbtxt: str, shapes: Sequence[tuple[int, ...]]
):
    said = 'output "a" of model "model" of INT32; expected FP32'
    with pytest.raises(GraphError, match=said):
        load(pbtxt, models={"model": gives(*shapes, datatype="INT32")})


@pytest.mark.parametrize(
    "inputs",
    [
        [replace(IMAGE, shape=(1, -1, -1, 3))],
        [replace(IMAGE, shape=(1, 64, 64, 3), is_example=True)],
    ],
)
def test_of_a_model_that_takes_several_shapes_nothing_is_foreseen(
    inputs: list[TensorInfo],
):
    """It gives other ones, then, than it says."""
    model = gives((1, 9, 4), (1, 9, 3), inputs=inputs)
    load(DETECTIONS, models={"model": model}).close()


TAKES: Final = 'input "image" of model "model" takes'


@pytest.mark.parametrize(
    ("pbtxt", "said"),
    [
        (
            HEAD.replace('"out"', '"tensors"')
            + TO_TENSOR.replace("WIDTH", "64")
            + INFERENCE,
            'an image of "ImageToTensorCalculator" is of shape [1, 128, 64, -1]; '
            f"{TAKES} [1, 128, 128, 3]",
        ),
        (
            MODEL.replace('"out"', '"tensors"').replace(
                "float_range { min: 0 max: 1", "uint_range { min: 0 max: 255"
            ),
            f'an image of "ImageToTensorCalculator" is UINT8; {TAKES} FP32',
        ),
        (
            TRANSFORMED.replace("CONVERTER", "TensorConverterCalculator"),
            'a tensor of "TensorConverterCalculator" is of shape [1, 128, 100, -1]; '
            f"{TAKES} [1, 128, 128, 3]",
        ),
        (
            TRANSFORMED.replace("CONVERTER", "OpenVINOConverterCalculator"),
            'a tensor of "OpenVINOConverterCalculator" is of shape '
            f"[1, 128, 100, -1]; {TAKES} [1, 128, 128, 3]",
        ),
        (
            FRAME,
            'a frame of "FrameToTensorCalculator" is of shape [1, 100, 128, -1]; '
            f"{TAKES} [1, 128, 128, 3]",
        ),
        (
            MODEL.replace('"out"', '"tensors"').replace('"image"', '"picture"'),
            'model "model" has no input "picture", it has "image"',
        ),
        (
            FRAME.replace('value: "b"', 'value: "c"').replace(
                "height: 100", "height: 128"
            ),
            'model "model" has no output "c", it has "a", "b"',
        ),
    ],
)
def test_a_model_that_takes_something_else_is_refused(pbtxt: str, said: str):
    with pytest.raises(GraphError) as caught:
        load(pbtxt, models={"model": gives((1, 1), (1, 1))})
    assert 'node "OpenVINOInferenceCalculator": ' in str(caught.value)
    assert str(caught.value).endswith(said)


@pytest.mark.parametrize(
    "image",
    [
        replace(IMAGE, shape=(1, -1, -1, 3)),
        replace(IMAGE, shape=(-1, 128, 64, -1)),
        replace(IMAGE, shape=(1, 7, 7, 3), is_example=True),
        replace(IMAGE, shape=(), is_example=True),
        replace(IMAGE, name="other", aliases=("other", "image")),
        replace(IMAGE, name="image:0", shape=(1, 128, 64, 1)),
    ],
)
def test_a_model_that_may_take_an_image_does(image: TensorInfo):
    """Whatever it calls it."""
    if image.name == "other":
        image = replace(image, shape=(1, 128, 64, 3))
    pbtxt = HEAD.replace('"out"', '"tensors"') + TO_TENSOR + INFERENCE
    model = gives((1, 1), inputs=[image])
    load(pbtxt.replace("WIDTH", "64"), models={"model": model}).close()


def test_a_model_that_tells_nothing_of_itself_is_taken():
    model = FunctionModel(lambda tensors: tensors, name="model")
    for pbtxt in (DETECTIONS, LANDMARKS, MASK, CLASSES, REFINED, FRAME):
        load(pbtxt, models={"model": model}).close()


def test_one_model_after_the_other(tmp_path: Path):
    """What the first gives is what the second takes, or is not; the explanation of the
    graph has it at the node, and tells of the others.
    """
    second = HEAD.partition("node")[2].replace('"model"', '"second"')
    pbtxt = (
        FRAME.replace("height: 100", "height: 128").replace(
            'stream: "b"', 'stream: "y"'
        )
        + "node"
        + second.replace("SESSION:session", "SESSION:another")
        + """
node {
  name: "then"
  calculator: "OpenVINOInferenceCalculator"
  input_side_packet: "SESSION:another"
  input_stream: "X:b"
  output_stream: "Y:y"
  node_options {
    [type.googleapis.com/mediapipe.OpenVINOInferenceCalculatorOptions] {
      tag_to_input_tensor_names { key: "X" value: "x" }
      tag_to_output_tensor_names { key: "Y" value: "y" }
    }
  }
}
"""
    )

    def models(length: int) -> Any:
        taken = TensorInfo("x", "FP32", (1, length))
        given = TensorInfo("y", "FP32", (1, 1))
        then = FunctionModel(dict, name="second", inputs=[taken], outputs=[given])
        return {"model": gives((1, 5), (1, 10)), "second": then}

    load(pbtxt, models=models(10)).close()
    said = (
        'node "then": output "b" of model "model" is of shape [1, 10]; '
        'input "x" of model "second" takes [1, 11]'
    )
    with pytest.raises(GraphError) as caught:
        load(pbtxt, models=models(11))
    assert str(caught.value).endswith(said)
    (tmp_path / "graph.pbtxt").write_text(pbtxt)
    explained = explain(tmp_path / "graph.pbtxt", models=models(11))
    problems = {node.name: node.problem for node in explained.nodes if node.problem}
    assert list(problems) == ["then"]
    assert problems["then"].endswith(said)


@pytest.mark.parametrize(
    ("shape", "others", "may_be"),
    [
        ((1, 2), [(1, 2)], True),
        ((1, 2), [(2, 1)], False),
        ((1, 2), [(1, 2, 3)], False),
        ((1, -1), [(1, 2)], True),
        ((1, 2), [(-1, -1)], True),
        ((1, 2), [(3,), (1, -1)], True),
        ((), [()], True),
    ],
)
def test_a_length_that_may_differ_fits_any(
    shape: tuple[int, ...], others: list[tuple[int, ...]], may_be: bool
):
    tensor = Foreseen("it", "FP32", shape)
    assert tensor.may_be(*others) is may_be
    size = None if -1 in shape else int(np.prod(shape))
    assert tensor.size == size
