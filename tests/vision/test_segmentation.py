"""Masks are made of tensors and laid on images as they are in MediaPipe."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from ovms_mp_calculators.tensors_to_segmentation import TensorsToSegmentationCalculator

from ovms_mp.core.errors import ServingError
from ovms_mp.core.image import ImageFormat, ImageFrame
from ovms_mp.graph.runner import CalculatorRunner
from tests.vision.both import NativeGraphs, image, ours

pytestmark = pytest.mark.timeout(600)

checked = settings(
    max_examples=40,
    phases=[Phase.explicit, Phase.generate],
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
sides = st.tuples(st.integers(1, 40), st.integers(1, 40))

MASK = """
input_stream: "image" input_stream: "sized" output_stream: "IMAGE:out"
node {{ calculator: "TensorConverterCalculator" input_stream: "IMAGE:image"
       output_stream: "TENSORS:tensors"
       options {{ [mediapipe.TensorConverterCalculatorOptions.ext] {{
         output_tensor_float_range {{ min: -9 max: 9 }} }} }} }}
node {{ calculator: "ImagePropertiesCalculator" input_stream: "IMAGE_CPU:sized"
       output_stream: "SIZE:size" }}
node {{ calculator: "TensorsToSegmentationCalculator" input_stream: "TENSORS:tensors"
       {size} output_stream: "MASK:mask"
       options {{ [mediapipe.TensorsToSegmentationCalculatorOptions.ext] {{
         activation: {activation} }} }} }}
node {{ calculator: "FromImageCalculator" input_stream: "IMAGE:mask"
       output_stream: "IMAGE_CPU:out" }}
"""


def noise(shape: tuple[int, ...], seed: int) -> Any:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


@checked
@given(
    shape=sides,
    size=st.none() | sides,
    activation=st.sampled_from(["NONE", "SIGMOID"]),
    seed=st.integers(0, 2**32 - 1),
)
# Weights as doubles are too exact here.
@example(shape=(40, 7), size=(25, 24), activation="NONE", seed=7274518)
def test_a_tensor_becomes_the_native_mask(
    native: NativeGraphs,
    *,
    shape: tuple[int, int],
    size: tuple[int, int] | None,
    activation: str,
    seed: int,
):
    port = 'input_stream: "OUTPUT_SIZE:size"' if size else ""
    pbtxt = MASK.format(size=port, activation=activation)
    frame = image(noise((*shape, 1), seed))
    events = [("image", frame, 0), ("sized", image(noise((*(size or shape), 1), 1)), 0)]
    theirs = native.run(pbtxt, events, {"out": "mask"})["out"][0]
    mine = ours(pbtxt, events)["out"][0]
    assert mine.format is ImageFormat.VEC32F1
    assert mine.pixels.shape == theirs.shape == (*(size or shape), 1)
    np.testing.assert_allclose(mine.pixels, theirs, atol=2e-5)


def segmentation(options: str = "", tag: str = "TENSORS") -> CalculatorRunner:
    return CalculatorRunner(
        TensorsToSegmentationCalculator,
        f"""calculator: "TensorsToSegmentationCalculator" input_stream: "{tag}:in"
            output_stream: "MASK:out" node_options {{
              [type.googleapis.com/mediapipe.TensorsToSegmentationCalculatorOptions] {{
                {options} }} }}""",
    )


@pytest.mark.parametrize("layer", [0, 1])
def test_of_two_channels_the_share_of_one_is_the_mask(layer: int):
    run = segmentation(f"activation: SOFTMAX output_layer_index: {layer}")
    planes = np.array([[[1, 3], [2, 2]], [[-90, 90], [500, -500]]], np.float32)
    run.feed("in", [planes[None]], at=0)
    ((_, mask),) = run.outputs["out"]
    exact = np.exp(planes.astype(float) - planes.max(axis=2, keepdims=True))
    exact /= exact.sum(axis=2, keepdims=True)
    np.testing.assert_allclose(mask.pixels[..., 0], exact[..., layer], atol=1e-6)


def test_a_tensor_without_a_list_and_without_a_batch_will_do():
    run = segmentation(tag="TENSOR")
    run.feed("in", np.full((2, 3, 1), 0.25, np.float32), at=0)
    ((_, mask),) = run.outputs["out"]
    np.testing.assert_array_equal(mask.pixels, np.full((2, 3, 1), 0.25))


def test_numbers_that_are_none_stay_so_and_fail_nothing():
    run = segmentation("activation: SIGMOID")
    run.feed("in", [np.array([[[[np.nan], [np.inf], [-np.inf]]]], np.float32)], at=0)
    ((_, mask),) = run.outputs["out"]
    np.testing.assert_array_equal(mask.pixels.ravel(), [np.nan, 1, 0])


@pytest.mark.parametrize(
    ("tensors", "said"),
    [
        ([], "without tensors"),
        ([np.zeros((1, 2, 2, 2), np.float32)], "2 channels; activation NONE takes 1"),
        ([np.zeros((2, 2, 2, 1), np.float32)], "[2, 2, 2, 1]"),
        ([np.zeros((1, 0, 2, 1), np.float32)], "[1, 0, 2, 1]"),
        ([np.zeros((1, 2, 2, 1))], "float64; expected float32"),
        ([7], "expected an array, found int"),
    ],
)
def test_a_model_of_other_shapes_is_told(tensors: list[Any], said: str):
    run = segmentation()
    run.feed("in", tensors, at=0)
    assert run.error is not None
    assert said in run.error.text


def test_a_channel_that_there_is_not_is_refused():
    with pytest.raises(ServingError, match="output_layer_index is 0 or 1, not 2"):
        segmentation("activation: SOFTMAX output_layer_index: 2")


ALPHA = """
input_stream: "image" input_stream: "alpha" output_stream: "IMAGE:out"
node {{ calculator: "SetAlphaCalculator" input_stream: "IMAGE:image" {port}
       output_stream: "IMAGE:out"
       options {{ [mediapipe.SetAlphaCalculatorOptions.ext] {{ {options} }} }} }}
