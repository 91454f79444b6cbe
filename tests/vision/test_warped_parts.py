"""Parts of images have the pixels that OpenCV's warpPerspective gives them."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from ovms_mp_calculators.image_region import Region, inverse_of
from ovms_mp_calculators.image_warp import places, repeated

from tests.vision.both import image, ours

checked = settings(
    max_examples=150,
    phases=[Phase.explicit, Phase.generate],
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
sides = st.tuples(st.integers(1, 300), st.integers(1, 300))
WHOLE = """
input_stream: "image" output_stream: "tensor"
node { calculator: "ImageToTensorCalculator" input_stream: "IMAGE:image"
       output_stream: "TENSOR:tensor"
       options { [mediapipe.ImageToTensorCalculatorOptions.ext] {
         output_tensor_width: 24 output_tensor_height: 16 keep_aspect_ratio: true
         border_mode: %s output_tensor_float_range { min: -1 max: 1 } } } }
"""


def noise(shape: tuple[int, ...], seed: int) -> NDArray[Any]:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


@checked
@given(
    shape=sides,
    channels=st.sampled_from((1, 3, 4)),
    size=sides,
    spread=st.sampled_from((0.1, 1.0, 3.0)),
    seed=st.integers(0, 2**32 - 1),
)
def test_what_is_beyond_an_edge_has_the_pixels_of_the_edge(
    shape: tuple[int, int],
    channels: int,
    size: tuple[int, int],
    spread: float,
    seed: int,
):
    """Of regions of any place and angle, nearly all of them with much that is beyond."""
    rng = np.random.default_rng(seed)
    width, height = size
    middle = rng.normal(0.5, spread, 2) * shape[::-1]
    sides = np.exp(rng.normal(0, 1, 2)) * shape[::-1]
    x, y, wide, high = np.array([*middle, *sides], np.float32).tolist()
    inverse = inverse_of(Region(x, y, wide, high, rng.uniform(-4, 4)), width, height)
    pixels = noise((*shape, channels), seed)
    found = np.empty((height, width, channels), np.uint8)
    repeated(pixels, inverse.tolist(), found)
    how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    expected = cv2.warpPerspective(
        pixels, inverse, size, flags=how, borderMode=cv2.BORDER_REPLICATE
    )
    assert np.array_equal(found, expected.reshape(found.shape))


@pytest.mark.parametrize("far", [1e6, 1e30, np.float32(3e38).item()])
def test_a_part_that_is_far_away_is_a_corner(far: float):
    pixels = noise((5, 7, 3), 1)
    inverse = inverse_of(Region(far, far, 10, 10, 0.3), 80, 90)
    found = np.empty((90, 80, 3), np.uint8)
    repeated(pixels, inverse.tolist(), found)
    how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    expected = cv2.warpPerspective(
        pixels, inverse, (80, 90), flags=how, borderMode=cv2.BORDER_REPLICATE
    )
    assert np.array_equal(found, expected)


@checked
@given(shape=sides, size=sides, border=st.sampled_from((0, 1)), seed=st.integers(0, 99))
def test_the_places_of_pixels_are_those_of_opencv(
    shape: tuple[int, int], size: tuple[int, int], border: int, seed: int
):
    """To the last bit: of whole images many are just between two steps."""
    height, width = shape
    region = Region(0.5 * width, 0.5 * height, width, height, 0.0)
    inverse = inverse_of(region, *size)
    pixels = noise((*shape, 3), seed)
    known = places(tuple(inverse.ravel().tolist()), *size)
    found = cv2.remap(pixels, *known, cv2.INTER_LINEAR, borderMode=border)
    how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    expected = cv2.warpPerspective(pixels, inverse, size, flags=how, borderMode=border)
    assert np.array_equal(found, expected)


@pytest.mark.parametrize("border", ["BORDER_ZERO", "BORDER_REPLICATE"])
def test_a_frame_becomes_the_same_tensor_whatever_came_before_it(border: str):
    frames = [
        image(noise(shape, number))
        for number, shape in enumerate([(31, 17, 3), (40, 64, 3), (31, 17, 1)])
    ]
    order = [0, 0, 0, 1, 0, 2, 2, 1, 1]
    events = [("image", frames[each], at) for at, each in enumerate(order)]
    found = ours(WHOLE % border, events)["tensor"]
    alone = [ours(WHOLE % border, [("image", each, 0)])["tensor"][0] for each in frames]
    assert all(np.array_equal(found[at], alone[each]) for at, each in enumerate(order))
