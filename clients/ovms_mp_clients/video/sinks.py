"""Where frames go: a file, a pipe, a window, or nowhere."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol, TypeAlias

import cv2
import numpy as np

from ovms_mp_clients.tensors import Array
from ovms_mp_clients.video.sources import Pixels, VideoError

# What OpenCV's own FFmpeg can write without a further library.
_CODECS: Final = {".avi": "MJPG", ".mkv": "mp4v", ".mp4": "mp4v"}
_ESCAPE: Final = 27

Output: TypeAlias = Array | list[bytes]


class ReaderGone(Exception):
    """Whoever took the frames has had enough: no fault of theirs or ours."""


class Sink(Protocol):
    """Takes the frames of one stream, from one thread."""

    def write(self, output: Output) -> None:
        """Take a frame. Raises VideoError, or ReaderGone."""

    def close(self) -> None:
        """Finish what was begun; to be called once, by any thread."""


class NoSink:
    """Takes anything."""

    def write(self, output: Output) -> None:
        """See Sink."""

    def close(self) -> None:
        """See Sink."""


class FileSink:
    """A video of `fps` frames per second, as large as its first frame.

    Raises VideoError for a suffix without a codec.
    """

    def __init__(self, path: Path, fps: float) -> None:
        self._path = path
        self._fps = fps
        self._writer: cv2.VideoWriter | None = None
        self._shape: tuple[int, ...] = ()
        codec = _CODECS.get(path.suffix.lower())
        if codec is None:
            raise VideoError(
                f"cannot write {path}: the suffix has to be one of {', '.join(_CODECS)}"
            )
        self._codec = cv2.VideoWriter.fourcc(*codec)

    def write(self, output: Output) -> None:
        """See Sink."""
        pixels = as_pixels(output)
        if self._writer is None:
            self._shape = pixels.shape
            size = pixels.shape[1], pixels.shape[0]
            self._writer = cv2.VideoWriter(
                str(self._path), self._codec, self._fps, size
            )
            if not self._writer.isOpened():
                raise VideoError(f"cannot write {self._path}")
        if pixels.shape != self._shape:
            # OpenCV would leave it out without a word.
            raise VideoError(
                f"cannot write {self._path}: a frame is {_size(pixels.shape)}, "
                f"those before were {_size(self._shape)}"
            )
        self._writer.write(cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))

    def close(self) -> None:
        """See Sink."""
        if self._writer is not None:
            self._writer.release()


class PipeSink:
    """Raw frames on the file descriptor `target`: RGB, row by row, nothing between.

    `announce` is told the format at the first frame.
    """

    def __init__(
        self, target: int, fps: float, announce: Callable[[str], None]
    ) -> None:
        # Not by sys.stdout, which would try once more when the reader is gone.
        self._file = os.fdopen(os.dup(target), "wb", buffering=0)
        self._fps = fps
        self._announce: Callable[[str], None] | None = announce

    def write(self, output: Output) -> None:
        """See Sink."""
        pixels = as_pixels(output)
        if self._announce is not None:
            size = _size(pixels.shape)
            self._announce(f"rawvideo, rgb24, {size}, {self._fps:g} frames/s")
            self._announce = None
        left = np.ascontiguousarray(pixels).data.cast("B")
        try:
            while left:
                left = left[self._file.write(left) :]
        except BrokenPipeError:
            raise ReaderGone from None

    def close(self) -> None:
        """See Sink."""
        self._file.close()


class Screen:
    """Windows for streams. `show` is for the main thread, the only one that may draw.

    Raises VideoError where there is nothing to draw on.
    """

    def __init__(self) -> None:
        # A window without a display ends the process in some builds of OpenCV.
        if sys.platform == "linux" and not (
            os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
        ):
            raise VideoError("there is no display for a window")
        self._lock = threading.Lock()
        self._latest: dict[str, Pixels] = {}
        self._is_closed = False
        try:
            cv2.namedWindow("probe")
            cv2.destroyWindow("probe")
        except cv2.error:
            raise VideoError(
                "this OpenCV has no windows: install opencv-python in the place of "
                "opencv-python-headless"
            ) from None

    def show(self) -> bool:
        """Draw the latest frames; False once Escape or q has closed the screen."""
        with self._lock:
            latest, self._latest = self._latest, {}
        for title, pixels in latest.items():
            cv2.imshow(title, cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
        if cv2.waitKey(1) & 0xFF in (_ESCAPE, ord("q")):
            self._is_closed = True
        return not self._is_closed

    def put(self, title: str, pixels: Pixels) -> None:
        """Show this at the next turn. Raises ReaderGone when the screen is closed."""
        if self._is_closed:
            raise ReaderGone
        with self._lock:
            self._latest[title] = pixels

    def close(self) -> None:
        """Close the windows."""
        cv2.destroyAllWindows()


class WindowSink:
    """One window of a screen."""

    def __init__(self, screen: Screen, title: str) -> None:
        self._screen = screen
        self._title = title

    def write(self, output: Output) -> None:
        """See Sink."""
        self._screen.put(self._title, as_pixels(output))

    def close(self) -> None:
        """See Sink."""


def numbered(path: Path, index: int, of: int) -> Path:
    """The file of stream `index`, from 1 on: out.mp4, or out-2.mp4 if there are more."""
    return path if of == 1 else path.with_stem(f"{path.stem}-{index}")


def as_pixels(output: Output) -> Pixels:
    """An output of a graph as a frame. Raises VideoError if it is none."""
    if isinstance(output, list):
        raise VideoError("the output is BYTES, a frame is uint8 [height, width, 3]")
    if (
        output.dtype != np.uint8
        or output.ndim != 3
        or output.shape[2] != 3
        or output.size == 0
    ):
        raise VideoError(
            f"the output is {output.dtype} {list(output.shape)}, "
            "a frame is uint8 [height, width, 3]"
        )
    return np.asarray(output, np.uint8)


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]}x{shape[0]}"
