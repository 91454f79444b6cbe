"""Detections are made, chosen and moved as they are in MediaPipe."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from google.protobuf import text_format
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from ovms_mp_calculators.ssd_anchors import generated
from ovms_mp_protos import graph

from ovms_mp.formats.detection import Box, Detection, LocationFormat
from ovms_mp.formats.rect import NormalizedRect
from tests.vision.both import NativeGraphs, image, ours

pytestmark = pytest.mark.timeout(600)

checked = settings(
    max_examples=40,
    phases=[Phase.explicit, Phase.generate],
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
DETECTIONS = "protos:mediapipe.Detection"

# Python cannot make a vector of detections for native code; a loop can.
GATHERED = """
input_stream: "one" input_stream: "numbers"
node { calculator: "BeginLoopIntCalculator" input_stream: "ITERABLE:numbers"
       output_stream: "ITEM:number" output_stream: "BATCH_END:end" }
node { calculator: "EndLoopDetectionCalculator" input_stream: "ITEM:one"
       input_stream: "BATCH_END:end" output_stream: "ITERABLE:detections" }
"""


def gathered(found: Sequence[Detection]) -> list[Any]:
    """They come as a vector, at timestamp 0."""
    numbers = list(range(len(found)))
    return [("numbers", numbers, 0), *(("one", found[at], at) for at in numbers)]


def same(mine: Sequence[Detection], theirs: Sequence[Detection], atol: float) -> None:
    assert len(mine) == len(theirs)
    for one, other in zip(mine, theirs, strict=True):
        np.testing.assert_allclose(one.box, other.box, atol=atol, rtol=1e-5)
        np.testing.assert_allclose(one.scores, other.scores, atol=1e-6)
        np.testing.assert_allclose(
            one.keypoints.ravel(), other.keypoints.ravel(), atol=atol, rtol=1e-5
        )
        assert one.label_ids == other.label_ids
        assert one.labels == other.labels
        assert one.format is other.format


@st.composite
def crowds(draw: st.DrawFn) -> list[Detection]:
    """Up to twelve, with different scores: natively an order of equal ones is anyone's."""
    count = draw(st.integers(1, 12))
    scores = draw(
        st.lists(st.integers(1, 99), min_size=count, max_size=count, unique=True)
    )
    sides = arrays.arrays(
        np.float32, (count, 4), elements=st.integers(0, 64).map(lambda e: e / 64)
    )
    points = arrays.arrays(
        np.float32, (count, 2, 2), elements=st.floats(0, 1, width=32)
    )
    return [
        Detection(Box(*box), (score / 100,), (draw(st.integers(0, 2)),), keypoints=each)
        for box, score, each in zip(
            draw(sides).tolist(), scores, draw(points), strict=True
        )
    ]


@st.composite
def suppressions(draw: st.DrawFn) -> str:
    kind = draw(
        st.sampled_from(["JACCARD", "MODIFIED_JACCARD", "INTERSECTION_OVER_UNION"])
    )
    threshold = draw(st.sampled_from([0.0, 0.1, 0.3, 0.7, 1.0]))
    text = f"overlap_type: {kind} min_suppression_threshold: {threshold} "
    if draw(st.booleans()):
        text += "algorithm: WEIGHTED "
    if draw(st.booleans()):
        text += f"max_num_detections: {draw(st.integers(1, 6))} "
    if draw(st.booleans()):
        text += f"min_score_threshold: {draw(st.sampled_from([0.0, 0.253, 0.603]))} "
    return text + f"multiclass_nms: {str(draw(st.booleans())).lower()}"


