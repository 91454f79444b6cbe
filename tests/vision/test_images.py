"""Images become tensors and images as they do in MediaPipe."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from ovms_mp.core.image import ImageFormat, ImageFrame
from ovms_mp.formats.rect import NormalizedRect
from tests.vision.both import NativeGraphs, image, ours

pytestmark = pytest.mark.timeout(600)

# One native run takes some milliseconds.
checked = settings(
    max_examples=40,
    phases=[Phase.explicit, Phase.generate],
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@st.composite
def images(draw: st.DrawFn, channels: tuple[int, ...] = (1, 3, 4)) -> ImageFrame:
    """Noise over a ramp, so that wrong places and wrong scales both show."""
    height, width = draw(st.integers(1, 96)), draw(st.integers(1, 96))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    ramp = np.linspace(0, 160, height * width).reshape(height, width, 1)
    noise = rng.integers(0, 96, (height, width, draw(st.sampled_from(channels))))
    return image((ramp + noise).astype(np.uint8))


rects = st.builds(
    NormalizedRect,
    x_center=st.floats(-0.5, 1.5, width=32),
    y_center=st.floats(-0.5, 1.5, width=32),
    width=st.floats(0.125, 2, width=32),
    height=st.floats(0.125, 2, width=32),
    rotation=st.floats(-4, 4, width=32),
)

TENSOR = """
input_stream: "image" input_stream: "roi" output_stream: "OVTENSOR:floats"
node {{
  calculator: "ImageToTensorCalculator"
  input_stream: "IMAGE:image" {roi}
  output_stream: "TENSORS:tensors"
  options {{ [mediapipe.ImageToTensorCalculatorOptions.ext] {{ {options} }} }}
}}
"""
FLOATS = """
node { calculator: "TensorsToFloatsCalculator" input_stream: "TENSORS:tensors"
       output_stream: "FLOATS:floats" }