"""
PORT = 'input_stream: "ALPHA:alpha"'


@checked
@given(
    shape=sides,
    channels=st.sampled_from((3, 4)),
    mask=st.sampled_from((1, 3, 4, "floats")),
    seed=st.integers(0, 2**32 - 1),
)
def test_alpha_is_set_as_natively(
    native: NativeGraphs,
    *,
    shape: tuple[int, int],
    channels: int,
    mask: int | str,
    seed: int,
):
    frame = image(noise((*shape, channels), seed))
    if mask == "floats":
        floats = noise((*shape, 1), seed + 1).astype(np.float32) / np.float32(255)
        alpha = ImageFrame(ImageFormat.VEC32F1, floats)
    else:
        assert isinstance(mask, int)
        alpha = image(noise((*shape, mask), seed + 1))
    pbtxt = ALPHA.format(port=PORT, options="")
    events = [("image", frame, 0), ("alpha", alpha, 0)]
    theirs = native.run(pbtxt, events, {"out": "image"})["out"][0]
    mine = ours(pbtxt, events)["out"][0]
    assert mine.format is ImageFormat.SRGBA
    np.testing.assert_array_equal(mine.pixels, theirs)


@pytest.mark.parametrize("value", [0, 77, 255, 300])
def test_alpha_is_a_value_for_all_pixels(native: NativeGraphs, value: int):
    pbtxt = ALPHA.format(port="", options=f"alpha_value: {value}")
    events = [("image", image(noise((4, 5, 3), value)), 0)]
    theirs = native.run(pbtxt, events, {"out": "image"})["out"][0]
    np.testing.assert_array_equal(ours(pbtxt, events)["out"][0].pixels, theirs)


def test_alpha_without_its_mask_is_nothing(native: NativeGraphs):
    pbtxt = ALPHA.format(port=PORT, options="")
    events = [("image", image(noise((4, 5, 3), 2)), 0)]
    theirs = native.run(pbtxt, events, {"out": "image"})["out"][0]
    np.testing.assert_array_equal(ours(pbtxt, events)["out"][0].pixels, theirs)


@pytest.mark.parametrize(
    ("frame", "mask", "said"),
    [
        (
            image(noise((4, 5, 1), 1)),
            image(noise((4, 5, 1), 1)),
            "GRAY8; expected SRGB",
        ),
        (image(noise((4, 5, 3), 1)), image(noise((5, 4, 1), 1)), "a mask of 4x5"),
        (
            image(noise((4, 5, 3), 1)),
            ImageFrame(ImageFormat.GRAY16, np.zeros((4, 5, 1), np.uint16)),
            "a mask of GRAY16",
        ),
    ],
)
def test_a_mask_that_does_not_fit_is_told(
    frame: ImageFrame, mask: ImageFrame, said: str
):
    pbtxt = ALPHA.format(port=PORT, options="")
    outcome = ours(pbtxt, [("image", frame, 0), ("alpha", mask, 0)])
    assert said in str(outcome.error)


def test_a_mask_or_a_value_but_not_both():
    with pytest.raises(ServingError, match="Must use either image mask or"):
        ours(ALPHA.format(port=PORT, options="alpha_value: 3"), [])


RECOLOR = """
input_stream: "image" input_stream: "mask" output_stream: "IMAGE:out"
node {{ calculator: "RecolorCalculator" input_stream: "IMAGE:image"
       input_stream: "MASK:mask" output_stream: "IMAGE:out"
       options {{ [mediapipe.RecolorCalculatorOptions.ext] {{
         color {{ r: 10 g: 200 b: 90 }} {options} }} }} }}
