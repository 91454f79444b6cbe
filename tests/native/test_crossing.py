"""What may enter native code, and what comes out; needs nothing of the wheel."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ovms_mp_protos import graph as protos

from ovms_mp.core.image import ImageFormat, ImageFrame
from ovms_mp.formats.detection import Detection, LocationFormat
from ovms_mp.formats.landmark import NormalizedLandmarkList
from ovms_mp.formats.rect import NormalizedRect
from ovms_mp.isolation.frames import FrameError
from ovms_mp.native import crossing
from ovms_mp.native.crossing import BadCrossing
from ovms_mp.native.types import IMAGE_FRAME, MATRIX, Item

DETECTION = "::mediapipe::Detection"
RECT = "::mediapipe::NormalizedRect"


def image(*shape: int, of: ImageFormat = ImageFormat.SRGB) -> ImageFrame:
    return ImageFrame(of, np.zeros(shape, of.dtype))


def back(payload: Any, cpp_type: str) -> Any:
    _, (kind, meta, buffers) = crossing.encode(payload, cpp_type)
    buffers = [memoryview(each).tobytes() for each in buffers]
    meta = [meta] if kind in {"image", "image_frame"} else meta
    return crossing.decode(Item(kind, meta, buffers))


@pytest.mark.parametrize(
    ("payload", "cpp_type"),
    [
        (True, "bool"),
        (-7, "int"),
        (2**63, "uint64_t"),
        (0.5, "float"),
        (1e300, "double"),
        ("näher", "string"),
        (b"\xff", "string"),
        ([0.5, -1.0], "::std::vector<float>"),
        ([1, 2], "::std::vector<int>"),
        ([True], "::std::vector<bool>"),
        (["a"], "::std::vector<std::string>"),
        (
            protos.Classification(index=1, score=0.5),
            "::mediapipe::Classification",
        ),
        (NormalizedRect(0.5, 0.25, 0.125, 1.0, rotation=-0.5, rect_id=7), RECT),
    ],
)
def test_a_value_comes_back_as_it_went(payload: Any, cpp_type: str) -> None:
    assert back(payload, cpp_type) == payload


def test_a_message_comes_out_as_the_value_that_it_stands_for() -> None:
    found = back(protos.Detection(score=[0.5]), DETECTION)
    assert isinstance(found, Detection)
    assert found.scores == (0.5,)
    assert found.format is LocationFormat.GLOBAL


def test_an_image_comes_back_as_it_went_and_is_read_only() -> None:
    pixels = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)[:, ::-1]
    frame = back(ImageFrame(ImageFormat.SRGB, pixels), IMAGE_FRAME)
    np.testing.assert_array_equal(frame.pixels, pixels)
    assert frame.format is ImageFormat.SRGB
    assert not frame.pixels.flags.writeable


def test_a_grey_image_keeps_its_channel() -> None:
    frame = back(image(2, 3, 1, of=ImageFormat.GRAY8), IMAGE_FRAME)
    assert frame.pixels.shape == (2, 3, 1)


def test_a_matrix_comes_back_as_it_went() -> None:
    matrix = np.arange(6, dtype=np.float32).reshape(2, 3).T
    np.testing.assert_array_equal(back(matrix, MATRIX), matrix)


@pytest.mark.parametrize(
    ("payload", "cpp_type", "said"),
    [
        (image(0, 4, 3), IMAGE_FRAME, "1x1 to"),
        (image(1, crossing.MAX_SIDE + 1, 3), IMAGE_FRAME, "1x1 to"),
        (image(2, 2, 4, of=ImageFormat.VEC32F4), IMAGE_FRAME, "VEC32F4"),
        (np.zeros((2, 2, 3), np.uint8), IMAGE_FRAME, "expected an ImageFrame"),
        (np.zeros((0, 3), np.float32), MATRIX, "with elements"),
        (np.zeros(3, np.float32), MATRIX, "with elements"),
        (np.full((1, 1), np.nan, np.float32), MATRIX, "finite"),
        ([float("inf")], "::std::vector<float>", "finite"),
        (["x"], "::std::vector<float>", "expected numbers"),
        (float("nan"), "double", "finite"),
        (2**31, "int", "expected an integer"),
        (True, "int", "expected an integer"),
        (-1, "uint64_t", "expected an integer"),
        (1, "bool", "expected bool"),
        (1, "string", "expected string"),
        ([1, "a"], "::std::vector<std::string>", "expected a list of str"),
        (protos.Rect(), DETECTION, "expected mediapipe.Detection"),
        (protos.Rect(), "::mediapipe::Rect", "required"),
        (protos.Detection(score=[float("nan")]), DETECTION, "finite"),
        (object(), "", "object cannot enter"),
    ],
)
def test_what_native_code_could_fall_over_does_not_get_there(
    payload: Any, cpp_type: str, said: str
) -> None:
    with pytest.raises(BadCrossing, match=said):
        crossing.encode(payload, cpp_type)


@pytest.mark.parametrize(
    ("payload", "cpp_type"),
    [
        (True, "bool"),
        (1, "int"),
        (1.5, "float"),
        ("a", "string"),
        (image(1, 1, 3), IMAGE_FRAME),
        (np.zeros((1, 1)), MATRIX),
        (protos.Detection(), DETECTION),
        (NormalizedRect(), RECT),
    ],
)
def test_where_anything_goes_the_type_is_that_of_the_value(
    payload: Any, cpp_type: str
) -> None:
    assert crossing.encode(payload, "")[0] == cpp_type


@pytest.mark.parametrize(
    ("cpp_type", "may_enter", "may_leave"),
    [
        (IMAGE_FRAME, True, True),
        (DETECTION, True, True),
        (f"::std::vector<{DETECTION}>", False, True),
        ("::mediapipe::Timestamp", False, False),
        ("::std::vector<::mediapipe::Tensor>", False, False),
        ("", True, True),
    ],
)
def test_what_is_known_of_a_type_is_known_at_load(
    cpp_type: str, may_enter: bool, may_leave: bool
) -> None:
    assert (not crossing.problem_in(cpp_type)) is may_enter
    assert (not crossing.problem_out(cpp_type)) is may_leave


@pytest.mark.parametrize(
    "item",
    [
        Item("pickle", None, [b"x"]),
        Item("matrix", [5, 5], [bytes(4)]),
        Item("matrix", None, []),
        Item("image_frame", [["SRGB", "uint8", [1, 1]]], [bytes(1)]),
        Item("image_frame", [["SRGB", "object", [1, 1, 3]]], [bytes(24)]),
        Item("proto", "mediapipe.NoSuchThing", [b""]),
        Item("proto", "mediapipe.Detection", [b"\xff"]),
        Item("ints", 3, []),
    ],
)
def test_an_item_that_contradicts_itself_is_refused(item: Item) -> None:
    with pytest.raises(FrameError):
        crossing.decode(item)


@pytest.mark.parametrize("cpp_type", ["::mediapipe::NormalizedLandmarkList", ""])
def test_landmarks_are_some(cpp_type: str) -> None:
    """MediaPipe's calculators take the first of them without a look."""
    with pytest.raises(BadCrossing, match=r"expected landmarks .*, found none"):
        crossing.encode(NormalizedLandmarkList(np.empty((0, 3), np.float32)), cpp_type)
    crossing.encode(NormalizedLandmarkList(np.zeros((1, 3), np.float32)), cpp_type)
