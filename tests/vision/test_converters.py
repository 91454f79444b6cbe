"""Images of a size become tensors of it as they do in MediaPipe, and scores classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from ovms_mp_protos import graph

from ovms_mp.core.errors import ServingError
from ovms_mp.core.image import ImageFormat, ImageFrame
from tests.unit.calculators.support import GraphOf
from tests.vision.both import NativeGraphs, image, ours

pytestmark = pytest.mark.timeout(600)

checked = settings(
    max_examples=40,
    phases=[Phase.explicit, Phase.generate],
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)

CONVERTER = """
input_stream: "in" output_stream: "OVTENSOR:out"
node {{ calculator: "{name}" input_stream: "{tag}:in" output_stream: "TENSORS:tensors"
       options {{ [mediapipe.{name}Options.ext] {{ {options} }} }} }}
"""
FLOATS = """
node { calculator: "TensorsToFloatsCalculator" input_stream: "TENSORS:tensors"
       output_stream: "FLOATS:out" }
"""


def converter(name: str, options: str, tag: str = "IMAGE") -> str:
    pbtxt = CONVERTER.format(
        name=f"{name}ConverterCalculator", tag=tag, options=options
    )
    return pbtxt.replace("OVTENSOR:out", "tensors")


@st.composite
def frames(draw: st.DrawFn) -> ImageFrame:
    height, width = draw(st.integers(1, 20)), draw(st.integers(1, 20))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    if draw(st.booleans()):
        floats = rng.normal(0, 100, (height, width, 1)).astype(np.float32)
        return ImageFrame(ImageFormat.VEC32F1, floats)
    channels = draw(st.sampled_from((1, 3, 4)))
    return image(rng.integers(0, 256, (height, width, channels), np.uint8))


@st.composite
def normalizations(draw: st.DrawFn) -> str:
    text = f"max_num_channels: {draw(st.sampled_from((1, 3, 4)))} "
    text += f"zero_center: {str(draw(st.booleans())).lower()} "
    text += f"flip_vertically: {str(draw(st.booleans())).lower()} "
    if draw(st.booleans()):
        text += "output_tensor_float_range { min: -3 max: 7.5 } "
    if draw(st.booleans()):
        text += "use_custom_normalization: true custom_div: 127.5 custom_sub: 1.25 "
    return text


@checked
@given(frame=frames(), options=normalizations())
def test_an_image_becomes_the_native_tensor(
    native: NativeGraphs, frame: ImageFrame, options: str
):
    events = [("in", frame, 0)]
    whole = CONVERTER.format(
        name="TensorConverterCalculator", tag="IMAGE", options=options
    )
    whole = whole.replace("OVTENSOR:out", "out") + FLOATS
    theirs = native.run(whole, events, {"out": "floats"})["out"][0]
    mine = ours(converter("Tensor", options), events)["tensors"][0][0]
    assert mine.dtype == np.float32 and mine.flags.c_contiguous
    assert mine.shape[:3] == (1, frame.height, frame.width)
    np.testing.assert_allclose(mine.ravel(), theirs, rtol=1e-6, atol=1e-5)
    # The kin give the same, but for what is only theirs.
    for name, more in (("TfLite", ""), ("OpenVINO", "enable_normalization: true")):
        kin = ours(converter(name, f"{options} {more}"), events)["tensors"][0][0]
        np.testing.assert_array_equal(kin, mine)


@checked
@given(
    shape=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    is_row_major=st.booleans(),
)
def test_a_matrix_becomes_the_native_tensor(
    native: NativeGraphs, shape: tuple[int, int], is_row_major: bool
):
    options = f"row_major_matrix: {str(is_row_major).lower()}"
    matrix = np.arange(shape[0] * shape[1], dtype=np.float32).reshape(shape)
    events = [("in", matrix, 0)]
    whole = CONVERTER.format(
        name="TensorConverterCalculator", tag="MATRIX", options=options
    )
    whole = whole.replace("OVTENSOR:out", "out") + FLOATS
    theirs = native.run(whole, events, {"out": "floats"})["out"][0]
    mine = ours(converter("Tensor", options, "MATRIX"), events)["tensors"][0][0]
    assert mine.shape == (1, *shape, 1)
    np.testing.assert_array_equal(mine.ravel(), theirs)


def test_an_image_stays_as_it_is_for_openvino_unless_told_otherwise():
    pixels = np.arange(24, dtype=np.uint16).reshape(2, 3, 4)
    frame = ImageFrame(ImageFormat.SRGBA64, pixels)
    ((tensor,),) = ours(converter("OpenVINO", ""), [("in", frame, 0)])[
        "tensors"
    ].values()
    np.testing.assert_array_equal(tensor, pixels[None])
    assert tensor.dtype == np.uint16


def test_bytes_are_kept_for_a_quantized_model():
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    events = [("in", image(pixels), 0)]
    options = "use_quantized_tensors: true"
    ((tensor,),) = ours(converter("TfLite", options), events)["tensors"].values()
    np.testing.assert_array_equal(tensor, pixels[None, ..., :3])
    assert tensor.dtype == np.uint8


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("Tensor", "max_num_channels: 2", "is 1, 3 or 4, not 2"),
        ("Tensor", "use_custom_normalization: true custom_div: 0", "custom_div"),
        ("OpenVINO", "output_tensor_float_range { min: 1 max: 1 }", "is empty"),
    ],
)
def test_options_that_make_no_sense_are_refused(name: str, options: str, said: str):
    with pytest.raises(ServingError, match=said):
        ours(converter(name, options), [])


@pytest.mark.parametrize(
    ("name", "payload", "said"),
    [
        ("Tensor", image(np.zeros((0, 3, 3), np.uint8)), "3x0 has no pixels"),
        (
            "Tensor",
            ImageFrame(ImageFormat.GRAY16, np.zeros((2, 2, 1), np.uint16)),
            "not uint16",
        ),
        (
            "TfLite",
            ImageFrame(ImageFormat.VEC32F1, np.zeros((2, 2, 1), np.float32)),
            "Only 8-bit",
        ),
    ],
)
def test_an_image_that_makes_no_tensor_is_told(name: str, payload: Any, said: str):
    options = "use_quantized_tensors: true" if name == "TfLite" else ""
    outcome = ours(converter(name, options), [("in", payload, 0)])
    assert said in str(outcome.error)


def test_what_is_no_matrix_is_told():
    events = [("in", np.zeros(3, np.float32), 0)]
    outcome = ours(converter("Tensor", "", "MATRIX"), events)
    assert "float32 [3] is no matrix" in str(outcome.error)


SCORED = """
input_stream: "image" output_stream: "out"
node {{ calculator: "TensorConverterCalculator" input_stream: "IMAGE:image"
       output_stream: "TENSORS:tensors"
       options {{ [mediapipe.TensorConverterCalculatorOptions.ext] {{
         zero_center: false }} }} }}