@checked
@given(found=crowds(), text=suppressions())
@example(  # what is below the threshold goes into the mean of what is above
    found=[
        Detection(Box(0, 0, 0.25, 0.25), (0.75,), (1,)),
        Detection(Box(0, 0, 0.25, 0.5), (0.125,), (1,)),
    ],
    text="overlap_type: MODIFIED_JACCARD min_suppression_threshold: 0.7 "
    "algorithm: WEIGHTED min_score_threshold: 0.5",
)
def test_those_stay_that_stay_natively(
    native: NativeGraphs, found: list[Detection], text: str
):
    pbtxt = f"""{GATHERED}
      output_stream: "out"
      node {{ calculator: "NonMaxSuppressionCalculator" input_stream: "detections"
             output_stream: "out" options {{
        [mediapipe.NonMaxSuppressionCalculatorOptions.ext] {{ {text} }} }} }}
    """
    events = gathered(found)
    theirs = native.run(pbtxt, events, {"out": DETECTIONS})["out"]
    mine = ours(pbtxt, events)["out"]
    assert mine.keys() == theirs.keys()
    for at, each in mine.items():
        same(each, theirs[at], atol=1e-5)


@checked
@given(
    found=crowds(),
    shape=st.tuples(st.integers(1, 60), st.integers(1, 60)),
    rotation=st.floats(-3, 3, width=32),
)
def test_detections_are_projected_and_freed_of_a_letterbox_as_natively(
    native: NativeGraphs,
    found: list[Detection],
    shape: tuple[int, int],
    rotation: float,
):
    """Matrix and padding are those of the image's tensor, from both runtimes."""
    pbtxt = f"""{GATHERED}
      input_stream: "image" input_stream: "roi"
      output_stream: "projected" output_stream: "freed"
      node {{ calculator: "ImageToTensorCalculator" input_stream: "IMAGE:image"
             input_stream: "NORM_RECT:roi" output_stream: "TENSORS:tensors"
             output_stream: "MATRIX:matrix" output_stream: "LETTERBOX_PADDING:padding"
             options {{ [mediapipe.ImageToTensorCalculatorOptions.ext] {{
               output_tensor_width: 32 output_tensor_height: 24 keep_aspect_ratio: true
               output_tensor_float_range {{ min: 0 max: 1 }} }} }} }}
      node {{ calculator: "DetectionProjectionCalculator"
             input_stream: "DETECTIONS:detections"
             input_stream: "PROJECTION_MATRIX:matrix"
             output_stream: "DETECTIONS:projected" }}
      node {{ calculator: "DetectionLetterboxRemovalCalculator"
             input_stream: "DETECTIONS:detections"
             input_stream: "LETTERBOX_PADDING:padding"
             output_stream: "DETECTIONS:freed" }}
    """
    rect = NormalizedRect(0.5, 0.25, 0.75, 0.5, rotation)
    frame = image(np.zeros((*shape, 3), np.uint8))
    events = [*gathered(found), ("image", frame, 0), ("roi", rect, 0)]
    kinds = {"projected": DETECTIONS, "freed": DETECTIONS}
    theirs, mine = native.run(pbtxt, events, kinds), ours(pbtxt, events)
    for name in kinds:
        same(mine[name][0], theirs[name][0], atol=2e-5)


RAW = """
input_stream: "image"
node {{ calculator: "ImageToTensorCalculator" input_stream: "IMAGE:image"
       output_stream: "TENSORS:pixels" options {{
  [mediapipe.ImageToTensorCalculatorOptions.ext] {{
    output_tensor_width: 128 output_tensor_height: 128
    output_tensor_float_range {{ min: -1 max: 1 }} }} }} }}
node {{ calculator: "InferenceCalculator" input_stream: "TENSORS:pixels"
       output_stream: "TENSORS:tensors" options {{
  [mediapipe.InferenceCalculatorOptions.ext] {{
    model_path: "mediapipe/modules/face_detection/face_detection_short_range.tflite"
    delegate {{ xnnpack {{}} }} }} }} }}
{more}
"""
READ = """
output_stream: "boxes" output_stream: "scores"
node { calculator: "SplitTensorVectorCalculator" input_stream: "tensors"
       output_stream: "some" output_stream: "others" options {
  [mediapipe.SplitVectorCalculatorOptions.ext] {
    ranges { begin: 0 end: 1 } ranges { begin: 1 end: 2 } } } }
node { calculator: "TensorsToFloatsCalculator" input_stream: "TENSORS:some"
       output_stream: "FLOATS:boxes" }
node { calculator: "TensorsToFloatsCalculator" input_stream: "TENSORS:others"
       output_stream: "FLOATS:scores" }
"""
ANCHORS = """
node { calculator: "SsdAnchorsCalculator" output_side_packet: "anchors" options {
  [mediapipe.SsdAnchorsCalculatorOptions.ext] {
    num_layers: 4 min_scale: 0.15 max_scale: 0.75 aspect_ratios: [1, 0.5, 2]
    input_size_width: 128 input_size_height: 128 strides: [8, 16, 16, 16]
    interpolated_scale_aspect_ratio: 0 %s } } }
"""