"""
ROI = 'input_stream: "NORM_RECT:roi"'


def options(
    size: tuple[int, int], keeps: bool, border: str, low: float, high: float
) -> str:
    return (
        f"output_tensor_width: {size[0]} output_tensor_height: {size[1]} "
        f"keep_aspect_ratio: {str(keeps).lower()} border_mode: {border} "
        f"output_tensor_float_range {{ min: {low} max: {high} }}"
    )


@checked
@given(
    frame=images(),
    rect=st.none() | rects,
    text=st.builds(
        options,
        st.tuples(st.integers(1, 64), st.integers(1, 64)),
        st.booleans(),
        st.sampled_from(["BORDER_UNSPECIFIED", "BORDER_ZERO", "BORDER_REPLICATE"]),
        st.sampled_from([-1.0, 0.0]),
        st.sampled_from([1.0, 255.0]),
    ),
)
def test_a_part_of_an_image_becomes_the_tensor_that_it_is_natively(
    native: NativeGraphs, frame: ImageFrame, rect: NormalizedRect | None, text: str
):
    """Differences are those of OpenCV's versions, which round weights of pixels: nearly
    all values are the same, none is off by more than two of 255 steps.
    """
    pbtxt = TENSOR.format(roi=ROI if rect else "", options=text)
    events: list[Any] = [("image", frame, 0)]
    if rect:
        events.append(("roi", rect, 0))
    theirs = native.run(pbtxt + FLOATS, events, {"floats": "floats"})["floats"]
    mine = ours(pbtxt.replace("OVTENSOR:floats", "tensors"), events)["tensors"]
    assert mine.keys() == theirs.keys() == {0}
    found, expected = mine[0][0].ravel(), theirs[0]
    assert found.shape == expected.shape
    low, high = (
        float(text.split(f"{name}: ")[1].split(maxsplit=1)[0])
        for name in ("min", "max")
    )
    steps = np.abs(found - expected) / (high - low) * 255
    assert steps.max(initial=0) <= 2.001
    assert np.mean(steps > 0.01) < 0.02


@pytest.mark.parametrize(
    ("range_text", "dtype", "first", "last"),
    [
        ("output_tensor_int_range { min: -128 max: 127 }", np.int8, -128, 127),
        ("output_tensor_uint_range { min: 0 max: 255 }", np.uint8, 0, 255),
        ("output_tensor_uint_range { min: 10 max: 20 }", np.uint8, 10, 20),
        ("output_tensor_float_range { min: -2 max: 3 }", np.float32, -2, 3),
    ],
)
def test_black_is_the_least_value_of_a_range_and_white_the_largest(
    range_text: str, dtype: Any, first: float, last: float
):
    pixels = np.zeros((2, 2, 3), np.uint8)
    pixels[1] = 255
    pbtxt = TENSOR.format(roi="", options=range_text)
    found = ours(
        pbtxt.replace("OVTENSOR:floats", "tensors"), [("image", image(pixels), 0)]
    )
    tensor = found["tensors"][0][0]
    assert tensor.dtype == dtype
    assert tensor.shape == (1, 2, 2, 3)
    assert tensor[0, 0].ravel().tolist() == [first] * 6
    assert tensor[0, 1].ravel().tolist() == [last] * 6


@pytest.mark.parametrize(
    ("frame", "rect", "said"),
    [
        (np.zeros((0, 4, 3), np.uint8), None, "an image of 4x0"),
        (np.zeros((1, 1 << 15, 3), np.uint8), None, "an image of 32768x1"),
        (np.zeros((4, 4, 3), np.uint16), None, "Unsupported format: SRGB48"),
        (np.zeros((4, 4, 1), np.float32), None, "Unsupported format: VEC32F1"),
        (np.zeros((4, 4, 3), np.uint8), NormalizedRect(0, 0, np.nan, 1), "not finite"),
        (np.zeros((4, 4, 3), np.uint8), NormalizedRect(0, 0, 1, -1), "must be > 0"),
    ],
)
def test_what_makes_no_tensor_is_told(frame: Any, rect: Any, said: str):
    text = "output_tensor_float_range { min: 0 max: 1 }"
    pbtxt = TENSOR.format(roi=ROI if rect else "", options=text)
    form = next(
        each
        for each in ImageFormat
        if (each.channels, each.dtype) == (frame.shape[2], frame.dtype)
    )
    events: list[Any] = [("image", ImageFrame(form, frame), 0)]
    if rect:
        events.append(("roi", rect, 0))
    outcome = ours(pbtxt.replace("OVTENSOR:floats", "tensors"), events)
    assert outcome.error is not None
    assert said in outcome.error


def test_an_image_without_its_rect_and_a_rect_of_nothing_give_nothing():
    text = "output_tensor_float_range { min: 0 max: 1 }"
    pbtxt = TENSOR.format(roi=ROI, options=text).replace("OVTENSOR:floats", "tensors")
    frame = image(np.zeros((4, 4, 3), np.uint8))
    events = [("image", frame, 0), ("image", frame, 1), ("roi", NormalizedRect(), 1)]
    assert ours(pbtxt, events)["tensors"] == {}


SCALED = """
input_stream: "image" output_stream: "IMAGE:out"
node {{
  calculator: "ImageTransformationCalculator"
  input_stream: "IMAGE:image" output_stream: "IMAGE:out"
  options {{ [mediapipe.ImageTransformationCalculatorOptions.ext] {{ {options} }} }}
}}
"""


@st.composite
def transformations(draw: st.DrawFn) -> str:
    """Of those that MediaPipe gives a whole image for: one that it turns by 90 degrees
    has no other size than its own.
    """
    mode = draw(st.sampled_from(["STRETCH", "FIT", "FILL_AND_CROP"]))
    has_size = draw(st.booleans())
    turns = ["ROTATION_0", "ROTATION_180"]
    if not has_size:
        turns += ["ROTATION_90", "ROTATION_270"]
    text = f"rotation_mode: {draw(st.sampled_from(turns))} scale_mode: {mode} "
    if has_size:
        width, height = draw(st.integers(8, 64)), draw(st.integers(8, 64))
        text += f"output_width: {width} output_height: {height} "
    for name in ("flip_vertically", "flip_horizontally", "constant_padding"):
        text += f"{name}: {str(draw(st.booleans())).lower()} "
    if draw(st.booleans()):
        text += "interpolation_mode: NEAREST "
    return text + "padding_color { red: 10 green: 200 blue: 90 }"


@checked
@given(frame=images((1, 3, 4)), text=transformations())
def test_a_transformed_image_is_the_native_one(
    native: NativeGraphs, frame: ImageFrame, text: str
):
    """Off by one of 255 at most, and by more nowhere."""
    size_limits = min(frame.width, frame.height) / max(frame.width, frame.height)
    if size_limits < 0.25 and "STRETCH" not in text:
        return  # natively a side of less than a pixel ends the process
    pbtxt = SCALED.format(options=text)
    events = [("image", frame, 0)]
    theirs = native.run(pbtxt, events, {"out": "image"})["out"]
    mine = ours(pbtxt, events)["out"]
    assert mine[0].pixels.shape == theirs[0].shape, (frame.pixels.shape, text)
    gap = np.abs(mine[0].pixels.astype(int) - theirs[0])
    assert gap.max() <= 1, (frame.pixels.shape, text)


def test_an_image_turned_and_scaled_at_once_has_the_size_that_is_asked_for():
    text = "rotation_mode: ROTATION_90 output_width: 20 output_height: 10"
    frame = image(np.zeros((40, 40, 3), np.uint8))
    found = ours(SCALED.format(options=text), [("image", frame, 0)])["out"]
    assert found[0].pixels.shape == (10, 20, 3)  # as MediaPipe's


@pytest.mark.parametrize("shape", [(0, 4, 3), (4, 0, 3)])
def test_an_image_without_pixels_is_told(shape: tuple[int, ...]):
    frame = ImageFrame(ImageFormat.SRGB, np.zeros(shape, np.uint8))
    outcome = ours(SCALED.format(options=""), [("image", frame, 0)])
    assert "has no pixels" in str(outcome.error)


def test_the_size_of_an_image_is_its_width_and_its_height():
    pbtxt = """
      input_stream: "image" output_stream: "size"
      node { calculator: "ToImageCalculator" input_stream: "IMAGE_CPU:image"
             output_stream: "IMAGE:same" }
      node { calculator: "ImagePropertiesCalculator" input_stream: "IMAGE:same"
             output_stream: "SIZE:size" }
    """
    frame = image(np.zeros((3, 5, 1), np.uint8))
    assert ours(pbtxt, [("image", frame, 7)])["size"] == {7: (5, 3)}
