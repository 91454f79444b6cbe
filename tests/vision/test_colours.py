"""Images get other colours; by hand, for the wheel lacks the calculator that does it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ovms_mp.core.errors import ServingError
from ovms_mp.core.image import ImageFrame
from tests.vision.both import image, ours


def noise(channels: int) -> ImageFrame:
    values = np.random.default_rng(channels).integers(0, 256, (7, 5, channels))
    return image(values.astype(np.uint8))


COLORS = """
input_stream: "in" output_stream: "IMAGE:out"
node {{ calculator: "ColorConvertCalculator" input_stream: "{given}:in"
       output_stream: "{made}:out" }}
"""


@pytest.mark.parametrize(
    ("given", "made", "channels", "expected"),
    [
        ("RGB_IN", "GRAY_OUT", 3, lambda e: (e @ [0.299, 0.587, 0.114])[..., None]),
        ("RGBA_IN", "RGB_OUT", 4, lambda e: e[..., :3]),
        ("GRAY_IN", "RGB_OUT", 1, lambda e: np.repeat(e, 3, axis=2)),
        ("RGB_IN", "RGBA_OUT", 3, lambda e: np.dstack([e, np.full(e.shape[:2], 255)])),
        ("BGR_IN", "RGB_OUT", 3, lambda e: e[..., ::-1]),
        ("BGRA_IN", "RGBA_OUT", 4, lambda e: e[..., [2, 1, 0, 3]]),
    ],
)
def test_images_have_other_colours(given: str, made: str, channels: int, expected: Any):
    frame = noise(channels)
    pbtxt = COLORS.format(given=given, made=made)
    found = ours(pbtxt, [("in", frame, 0)])["out"][0]
    exact = expected(frame.pixels.astype(float))
    assert found.pixels.shape == exact.shape
    assert np.abs(found.pixels - exact).max() <= 0.51


def test_an_image_of_other_colours_than_it_says_is_told():
    pbtxt = COLORS.format(given="RGB_IN", made="GRAY_OUT")
    outcome = ours(pbtxt, [("in", noise(4), 0)])
    assert "an image of SRGBA; expected SRGB" in str(outcome.error)


def test_colours_that_are_not_made_of_others_are_refused():
    with pytest.raises(ServingError, match="RGBA_IN to GRAY_OUT is none of"):
        ours(COLORS.format(given="RGBA_IN", made="GRAY_OUT"), [])