@st.composite
def codings(draw: st.DrawFn) -> str:
    """Options that read 896 rows of 16 numbers somehow."""
    text = "num_classes: 1 num_boxes: 896 num_coords: 16 keypoint_coord_offset: 4 "
    text += f"num_keypoints: 6 box_coord_offset: {draw(st.sampled_from([0, 2, 12]))} x_scale: 128 y_scale: 100 w_scale: 90 h_scale: 128 "
    if draw(st.booleans()):
        text += f"sigmoid_score: true score_clipping_thresh: {draw(st.sampled_from([0.5, 100]))} "
    if draw(st.booleans()):
        text += f"min_score_thresh: {draw(st.sampled_from([-80.0, -3.0, 0.02, 0.4]))} "
    if draw(st.booleans()):
        text += f"max_results: {draw(st.integers(1, 20))} "
    if draw(st.booleans()):
        text += f"box_format: {draw(st.sampled_from(['YXHW', 'XYWH', 'XYXY']))} "
    if draw(st.booleans()):
        text += draw(st.sampled_from(["ignore_classes: 0 ", "allow_classes: 0 "]))
    for name in (
        "apply_exponential_on_box_size",
        "reverse_output_order",
        "flip_vertically",
    ):
        text += f"{name}: {str(draw(st.booleans())).lower()} "
    return text


@settings(checked, max_examples=12)
@given(seed=st.integers(0, 99), text=codings(), fixed=st.booleans())
def test_tensors_of_a_real_detector_are_the_detections_that_they_are_natively(
    native: NativeGraphs, seed: int, text: str, fixed: bool
):
    """Boxes within a hundred thousandth of what they are, exponential ones too."""
    noise = np.random.default_rng(seed).integers(0, 256, (16, 16, 3), np.uint8)
    events = [("image", image(noise.repeat(8, 0).repeat(8, 1)), 0)]
    decoding = f"""
      node {{ calculator: "TensorsToDetectionsCalculator"
             input_stream: "TENSORS:tensors" input_side_packet: "ANCHORS:anchors"
             output_stream: "DETECTIONS:out" options {{
        [mediapipe.TensorsToDetectionsCalculatorOptions.ext] {{ {text} }} }} }}
    """
    anchors = ANCHORS.replace("[1, 0.5, 2]", "1") % (
        f"fixed_anchor_size: {str(fixed).lower()}"
    )
    anchors = anchors.replace(
        "interpolated_scale_aspect_ratio: 0", "interpolated_scale_aspect_ratio: 1"
    )
    raw = native.run(
        RAW.format(more=READ), events, {"boxes": "floats", "scores": "floats"}
    )
    theirs = native.run(
        RAW.format(more=anchors + decoding + 'output_stream: "out"'),
        events,
        {"out": DETECTIONS},
    )["out"]
    tensors = [
        raw["boxes"][0].reshape(1, 896, 16),
        raw["scores"][0].reshape(1, 896, 1),
    ]
    mine = ours(
        'input_stream: "tensors" output_stream: "out"' + anchors + decoding,
        [("tensors", tensors, 0)],
    )["out"]
    same(mine[0], theirs[0], atol=1e-5)


