"""Laws of pictures and texts that come as BYTES."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovms_mp.core.errors import ServingError, Status
from ovms_mp.core.image import ImageFormat, ImageFrame
from ovms_mp.core.messages import InputTensor
from ovms_mp.core.picture import MAX_PIXELS, picture_size
from ovms_mp.servable import encoded
from ovms_mp.servable.boundary import Kind, to_payload
from ovms_mp.servable.encoded import MAX_ELEMENTS


def raw(*elements: bytes, shape: Sequence[int] | None = None, **more: Any):
    """A tensor of BYTES as raw contents."""
    data = b"".join(len(each).to_bytes(4, "little") + each for each in elements)
    shape = (len(elements),) if shape is None else shape
    return InputTensor("in", "BYTES", tuple(shape), raw=data, parameters=more)


def typed(*elements: bytes):
    return InputTensor(
        "in",
        "BYTES",
        (len(elements),),
        contents=list(elements),
        contents_field="bytes_contents",
    )


def picture(*shape: int, dtype: Any = np.uint8) -> np.ndarray:
    rng = np.random.default_rng(sum(shape))
    return rng.integers(0, np.iinfo(dtype).max, shape, dtype)


def encode(extension: str, pixels: np.ndarray) -> bytes:
    """As RGB or RGBA says, in a file's order."""
    if pixels.ndim == 3 and pixels.shape[2] == 3:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    elif pixels.ndim == 3 and pixels.shape[2] == 4:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_RGBA2BGRA)
    is_encoded, data = cv2.imencode(extension, pixels)
    assert is_encoded
    return data.tobytes()


def refusal(kind: Kind, tensor: InputTensor) -> tuple[Status, str]:
    with pytest.raises(ServingError) as refused:
        to_payload(kind, tensor)
    assert refused.value.details.endswith("input name: in")
    return refused.value.status, refused.value.details


