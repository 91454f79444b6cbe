"""Where frames come from: a file, a camera, or a stream, by OpenCV."""

from __future__ import annotations

from typing import Final, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels: TypeAlias = NDArray[np.uint8]
"""A frame: RGB, [height, width, 3]."""

# What does not wait for whoever looks at it.
_LIVE_SCHEMES: Final = frozenset({"rtmp", "rtp", "rtsp", "rtsps", "srt", "udp"})
# Of a source that does not say, a camera mostly.
_USUAL_FPS: Final = 30.0
_MAX_FPS: Final = 1000.0


class VideoError(Exception):
    """A video cannot be read, written or shown; the message is for the user."""


class Source:
    """Frames of `name`: a file, the number of a camera, or a URL. For one thread at a
    time; close it. Raises VideoError if it cannot be opened.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        scheme = name.partition("://")[0] if "://" in name else ""
        self.is_live = name.isdecimal() or scheme in _LIVE_SCHEMES
        self._capture = self._open()
        fps = self._capture.get(cv2.CAP_PROP_FPS)
        self.fps = fps if 0 < fps <= _MAX_FPS else _USUAL_FPS

    def grab(self) -> bool:
        """Go to the next frame; False when there is none."""
        return self._capture.grab()

    def retrieve(self) -> Pixels:
        """The frame that was grabbed. Raises VideoError if it cannot be decoded."""
        is_there, frame = self._capture.retrieve()
        if not is_there:
            raise VideoError(f"{self._name} has a frame that cannot be decoded")
        return np.asarray(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), np.uint8)

    def catch_up(self) -> None:
        """Drop what a live source has gathered while nobody read it.

        Raises VideoError if it is gone.
        """
        if self.is_live:
            self._capture.release()
            self._capture = self._open()

    def close(self) -> None:
        """Let the source go."""
        self._capture.release()

    def _open(self) -> cv2.VideoCapture:
        name = self._name
        capture = cv2.VideoCapture(int(name) if name.isdecimal() else name)
        if not capture.isOpened():
            what = f"camera {name}" if name.isdecimal() else name
            raise VideoError(f"cannot open {what} as a video")
        return capture
