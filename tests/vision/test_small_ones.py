"""Calculators of a line or two do what they do natively, too."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ovms_mp_protos import graph

from ovms_mp.formats.detection import Box, Detection
from ovms_mp.formats.landmark import NormalizedLandmarkList
from ovms_mp.formats.rect import NormalizedRect
from tests.vision.both import NativeGraphs, image, ours
from tests.vision.landmarks import NORMALIZED, checked, lists, near

pytestmark = pytest.mark.timeout(600)

# Python cannot make a vector for native code; a loop can.
GATHERED = """
input_stream: "one" input_stream: "numbers" output_stream: "out"
node {{ calculator: "BeginLoopIntCalculator" input_stream: "ITERABLE:numbers"
       output_stream: "ITEM:number" output_stream: "BATCH_END:end" }}
node {{ calculator: "EndLoop{kind}Calculator" input_stream: "ITEM:one"
       input_stream: "BATCH_END:end" output_stream: "ITERABLE:vector" }}
node {{ calculator: "{name}" input_stream: "{tag}vector" output_stream: "out"
       {options} }}
"""


def gathered(items: list[Any]) -> list[Any]:
    """They come as a vector, at timestamp 0."""
    numbers = list(range(len(items)))
    return [("numbers", numbers, 0), *(("one", items[at], at) for at in numbers)]


ITEMS: dict[str, tuple[str, Any]] = {
    "NormalizedRectVector": ("NormalizedRect", NormalizedRect(0.5, 0.5, 1, 1)),
    "NormalizedLandmarkListVector": (
        "NormalizedLandmarkListVector",
        NormalizedLandmarkList(np.zeros((2, 3), np.float32)),
    ),
    "ClassificationListVector": ("ClassificationList", graph.ClassificationList()),
}


@pytest.mark.parametrize("vector", ITEMS)
@pytest.mark.parametrize(("count", "least"), [(1, 0), (1, 1), (1, 2), (3, 2), (2, 3)])
def test_a_vector_is_long_enough_as_it_is_natively(
    native: NativeGraphs, vector: str, count: int, least: int
):
    kind, item = ITEMS[vector]
    options = f"""options {{
      [mediapipe.CollectionHasMinSizeCalculatorOptions.ext] {{ min_size: {least} }} }}"""
    pbtxt = GATHERED.format(
        kind=kind,
        name=f"{vector}HasMinSizeCalculator",
        tag="ITERABLE:",
        options=options,
    )
    events = gathered([item] * count)
    theirs = native.run(pbtxt, events, {"out": "bool"})["out"]
    assert ours(pbtxt, events)["out"] == theirs
    assert list(theirs.values()) == [count >= least]


@pytest.mark.parametrize(
    "options",
    [
        "",
        'label: "person" label: "cat" label: "dog"',
        'label: "person" keep_label_id: true',
        """label_items { key: 2 value { name: "cat" display_name: "Katze" } }
           label_items { key: 0 value { name: "person" } }""",
        'label_items { key: 2 value { name: "cat" } } keep_label_id: true',
    ],
)
def test_labels_get_the_native_names(native: NativeGraphs, options: str):
    """Several of a detection, some without a name, one that is named already."""
    box = Box(0.25, 0.25, 0.5, 0.5)
    found = [
        Detection(box, (0.75, 0.5), (0, 2)),
        Detection(box, (0.5,), (9,)),
        Detection(box, (0.5, 0.25), (2, 9)),
        Detection(box, (0.5,), (), ("bird",)),
    ]
    options = f"""options {{
      [mediapipe.DetectionLabelIdToTextCalculatorOptions.ext] {{ {options} }} }}"""
    pbtxt = GATHERED.format(
        kind="Detection",
        name="DetectionLabelIdToTextCalculator",
        tag="",
        options=options,
    )
    events = gathered(found)
    theirs = native.run(pbtxt, events, {"out": "protos:mediapipe.Detection"})["out"]
    mine = ours(pbtxt, events)["out"]
    assert list(mine) == list(theirs)
    ((some,), (others,)) = mine.values(), theirs.values()
    assert len(some) == len(others) == len(found)
    for one, other in zip(some, others, strict=True):
        for name in ("labels", "label_ids", "display_names", "scores", "box"):
            assert getattr(one, name) == getattr(other, name), name


@checked
@given(landmarks=lists(count=1))
def test_the_visibility_of_a_landmark_is_the_native_one(
    native: NativeGraphs, landmarks: NormalizedLandmarkList
):
    pbtxt = """
      input_stream: "in" output_stream: "out"
      node { calculator: "LandmarkVisibilityCalculator"
             input_stream: "NORM_LANDMARKS:in" output_stream: "VISIBILITY:out" }
    """
    events = [("in", landmarks, 0)]
    theirs = native.run(pbtxt, events, {"out": "float"})["out"]
    assert ours(pbtxt, events)["out"] == theirs


@checked
@given(
    landmarks=lists(),
    size=st.tuples(st.integers(8, 60), st.integers(8, 60)),
    turn=st.floats(-3, 3, width=32),
)
def test_the_way_back_is_the_native_one(
    native: NativeGraphs,
    landmarks: NormalizedLandmarkList,
    size: tuple[int, int],
    turn: float,
):
    """What a part of an image leads to is led back by the inverse of its matrix."""
    pbtxt = """
      input_stream: "image" input_stream: "rect" input_stream: "in"
      output_stream: "there" output_stream: "back"
      node { calculator: "ImageToTensorCalculator" input_stream: "IMAGE:image"
             input_stream: "NORM_RECT:rect" output_stream: "TENSORS:tensors"
             output_stream: "MATRIX:matrix" options {
        [mediapipe.ImageToTensorCalculatorOptions.ext] {
          output_tensor_width: 16 output_tensor_height: 16 keep_aspect_ratio: true
          output_tensor_float_range { min: 0 max: 1 } } } }
      node { calculator: "InverseMatrixCalculator" input_stream: "MATRIX:matrix"
             output_stream: "MATRIX:inverse" }
      node { calculator: "LandmarkProjectionCalculator"
             input_stream: "NORM_LANDMARKS:in" input_stream: "PROJECTION_MATRIX:inverse"
             output_stream: "NORM_LANDMARKS:there" }
      node { calculator: "LandmarkProjectionCalculator"
             input_stream: "NORM_LANDMARKS:there"
             input_stream: "PROJECTION_MATRIX:matrix"
             output_stream: "NORM_LANDMARKS:back" }
    """
    events = [
        ("image", image(np.zeros((*size, 3), np.uint8)), 0),
        ("rect", NormalizedRect(0.5, 0.25, 0.5, 0.75, turn), 0),
        ("in", landmarks, 0),
    ]
    kinds = {"there": NORMALIZED, "back": NORMALIZED}
    theirs, mine = native.run(pbtxt, events, kinds), ours(pbtxt, events)
    near(mine["there"][0], theirs["there"][0], atol=1e-4, rtol=1e-4)
    near(mine["back"][0], theirs["back"][0], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_an_image_passes_both_ways_as_it_does_natively(
    native: NativeGraphs, channels: int
):
    pbtxt = """
      input_stream: "in" output_stream: "out" output_stream: "on_gpu"
      node { calculator: "ToImageCalculator" input_stream: "IMAGE_CPU:in"
             output_stream: "IMAGE:image" }
      node { calculator: "FromImageCalculator" input_stream: "IMAGE:image"
             output_stream: "IMAGE_CPU:out" output_stream: "SOURCE_ON_GPU:on_gpu" }
    """
    pixels = np.random.default_rng(channels).integers(0, 256, (5, 7, channels))
    events = [("in", image(pixels.astype(np.uint8)), 0)]
    kinds = {"out": "image", "on_gpu": "bool"}
    theirs, mine = native.run(pbtxt, events, kinds), ours(pbtxt, events)
    np.testing.assert_array_equal(mine["out"][0].pixels, theirs["out"][0])
    assert mine["on_gpu"] == theirs["on_gpu"] == {0: False}