def png_that_says(width: int, height: int) -> bytes:
    """A small PNG with a large header: what a bomb looks like."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = zlib.compress(bytes(1000))
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", rows)
        + chunk(b"IEND", b"")
    )


def jpeg_that_says(width: int, height: int) -> bytes:
    """A JPEG whose frame says another size."""
    data = bytearray(encode(".jpg", picture(16, 16, 3)))
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", height, width)
    return bytes(data)


# Pictures


@pytest.mark.parametrize(
    ("shape", "dtype", "image_format"),
    [
        ((5, 7), np.uint8, ImageFormat.GRAY8),
        ((5, 7, 3), np.uint8, ImageFormat.SRGB),
        ((5, 7, 4), np.uint8, ImageFormat.SRGBA),
        ((5, 7), np.uint16, ImageFormat.GRAY16),
        ((5, 7, 3), np.uint16, ImageFormat.SRGB48),
        ((5, 7, 4), np.uint16, ImageFormat.SRGBA64),
    ],
)
@pytest.mark.parametrize("form", [raw, typed])
def test_a_png_becomes_the_frame_that_it_holds(shape, dtype, image_format, form):
    pixels = picture(*shape, dtype=dtype)
    frame = to_payload(Kind.IMAGE, form(encode(".png", pixels)))
    assert isinstance(frame, ImageFrame) and frame.format is image_format
    expected = pixels.reshape(5, 7, image_format.channels)
    np.testing.assert_array_equal(frame.pixels, expected)
    assert not frame.pixels.flags.writeable


def test_a_jpeg_becomes_a_frame_in_rgb():
    red = np.zeros((16, 24, 3), np.uint8)
    red[..., 0] = 255
    frame = to_payload(Kind.IMAGE, raw(encode(".jpg", red)))
    assert frame.format is ImageFormat.SRGB and frame.pixels.shape == (16, 24, 3)
    red_there, _, blue_there = frame.pixels[8, 8]
    assert red_there > 200 and blue_there < 50


def test_pictures_of_one_size_become_one_tensor():
    pixels = [picture(4, 6, 3) + n for n in range(3)]
    array = to_payload(Kind.OVTENSOR, raw(*(encode(".png", p) for p in pixels)))
    np.testing.assert_array_equal(array, np.stack(pixels))


def test_pictures_of_several_sizes_do_not():
    status, details = refusal(
        Kind.OVTENSOR,
        raw(encode(".png", picture(4, 6, 3)), encode(".png", picture(6, 4, 3))),
    )
    assert status is Status.BINARY_IMAGES_RESOLUTION_MISMATCH
    assert details.startswith("4x6x3, 6x4x3")


@pytest.mark.parametrize("bomb", [png_that_says, jpeg_that_says])
@pytest.mark.parametrize("kind", [Kind.IMAGE, Kind.OVTENSOR])
def test_a_picture_with_too_many_pixels_is_not_decoded(bomb, kind):
    side = 60_000
    status, details = refusal(kind, raw(bomb(side, side)))
    assert status is Status.IMAGE_PARSING_FAILED
    assert details.startswith(f"{side**2} pixels ({side}x{side}), at most {MAX_PIXELS}")


def test_many_pictures_are_not_more_than_one():
    half = png_that_says(MAX_PIXELS // 2, 1)
    status, details = refusal(Kind.OVTENSOR, raw(half, half, half))
    assert status is Status.IMAGE_PARSING_FAILED and "at most" in details


@pytest.mark.parametrize(
    ("data", "details"),
    [
        (b"GIF89a" + bytes(20), "expected JPEG or PNG"),
        (b"\xff\xd8\xff\xda" + bytes(20), "expected JPEG or PNG"),
        (encode(".png", picture(9, 9, 3))[:40], "the image is broken"),
    ],
)
def test_what_is_no_picture_is_refused(data, details):
    assert refusal(Kind.IMAGE, raw(data)) == (
        Status.IMAGE_PARSING_FAILED,
        f"{details}; input name: in",
    )


def test_an_image_input_takes_one_picture():
    one = encode(".png", picture(2, 2, 3))
    status, details = refusal(Kind.IMAGE, raw(one, one))
    assert status is Status.INVALID_VALUE_COUNT
    assert details.startswith("Expected: 1 image; Actual: 2")


def test_the_size_of_a_picture_is_that_of_opencv():
    for extension in (".png", ".jpg"):
        for shape in ((3, 300, 3), (500, 2, 3), (64, 64)):
            data = encode(extension, picture(*shape))
            assert picture_size(data) == (shape[1], shape[0])


def test_a_progressive_jpeg_says_its_size_as_well():
    pixels = picture(20, 30, 3)
    _, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])
    assert picture_size(data.tobytes()) == (30, 20)


@given(st.binary(max_size=64))
def test_whatever_comes_is_looked_at_without_a_fault(data):
    for start in (b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"):
        picture_size(start + data)
        tensor = InputTensor("in", "BYTES", (1,), raw=start + data)
        for kind in (Kind.IMAGE, Kind.OVTENSOR):
            with suppress(ServingError):
                to_payload(kind, tensor)


# Texts


@pytest.mark.parametrize("form", [raw, typed])
def test_texts_become_rows_that_end_with_zeros(form):
    array = to_payload(Kind.OVTENSOR, form(b"Hi", b"", "zwölf".encode()))
    assert array.dtype == np.uint8 and array.shape == (3, 7)
    assert [bytes(row).rstrip(b"\0").decode() for row in array] == ["Hi", "", "zwölf"]


def test_the_content_type_decides_where_it_is_said():
    png = encode(".png", picture(2, 3, 3))
    assert to_payload(Kind.OVTENSOR, raw(png)).shape == (1, 2, 3, 3)
    text = to_payload(Kind.OVTENSOR, raw(png, content_type="string"))
    assert bytes(text[0])[:-1] == png
    status, _ = refusal(Kind.OVTENSOR, raw(b"Hi", content_type="image"))
    assert status is Status.IMAGE_PARSING_FAILED
    status, details = refusal(Kind.OVTENSOR, raw(b"Hi", content_type="video"))
    assert status is Status.INVALID_INPUT_FORMAT
    assert details.startswith("content_type is image or string, not 'video'")


def test_texts_that_need_more_than_a_gibibyte_together_are_refused():
    status, _ = refusal(Kind.OVTENSOR, raw(bytes(1 << 20), *[b""] * 1023))
    assert status is Status.INVALID_STRING_MAX_SIZE_EXCEEDED


# What holds for both


@pytest.mark.parametrize("kind", [Kind.IMAGE, Kind.OVTENSOR])
@pytest.mark.parametrize(
    ("tensor", "status"),
    [
        (raw(), Status.BYTES_CONTENTS_EMPTY),
        (typed(), Status.BYTES_CONTENTS_EMPTY),
        (raw(b"a", shape=(2,)), Status.INVALID_VALUE_COUNT),
        (raw(b"a", shape=(-1,)), Status.INVALID_SHAPE),
        (
            InputTensor("in", "BYTES", (1,), raw=b"\5\0\0\0abc"),
            Status.INVALID_CONTENT_SIZE,
        ),
        (InputTensor("in", "BYTES", (1,), raw=b"\5\0"), Status.INVALID_CONTENT_SIZE),
        (raw(*[b""] * (MAX_ELEMENTS + 1)), Status.INVALID_VALUE_COUNT),
        (
            InputTensor("in", "BYTES", (1,), contents=np.ones(1), contents_field="x"),
            Status.INVALID_VALUE_COUNT,
        ),
    ],
)
def test_elements_are_as_many_and_as_long_as_is_said(kind, tensor, status):
    assert refusal(kind, tensor)[0] is status


def test_an_empty_picture_is_refused():
    assert refusal(Kind.IMAGE, raw(b""))[0] is Status.BYTES_CONTENTS_EMPTY


def test_a_batch_of_texts_may_have_more_axes():
    assert to_payload(Kind.OVTENSOR, raw(b"a", b"b", shape=(2, 1))).shape == (2, 2)
    assert encoded.elements(raw(b"a", b"b", shape=(1, 2)))[1] == b"b"
