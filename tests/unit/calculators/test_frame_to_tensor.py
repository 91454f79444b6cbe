"""Laws of FrameToTensorCalculator."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from ovms_mp_calculators import frame_to_tensor
from ovms_mp_calculators.frame_to_tensor import FrameToTensorCalculator

from ovms_mp.core.errors import ServingError
from ovms_mp.core.image import ImageFormat, ImageFrame
from ovms_mp.graph.runner import CalculatorRunner
from tests.unit.calculators.documented import node_of


def run(options: str | None = None) -> CalculatorRunner:
    node = (
        'calculator: "FrameToTensorCalculator" '
        'input_stream: "IMAGE:frame" output_stream: "OVTENSOR:image" '
    )
    if options is not None:
        kind = "type.googleapis.com/ovms_mp.FrameToTensorCalculatorOptions"
        node += f"node_options {{ [{kind}] {{ {options} }} }}"
    return CalculatorRunner(FrameToTensorCalculator, node)


def tensor_of(
    pixels: NDArray[Any],
    options: str | None = None,
    kind: ImageFormat = ImageFormat.SRGB,
) -> NDArray[Any]:
    pixels.flags.writeable = False
    runner = run(options)
    runner.feed("frame", ImageFrame(kind, pixels), at=11)
    assert runner.error is None, runner.error.text
    ((at, tensor),) = runner.outputs["image"]
    assert at == 11
    return tensor


def noise(height: int, width: int, channels: int = 3) -> NDArray[np.uint8]:
    shape = (height, width, channels)
    return np.random.default_rng(1).integers(0, 256, shape, np.uint8)


@pytest.mark.parametrize("options", [None, "", "element_type: UINT8"])
def test_without_anything_to_do_the_tensor_is_the_frames_own_memory(
    options: str | None,
):
    pixels = noise(6, 8)
    tensor = tensor_of(pixels, options)
    assert tensor.shape == (1, 6, 8, 3)
    assert tensor.dtype == np.uint8
    assert np.shares_memory(tensor, pixels)
    assert np.array_equal(tensor[0], pixels)


@pytest.mark.parametrize("kind", list(ImageFormat))
def test_every_image_format_keeps_its_channels_and_element_type(kind: ImageFormat):
    pixels = np.ones((6, 8, kind.channels), kind.dtype)
    for options in ("", "width: 4 height: 3", "width: 9 height: 9"):
        tensor = tensor_of(pixels.copy(), options, kind)
        assert tensor.dtype == kind.dtype
        assert tensor.shape[3] == kind.channels
        assert (tensor == 1).all()


def test_a_size_stretches_the_frame():
    pixels = np.zeros((4, 8, 3), np.uint8)
    pixels[:, 4:] = 200
    tensor = tensor_of(pixels, "width: 4 height: 8")
    assert tensor.shape == (1, 8, 4, 3)
    assert tensor.dtype == np.uint8
    assert (tensor[0, :, :2] == 0).all()
    assert (tensor[0, :, 2:] == 200).all()


@pytest.mark.parametrize(
    ("options", "shape"),
    [("width: 4", (1, 4, 4, 3)), ("height: 2", (1, 2, 8, 3))],
)
def test_a_side_that_is_not_given_is_the_frames(options: str, shape: tuple[int, ...]):
    assert tensor_of(noise(4, 8), options).shape == shape


def test_shrinking_averages():
    pixels = np.zeros((8, 8, 3), np.uint8)
    pixels[::4, ::4] = 160
    assert (tensor_of(pixels, "width: 2 height: 2") == 10).all()


def test_an_aspect_ratio_is_kept_with_black_around_the_picture():
    pixels = np.full((4, 8, 3), 200, np.uint8)
    tensor = tensor_of(pixels, "width: 16 height: 16 keep_aspect_ratio: true")
    assert tensor.shape == (1, 16, 16, 3)
    assert (tensor[0, 4:12] == 200).all()
    assert (tensor[0, :4] == 0).all()
    assert (tensor[0, 12:] == 0).all()
    tall = tensor_of(
        np.full((8, 4, 3), 200, np.uint8),
        "width: 8 height: 8 keep_aspect_ratio: true",
    )
    assert (tall[0, :, 2:6] == 200).all()
    assert (tall[0, :, [0, 1, 6, 7]] == 0).all()


def test_a_thin_frame_never_vanishes():
    pixels = np.full((1, 500, 3), 200, np.uint8)
    options = "width: 10 height: 10 keep_aspect_ratio: true"
    assert (tensor_of(pixels, options) == 200).any()


def test_an_element_is_pixel_less_mean_over_scale_in_fp32():
    pixels = noise(3, 5)
    tensor = tensor_of(pixels, "mean: 127.5 scale: 127.5")
    assert tensor.dtype == np.float32
    expected = (pixels.astype(np.float64) - 127.5) / 127.5
    assert np.allclose(tensor[0], expected, atol=1e-6)
    assert tensor.min() >= -1
    assert tensor.max() <= 1


@pytest.mark.parametrize(
    ("options", "expected"),
    [("mean: 10", 90), ("scale: 4", 25), ("element_type: FP32", 100)],
)
def test_mean_and_scale_default_to_doing_nothing(options: str, expected: float):
    tensor = tensor_of(np.full((2, 2, 3), 100, np.uint8), options)
    assert tensor.dtype == np.float32
    assert (tensor == expected).all()


def test_the_black_around_a_picture_is_normalised_as_pixels_are():
    tensor = tensor_of(
        np.full((2, 4, 3), 255, np.uint8),
        "width: 4 height: 4 keep_aspect_ratio: true mean: 127.5 scale: 127.5",
    )
    assert (tensor[0, 0] == -1).all()
    assert (tensor[0, 1:3] == 1).all()


def test_the_documented_node_takes_a_frame():
    runner = CalculatorRunner(FrameToTensorCalculator, node_of(frame_to_tensor))
    runner.feed("frame", ImageFrame(ImageFormat.SRGB, noise(20, 30)), at=0)
    ((_, tensor),) = runner.outputs["image"]
    assert tensor.shape == (1, 128, 128, 3)
    assert tensor.dtype == np.float32


def test_a_frame_that_is_not_uint8_is_not_taken_for_one():
    runner = run("element_type: UINT8")
    frame = ImageFrame(ImageFormat.GRAY16, np.ones((2, 2, 1), np.uint16))
    runner.feed("frame", frame, at=0)
    assert runner.error is not None
    assert "element_type is UINT8, the frame has uint16" in runner.error.text


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ("width: -1", "width -1 and height 0 are 0 or more"),
        ("width: 8 keep_aspect_ratio: true", "takes a width and a height"),
        ("scale: 0", "scale is not 0"),
        ("element_type: UINT8 mean: 1", "UINT8 takes neither mean nor scale"),
    ],
)
def test_options_that_make_no_sense_are_refused_at_load(options: str, complaint: str):
    with pytest.raises(ServingError) as refusal:
        run(options)
    assert complaint in refusal.value.text