node {{ calculator: "{name}" input_stream: "TENSORS:tensors"
       output_stream: "CLASSIFICATIONS:out"
       options {{ [mediapipe.{name}Options.ext] {{ {options} }} }} }}
"""
CLASSIFIER = "TensorsToClassificationCalculator"
ITEMS = "".join(
    f'label_items {{ key: {at} value {{ name: "n{at}" display_name: "d{at}" }} }} '
    for at in range(6)
)
ENTRIES = "".join(f'entries {{ id: {at} label: "e{at}" }} ' for at in range(6))


def pixels_of(scores: list[int]) -> ImageFrame:
    """A row of them, of 255 steps."""
    return image(np.array(scores, np.uint8).reshape(1, -1, 1))


def listed(found: Any) -> list[Any]:
    return [
        (each.index, pytest.approx(each.score, abs=1e-6), each.label, each.display_name)
        for each in found.classification
    ]


@st.composite
def classifiers(draw: st.DrawFn) -> str:
    text = draw(st.sampled_from(["", ITEMS, f"label_map {{ {ENTRIES} }} "]))
    if draw(st.booleans()):
        text += f"top_k: {draw(st.integers(-1, 9))} "
    if draw(st.booleans()):
        text += f"min_score_threshold: {draw(st.sampled_from([0.0, 0.3, 0.7]))} "
    text += f"sort_by_descending_score: {str(draw(st.booleans())).lower()} "
    text += draw(
        st.sampled_from(["", "allow_classes: [1, 3, 4, 9]", "ignore_classes: [0, 5]"])
    )
    return text


@checked
@given(
    scores=st.lists(st.integers(0, 255), min_size=6, max_size=6, unique=True),
    options=classifiers(),
)
def test_scores_become_the_native_classes(
    native: NativeGraphs, scores: list[int], options: str
):
    """Of different scores: natively an order of equal ones is anyone's."""
    pbtxt = SCORED.format(name=CLASSIFIER, options=options)
    events = [("image", pixels_of(scores), 0)]
    kinds = {"out": "proto:mediapipe.ClassificationList"}
    theirs = native.run(pbtxt, events, kinds)["out"][0]
    mine = ours(pbtxt, events)["out"][0]
    assert listed(mine) == listed(theirs)


