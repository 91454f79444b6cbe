"""Several cameras on one wall, which waits for none of them: VideoWallCalculator.

    node {
      calculator: "VideoWallCalculator"
      input_stream: "IMAGE:0:door"            # ImageFrame, SRGB
      input_stream: "IMAGE:1:yard"
      input_stream: "TRACKS:0:door_tracks"    # [people, 7], at the timestamps of door
      input_stream: "TRACKS:1:yard_tracks"
      output_stream: "IMAGE:wall"             # ImageFrame, SRGB
      output_stream: "PEOPLE:people"          # INT64 [cameras]
      input_stream_handler {
        input_stream_handler: "SyncSetInputStreamHandler"
        options {
          [mediapipe.SyncSetInputStreamHandlerOptions.ext] {
            sync_set { tag_index: ["IMAGE:0", "TRACKS:0"] }
            sync_set { tag_index: ["IMAGE:1", "TRACKS:1"] }
          }
        }
      }
    }

A time at which a camera has a picture has a wall, as soon as all cameras are settled
there. One that falls behind another by more than PATIENCE pictures is out: nobody waits
for it, and what it showed last is darkened, until it is there in time again.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from ovms_mp_calculators.frame_to_tensor import letterboxed

from ovms_mp.calculator import Calculator, ContractError, Inputs, Output
from ovms_mp.core.image import ImageFormat, ImageFrame

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ovms_mp.calculator import Context, InputPort, NodeInfo

Pixels = NDArray[np.uint8]

PATIENCE: Final = 4
"""Pictures that a camera may be behind."""

TILE: Final = (480, 360)
"""Width and height of a camera's place, which its pictures fit into."""

NO_PICTURE: Final = -1
"""In the place of a count of people."""

_NEVER: Final = -(2**63)
_DARK: Final = 3  # a picture that is not of now has a third of its light
_FONT: Final = cv2.FONT_HERSHEY_SIMPLEX
_WHITE: Final = (255, 255, 255)
_FRAME: Final = (24, 24, 24)


class _Picture(NamedTuple):
    at: int
    tile: Pixels
    people: int


@dataclass(slots=True, eq=False)
class _Camera:
    """What came of a camera, and what of it is on the wall."""

    image: InputPort[ImageFrame]
    tracks: InputPort[NDArray[Any]]
    settled: int = _NEVER
    waiting: deque[_Picture] = field(default_factory=deque[_Picture])
    shown: _Picture | None = None
    is_out: bool = False

    @property
    def people(self) -> int:
        """How many it shows now."""
        is_live = self.shown is not None and not self.is_out
        return self.shown.people if self.shown and is_live else NO_PICTURE

    def take(self, ctx: Context) -> None:
        """See how far it is. Raises ValueError for a frame that is not in colour."""
        self.settled = max(self.settled, ctx.settled(self.image))
        frame = ctx.get(self.image)
        if frame is None:
            return
        if frame.format is not ImageFormat.SRGB:
            raise ValueError(f"frames are SRGB, not {frame.format.name}")
        people = len(ctx[self.tracks]) if ctx.has(self.tracks) else 0
        tile = letterboxed(frame.pixels, *TILE)
        self.waiting.append(_Picture(ctx.timestamp, tile, people))

    def show(self, at: int) -> None:
        """Go on to the picture of that time."""
        while self.waiting and self.waiting[0].at <= at:
            self.shown = self.waiting.popleft()


class VideoWallCalculator(Calculator):
    """A picture that comes after its wall is on the next one."""

    process_timestamp_bounds = True

    images = Inputs(ImageFrame, "IMAGE")
    tracks: Inputs[NDArray[Any]] = Inputs(np.ndarray, "TRACKS")
    wall = Output(ImageFrame, "IMAGE")
    people: Output[NDArray[np.int64]] = Output(np.ndarray, "PEOPLE")

    @classmethod
    def check(cls, node: NodeInfo) -> None:
        """A stream of tracks for each camera."""
        images = sum(port.tag == "IMAGE" for port in node.inputs)
        tracks = len(node.inputs) - images
        if images != tracks:
            raise ContractError(
                f"{images} IMAGE streams need as many TRACKS, not {tracks}"
            )

    def open(self, ctx: Context) -> None:
        """Nothing is on the wall."""
        pairs = zip(self.images, self.tracks, strict=True)
        self._cameras = [_Camera(image, tracks) for image, tracks in pairs]
        self._last = _NEVER

    def process(self, ctx: Context) -> None:
        """A picture of one camera, or that none comes."""
        for camera in self._cameras:
            camera.take(ctx)
            camera.show(self._last)
        while (at := self._next()) is not None and self._is_time(at):
            self._send(ctx, at)

    def close(self, ctx: Context) -> None:
        """The end: what waits is shown."""
        while ctx.error is None and (at := self._next()) is not None:
            self._send(ctx, at)

    def _next(self) -> int | None:
        """The time of the earliest picture that waits."""
        waiting = (camera.waiting[0].at for camera in self._cameras if camera.waiting)
        return min(waiting, default=None)

    def _is_time(self, at: int) -> bool:
        """Whether all are there, or those who are not have been waited for."""
        is_enough = any(len(camera.waiting) > PATIENCE for camera in self._cameras)
        for camera in self._cameras:
            camera.is_out = camera.settled < at and (camera.is_out or is_enough)
        return all(camera.settled >= at or camera.is_out for camera in self._cameras)

    def _send(self, ctx: Context, at: int) -> None:
        for camera in self._cameras:
            camera.show(at)
        self._last = at
        people = np.array([camera.people for camera in self._cameras], np.int64)
        ctx.send(self.people, people, at=at)
        wall = ImageFrame(ImageFormat.SRGB, _wall(self._cameras))
        ctx.send(self.wall, wall, at=at)


def _wall(cameras: Sequence[_Camera]) -> Pixels:
    """Side by side, in rows, in a square as near as may be."""
    width, height = TILE
    columns = math.ceil(math.sqrt(len(cameras)))
    rows = math.ceil(len(cameras) / columns)
    wall = np.zeros((rows * height, columns * width, 3), np.uint8)
    for number, camera in enumerate(cameras):
        left, top = number % columns * width, number // columns * height
        place = wall[top : top + height, left : left + width]
        if camera.shown is not None:
            place[:] = camera.shown.tile
        if camera.people == NO_PICTURE:
            place //= _DARK
        corner = left + width - 1, top + height - 1
        cv2.rectangle(wall, (left, top), corner, _FRAME, 2)
        seen = (
            "no picture" if camera.people == NO_PICTURE else f"{camera.people} people"
        )
        _write(wall, f"camera {number}: {seen}", (left, top + height))
    return wall


def _write(wall: Pixels, text: str, corner: tuple[int, int]) -> None:
    """In the lower left corner of a place, on a darkened strip of its own."""
    (width, height), _ = cv2.getTextSize(text, _FONT, 0.5, 1)
    left, bottom = corner
    strip = wall[bottom - height - 14 : bottom, left : left + width + 16]
    strip //= _DARK
    origin = left + 8, bottom - 7
    cv2.putText(wall, text, origin, _FONT, 0.5, _WHITE, 1, cv2.LINE_AA)
