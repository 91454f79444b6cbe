"""Pictures of files become frames, and frames files."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from ovms_mp_protos import graph

from ovms_mp.core.errors import ServingError
from ovms_mp.core.image import ImageFormat, ImageFrame
from ovms_mp.formats.tensors import tensor_of
from tests.vision.both import image, ours

DECODE = """
input_stream: "in" output_stream: "IMAGE:out"
node {{ calculator: "OpenCvEncodedImageToImageFrameCalculator"
       input_stream: "in" output_stream: "out"
       options {{ [mediapipe.OpenCvEncodedImageToImageFrameCalculatorOptions.ext] {{
         {options} }} }} }}
"""
ENCODE = """
input_stream: "in" output_stream: "out"
node {{ calculator: "OpenCvImageEncoderCalculator"
       input_stream: "in" output_stream: "out"
       options {{ [mediapipe.OpenCvImageEncoderCalculatorOptions.ext] {{
         {options} }} }} }}
"""


def file_of(pixels: Any, extension: str = ".png") -> bytes:
    """Pixels in OpenCV's order."""
    is_made, octets = cv2.imencode(extension, pixels)
    assert is_made
    return octets.tobytes()


def decoded(data: Any, options: str = "") -> ImageFrame:
    return ours(DECODE.format(options=options), [("in", data, 0)])["out"][0]


def noise(*shape: int, dtype: Any = np.uint8) -> Any:
    return np.random.default_rng(7).integers(0, 256, shape).astype(dtype)


@pytest.mark.parametrize("kind", [bytes, "array"])
def test_a_picture_in_colour_becomes_its_frame(kind: Any):
    pixels = noise(5, 7, 3)
    data: Any = file_of(pixels)
    data = np.frombuffer(data, np.uint8) if kind == "array" else data
    frame = decoded(data)
    assert frame.format is ImageFormat.SRGB
    np.testing.assert_array_equal(frame.pixels, pixels[..., ::-1])


@pytest.mark.parametrize(
    ("pixels", "expected"),
    [
        (noise(5, 7), ImageFormat.GRAY8),
        (noise(5, 7, 4), ImageFormat.SRGBA),
        (noise(5, 7, dtype=np.uint16), ImageFormat.GRAY16),
        (noise(5, 7, 3, dtype=np.uint16), ImageFormat.SRGB48),
    ],
)
def test_grey_alpha_and_more_bits_are_kept(pixels: Any, expected: ImageFormat):
    frame = decoded(file_of(pixels))
    assert frame.format is expected
    order = [2, 1, 0, 3] if pixels.ndim == 3 else [0]
    shown = np.atleast_3d(pixels)[..., order[: frame.pixels.shape[2]]]
    np.testing.assert_array_equal(frame.pixels, shown)


def test_a_picture_that_lies_on_its_side_stands_up_if_wanted():
    """EXIF's orientation 6: turned by 90 degrees."""
    data = file_of(noise(16, 32, 3), ".jpg")
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    segment = b"\xff\xe1" + (len(exif) + 2).to_bytes(2) + exif
    turned = data[:2] + segment + data[2:]
    assert decoded(turned).pixels.shape == (16, 32, 3)
    upright = decoded(turned, "apply_orientation_from_exif_data: true")
    assert upright.pixels.shape == (32, 16, 3)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "expected JPEG or PNG"),
        (b"GIF89a", "expected JPEG or PNG"),
        (file_of(noise(64, 64, 3))[:60], "broken"),
        (
            file_of(noise(4, 4, 3))[:16]
            + (60_000).to_bytes(4) * 2
            + file_of(noise(4, 4, 3))[24:],
            "a picture of 60000x60000",
        ),
        (np.zeros((3, 4), np.uint8), "is bytes or an array of uint8"),
    ],
)
def test_what_is_no_picture_is_told(data: Any, said: str):
    outcome = ours(DECODE.format(options=""), [("in", data, 0)])
    assert said in str(outcome.error)


@pytest.mark.parametrize(("channels", "space"), [(1, "GRAYSCALE"), (3, "RGB")])
def test_a_frame_becomes_a_file(channels: int, space: str):
    ramp = np.linspace(0, 255, 32 * 24 * channels).reshape(24, 32, channels)
    frame = image(ramp.astype(np.uint8))
    (made,) = ours(ENCODE.format(options="quality: 95"), [("in", frame, 0)])[
        "out"
    ].values()
    assert (made.width, made.height) == (32, 24)
    assert (
        made.colorspace
        == graph.OpenCvImageEncoderCalculatorResults.ColorSpace.Value(space)
    )
    back = decoded(made.encoded_image)
    assert np.abs(back.pixels.astype(int) - frame.pixels).mean() < 3
    # What leaves a graph is the file.
    tensor = tensor_of(made)
    assert tensor is not None
    assert tensor.dtype == np.uint8 and tensor.tobytes() == made.encoded_image


def test_a_better_quality_is_a_longer_file():
    frame = image(noise(64, 64, 3))
    lengths = [
        len(made.encoded_image)
        for quality in (10, 90)
        for made in ours(
            ENCODE.format(options=f"quality: {quality}"), [("in", frame, 0)]
        )["out"].values()
    ]
    assert lengths[0] < lengths[1]


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (image(noise(4, 4, 4)), "SRGBA; expected GRAY8 or SRGB"),
        (image(np.zeros((0, 4, 3), np.uint8)), "4x0 cannot be a JPEG"),
    ],
)
def test_a_frame_that_no_jpeg_can_be_is_told(frame: ImageFrame, said: str):
    outcome = ours(ENCODE.format(options=""), [("in", frame, 0)])
    assert said in str(outcome.error)


def test_a_quality_that_there_is_not_is_refused():
    with pytest.raises(ServingError, match="quality is 0 to 100, not 101"):
        ours(ENCODE.format(options="quality: 101"), [])