def test_one_score_is_that_of_two_classes(native: NativeGraphs):
    options = "binary_classification: true"
    pbtxt = SCORED.format(name=CLASSIFIER, options=options)
    events = [("image", pixels_of([51]), 0)]
    kinds = {"out": "proto:mediapipe.ClassificationList"}
    theirs = native.run(pbtxt, events, kinds)["out"][0]
    mine = ours(pbtxt, events)["out"][0]
    assert listed(mine) == listed(theirs)
    assert [each.index for each in mine.classification] == [0, 1]


def labelled(folder: Path, labels: str, scores: list[int], name: str) -> GraphOf:
    (folder / "labels.txt").write_text(labels)
    run = GraphOf(
        SCORED.format(name=name, options='label_map_path: "labels.txt" top_k: 2'),
        base_path=folder,
    )
    run.start()
    run.feed("image", pixels_of(scores), 0)
    run.close()
    return run


@pytest.mark.parametrize("name", [CLASSIFIER, f"OpenVINO{CLASSIFIER}"])
def test_labels_are_in_a_file_beside_the_graph(tmp_path: Path, name: str):
    run = labelled(tmp_path, "cat\ndog\nfish\n", [51, 255, 102], name)
    ((_, found),) = run.outputs["out"]
    assert [(each.index, each.label) for each in found.classification] == [
        (1, "dog"),
        (2, "fish"),
    ]


def test_another_number_of_labels_is_told(tmp_path: Path):
    run = labelled(tmp_path, "cat\ndog\n", [51, 255, 102], CLASSIFIER)
    assert run.error is not None
    assert "3 scores for 2 labels" in run.error.text


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ('label_map_path: "missing.txt"', "cannot be read"),
        ("allow_classes: 1 ignore_classes: 2", "exclude each other"),
        ("label_map { entries { id: 1 } entries { id: 1 } }", "id 1 twice"),
    ],
)
def test_labels_that_there_are_not_are_refused(options: str, said: str):
    with pytest.raises(ServingError, match=said):
        ours(SCORED.format(name=CLASSIFIER, options=options), [])


def test_scores_that_are_no_numbers_are_kept_and_come_last():
    """A model's NaN is seen, and no reason to fail."""
    pbtxt = """
      input_stream: "in" output_stream: "out"
      node { calculator: "TensorConverterCalculator" input_stream: "MATRIX:in"
             output_stream: "TENSORS:tensors" }
      node { calculator: "TensorsToClassificationCalculator"
             input_stream: "TENSORS:tensors" output_stream: "CLASSIFICATIONS:out"
             options { [mediapipe.TensorsToClassificationCalculatorOptions.ext] {
               sort_by_descending_score: true } } }
    """
    matrix = np.array([[np.nan, 0.25, 0.5]], np.float32)
    (found,) = ours(pbtxt, [("in", matrix, 0)])["out"].values()
    assert isinstance(found, graph.ClassificationList)
    assert [each.index for each in found.classification] == [2, 1, 0]
