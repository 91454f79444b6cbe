"""mediapipe.ImageFrame, Image and ImageFormat, over the frames of our calculators."""

from __future__ import annotations

from typing import Any, Final, Self

import numpy as np

from ovms_mp.core.image import ImageFormat
from ovms_mp.core.image import ImageFrame as Frame
from ovms_mp.mediapipe.payloads import ImagePixels

__all__ = ["Image", "ImageFormat", "ImageFrame", "frame_of"]

_KINDS: Final = {"u1": "uint8", "u2": "uint16", "f4": "float"}
_FORMATS: Final = {
    "u1": (ImageFormat.GRAY8, ImageFormat.SRGB, ImageFormat.SRGBA),
    "u2": (ImageFormat.GRAY16, ImageFormat.SRGB48, ImageFormat.SRGBA64),
    "f4": (ImageFormat.VEC32F1, ImageFormat.VEC32F2, ImageFormat.VEC32F4),
}


def frame_of(image_format: ImageFormat, data: Any, *, copy: bool = True) -> Frame:
    """A frame of an array of shape [height, width] or [height, width, channels].

    Raises RuntimeError when format and dtype do not fit, ValueError when the shape
    does not, where mediapipe reads what is not there.
    """
    data = np.asarray(data)
    kind = data.dtype.str[1:]
    if kind not in _FORMATS:
        msg = f"image data should be uint8, uint16 or float32, it is {data.dtype}"
        raise TypeError(msg)
    if image_format not in _FORMATS[kind]:
        names = ", ".join(each.name for each in _FORMATS[kind])
        msg = (
            f"{_KINDS[kind]} image data should be one of the {names} MediaPipe image "
            "formats."
        )
        raise RuntimeError(msg)
    pixels = data[:, :, None] if data.ndim == 2 else data
    if copy:
        pixels = np.array(pixels, order="C")
        pixels.flags.writeable = False
    return Frame(image_format, pixels)


class ImageFrame:
    """Pixels that nobody changes, copied from `data`."""

    __slots__ = ("_frame",)

    _frame: Frame

    def __init__(self, image_format: ImageFormat, data: Any) -> None:
        self._frame = frame_of(image_format, data)

    @classmethod
    def around(cls, frame: Frame) -> Self:
        """The same for a frame that is there."""
        image = cls.__new__(cls)
        image._frame = frame  # noqa: SLF001  # its own
        return image

    @property
    def frame(self) -> Frame:
        """What our calculators take."""
        return self._frame

    def numpy_view(self) -> Any:
        """A read-only array: [height, width, channels], or [height, width] if there is
        one channel.
        """
        pixels = self._frame.pixels
        view = (pixels[:, :, 0] if self.channels == 1 else pixels).view()
        view.flags.writeable = False
        return view

    def __getitem__(self, position: tuple[int, ...]) -> Any:
        size = len(position)
        if size != 3 and not (size == 2 and self.channels == 1):
            raise IndexError(f"Invalid index dimension: {size}")
        if min(position) < 0:
            raise IndexError("out of bounds")
        return self._frame.pixels[(*position, 0) if size == 2 else position].item()

    def is_contiguous(self) -> bool:
        """True if rows follow each other without gaps."""
        return bool(self._frame.pixels.flags.c_contiguous)

    def is_empty(self) -> bool:
        """False: there are pixels."""
        return False

    @property
    def width(self) -> int:
        """Columns."""
        return self._frame.width

    @property
    def height(self) -> int:
        """Rows."""
        return self._frame.height

    @property
    def channels(self) -> int:
        """Values per pixel."""
        return self._frame.format.channels

    @property
    def byte_depth(self) -> int:
        """Bytes per value."""
        return self._frame.format.dtype.itemsize

    @property
    def image_format(self) -> ImageFormat:
        """As given."""
        return self._frame.format


class Image(ImageFrame):
    """The same under its other name; there is no GPU here."""

    __slots__ = ()

    def __init__(self, image_format: ImageFormat, data: Any) -> None:
        frame = frame_of(image_format, data)
        self._frame = ImagePixels(frame.format, frame.pixels)

    def uses_gpu(self) -> bool:
        """False."""
        return False