"""


def blended(pixels: Any, weights: Any, *, is_inverted: bool, is_adjusted: bool) -> Any:
    """Pixel by pixel, in doubles."""
    weight = 1 - weights if is_inverted else weights
    light = pixels @ np.array([0.299, 0.587, 0.114]) / 255 if is_adjusted else 1
    mix = (weight * light)[..., None]
    return pixels * (1 - mix) + np.array([10, 200, 90]) * mix


@checked
@given(
    shape=sides,
    is_float=st.booleans(),
    is_inverted=st.booleans(),
    is_adjusted=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_pixels_are_mixed_with_a_colour(
    *,
    shape: tuple[int, int],
    is_float: bool,
    is_inverted: bool,
    is_adjusted: bool,
    seed: int,
):
    """As it is written down; the wheel has no such calculator. A part of either colour
    is rounded by itself.
    """
    pixels, mask = noise((*shape, 3), seed), noise((*shape, 1), seed + 1)
    frame = image(mask)
    if is_float:
        frame = ImageFrame(ImageFormat.VEC32F1, (mask / 255).astype(np.float32))
    options = (
        f"invert_mask: {str(is_inverted).lower()} "
        f"adjust_with_luminance: {str(is_adjusted).lower()}"
    )
    events = [("image", image(pixels), 0), ("mask", frame, 0)]
    found = ours(RECOLOR.format(options=options), events)["out"][0].pixels
    exact = blended(
        pixels.astype(float),
        mask[..., 0] / 255,
        is_inverted=is_inverted,
        is_adjusted=is_adjusted,
    )
    assert np.abs(found - exact).max() <= 1.01


def test_a_mask_is_stretched_and_its_channel_chosen():
    pixels = np.full((4, 4, 3), 100, np.uint8)
    mask = np.zeros((1, 1, 4), np.uint8)
    mask[..., 3] = 255
    events = [("image", image(pixels), 0), ("mask", image(mask), 0)]
    options = "adjust_with_luminance: false mask_channel: "
    changed = ours(RECOLOR.format(options=options + "ALPHA"), events)["out"][0].pixels
    assert (changed == [10, 200, 90]).all()
    same = ours(RECOLOR.format(options=options + "RED"), events)["out"][0].pixels
    np.testing.assert_array_equal(same, pixels)


def test_an_image_without_a_mask_passes_as_it_came():
    frame = image(noise((3, 4, 3), 5))
    assert ours(RECOLOR.format(options=""), [("image", frame, 0)])["out"][0] is frame


def test_an_image_with_alpha_is_not_recoloured_and_told():
    events = [
        ("image", image(noise((3, 4, 4), 5)), 0),
        ("mask", image(noise((3, 4, 1), 5)), 0),
    ]
    outcome = ours(RECOLOR.format(options=""), events)
    assert "Unsupported format: SRGBA; expected SRGB" in str(outcome.error)
