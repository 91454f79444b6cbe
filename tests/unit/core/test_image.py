"""A frame's format and array agree."""

from __future__ import annotations

import numpy as np
import pytest

from ovms_mp.core.image import ImageFormat, ImageFrame


def test_a_frame_knows_its_size():
    frame = ImageFrame(ImageFormat.SRGB, np.zeros((2, 3, 3), np.uint8))
    assert (frame.height, frame.width) == (2, 3)


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (np.zeros((2, 3), np.uint8), r"expects shape \[height, width, 3\]"),
        (np.zeros((2, 3, 4), np.uint8), r"the array has \[2, 3, 4\]"),
        (np.zeros((2, 3, 3), np.float32), "expects uint8, the array has float32"),
    ],
)
def test_an_array_that_is_not_the_formats_is_refused(pixels, message):
    with pytest.raises(ValueError, match=message):
        ImageFrame(ImageFormat.SRGB, pixels)