@pytest.mark.parametrize(
    "options",
    [
        "fixed_anchor_size: true",
        "reduce_boxes_in_lowest_layer: true",
        "anchor_offset_x: 0.25 anchor_offset_y: 0.75",
        "feature_map_width: [16, 8, 8, 8] feature_map_height: [12, 8, 8, 8]",
        "multiscale_anchor_generation: true min_level: 3 max_level: 6 "
        "scales_per_octave: 3",
        "multiscale_anchor_generation: true min_level: 3 max_level: 6 "
        "normalize_coordinates: false anchor_scale: 3",
    ],
)
def test_anchors_are_the_native_ones(native: NativeGraphs, options: str):
    for odd in (128, 100):
        pbtxt = ANCHORS.replace("128", str(odd), 1) % options
        pbtxt = pbtxt.replace(
            "interpolated_scale_aspect_ratio: 0", "interpolated_scale_aspect_ratio: 1.5"
        )
        sides = {"anchors": "protos:mediapipe.Anchor"}
        theirs = native.run(pbtxt, [], {}, sides)["anchors"][0]
        text = pbtxt.partition(".ext] {")[2].rpartition("} } }")[0]
        message = text_format.Parse(text, graph.SsdAnchorsCalculatorOptions())
        expected = [(e.x_center, e.y_center, e.h, e.w) for e in theirs]
        np.testing.assert_allclose(generated(message), expected, rtol=1e-6, atol=1e-7)


def test_labels_get_names_and_those_without_stay_numbers():
    pbtxt = """
      input_stream: "in" output_stream: "out"
      node { calculator: "DetectionLabelIdToTextCalculator" input_stream: "in"
             output_stream: "out" options {
        [mediapipe.DetectionLabelIdToTextCalculatorOptions.ext] {
          label_items { key: 3 value { name: "cat" display_name: "Katze" } } } } }
    """
    box = Box(0, 0, 1, 1)
    given = [Detection(box, (0.5,), (3,)), Detection(box, (0.5,), (4,))]
    named, numbered = ours(pbtxt, [("in", given, 0)])["out"][0]
    assert (named.labels, named.display_names, named.label_ids) == (
        ("cat",),
        ("Katze",),
        (),
    )
    assert (numbered.labels, numbered.label_ids) == ((), (4,))


def test_small_large_and_doubtful_detections_are_filtered():
    pbtxt = """
      input_stream: "in" input_stream: "size" output_stream: "out"
      node { calculator: "FilterDetectionsCalculator"
             input_stream: "INPUT_DETECTIONS:in" input_stream: "IMAGE_SIZE:size"
             output_stream: "OUTPUT_DETECTIONS:out" options {
        [mediapipe.FilterDetectionsCalculatorOptions.ext] {
          min_score: 0.5 min_pixel_size: 10 max_pixel_size: 50 } } }
    """
    sides = [(0.1, 0.5, 0.9), (0.05, 0.05, 0.9), (0.1, 0.9, 0.9), (0.1, 0.5, 0.4)]
    given = [Detection(Box(0, 0, w, h), (score,), (1,)) for w, h, score in sides]
    events = [("in", given, 0), ("size", (80, 60), 0)]
    assert ours(pbtxt, events)["out"][0] == given[:1]


def test_boxes_in_pixels_need_the_image_and_are_compared_in_it():
    pbtxt = """
      input_stream: "in" input_stream: "image" output_stream: "out"
      node { calculator: "NonMaxSuppressionCalculator" input_stream: "in" %s
             output_stream: "out" options {
        [mediapipe.NonMaxSuppressionCalculatorOptions.ext] {
          min_suppression_threshold: 0.5 } } }
    """
    pixels = LocationFormat.BOUNDING_BOX
    given = [
        Detection(Box(0, 0, 10, 10), (0.9,), (1,), format=pixels),
        Detection(Box(1, 0, 10, 10), (0.8,), (1,), format=pixels),
    ]
    frame = image(np.zeros((20, 20, 3), np.uint8))
    events = [("in", given, 0), ("image", frame, 0)]
    kept = ours(pbtxt % 'input_stream: "IMAGE:image"', events)["out"][0]
    assert kept == given[:1]
    assert "need an input IMAGE" in str(ours(pbtxt % "", events).error)
