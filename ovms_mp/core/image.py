"""An image frame is a format and an HWC array that belong together."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Pixels: TypeAlias = NDArray[Any]


class ImageFormat(Enum):
    """MediaPipe's image formats (formats/image_format.proto) that cross the wire:
    channels and the type of one channel.
    """

    GRAY8 = (1, np.uint8)
    SRGB = (3, np.uint8)
    SRGBA = (4, np.uint8)
    GRAY16 = (1, np.uint16)
    SRGB48 = (3, np.uint16)
    SRGBA64 = (4, np.uint16)
    VEC32F1 = (1, np.float32)
    VEC32F2 = (2, np.float32)
    VEC32F4 = (4, np.float32)

    @property
    def channels(self) -> int:
        """Values per pixel."""
        return self.value[0]

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of one channel's value."""
        return np.dtype(self.value[1])


@dataclass(frozen=True, slots=True)
class ImageFrame:
    """`pixels` has shape [height, width, channels] and the dtype of `format`.

    Raises ValueError when array and format disagree. Frames are shared between
    consumers: nobody writes to `pixels`.
    """

    format: ImageFormat
    pixels: Pixels

    def __post_init__(self) -> None:
        expected = self.format
        shape = self.pixels.shape
        if len(shape) != 3 or shape[2] != expected.channels:
            msg = (
                f"{expected.name} expects shape [height, width, {expected.channels}], "
                f"the array has {list(shape)}"
            )
            raise ValueError(msg)
        if self.pixels.dtype != expected.dtype:
            msg = (
                f"{expected.name} expects {expected.dtype}, "
                f"the array has {self.pixels.dtype}"
            )
            raise ValueError(msg)

    @property
    def height(self) -> int:
        """Rows."""
        return self.pixels.shape[0]

    @property
    def width(self) -> int:
        """Columns."""
        return self.pixels.shape[1]
