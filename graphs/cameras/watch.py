"""Watch several cameras through one graph: people in them are followed, and all of them
come back on one wall.

    python graphs/cameras/watch.py localhost:9000 0 rtsp://yard/1 door.mp4 --video wall.mp4

A source is the number of a camera, a URL or a file; there may be four. Without one, parts
of a clip stand for four cameras that look at one place. What comes faster than the server
works is dropped, the oldest first; `--speed 0` sends files as fast as it takes them, and
nothing is dropped. Ctrl-C ends it well.
"""

from __future__ import annotations

import argparse
import math
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

import cv2
import grpc
import numpy as np
from ovms_mp_clients import Client, ClientError, RequestRefused, Stream
from ovms_mp_clients.tensors import Result
from ovms_mp_clients.video.sinks import FileSink, NoSink, Sink
from ovms_mp_clients.video.sources import Pixels, Source, VideoError

from graphs import assets

GRAPH: Final = "cameras"
CAMERAS: Final = 4
MICROSECONDS: Final = 1_000_000

# Live video goes to the server as it comes, which says what is too much.
WINDOW: Final = 4
LIVE_WINDOW: Final = 64

CLIP: Final = "vtest.avi"
FIRST_FRAME: Final = 150
FRAMES: Final = 100


class Part(NamedTuple):
    """Of a frame, in pixels."""

    left: int
    top: int = 80
    width: int = 400
    height: int = 300


PARTS: Final = (Part(0), Part(123), Part(245), Part(368))
"""From the left to the right, each beside the next."""


class Camera:
    """Frames of a source, or a part of each. A live one is read by a thread of its own,
    and what nobody has taken is replaced.
    """

    def __init__(
        self, source: Source, part: Part | None = None, most: float = math.inf
    ) -> None:
        """`most` frames at most."""
        self._source = source
        self._part = part
        self._left = most
        self._newest: Pixels | None = None
        self.fps = source.fps
        self.is_over = False
        self._reader = (
            threading.Thread(target=self._read_on) if source.is_live else None
        )
        if self._reader is not None:
            self._reader.start()

    def frame(self) -> Pixels | None:
        """The next frame of a file, the newest of a camera; None if there is no new one."""
        if self._reader is None:
            self._read()
        newest, self._newest = self._newest, None
        return newest

    def skip(self, frames: int) -> None:
        """Leave out the next ones."""
        for _ in range(frames):
            self._source.grab()

    def close(self) -> None:
        """Let the source go."""
        self.is_over = True
        if self._reader is not None:
            self._reader.join()
        self._source.close()

    def _read_on(self) -> None:
        while not self.is_over:
            self._read()

    def _read(self) -> None:
        self._left -= 1
        if self._left < 0 or not self._source.grab():
            self.is_over = True
            return
        frame = self._source.retrieve()
        if self._part is not None:
            left, top, width, height = self._part
            frame = frame[top : top + height, left : left + width]
        self._newest = np.ascontiguousarray(frame)


@dataclass(slots=True)
class Seen:
    """What came back."""

    sent_at: dict[int, float] = field(default_factory=dict[int, float])
    latencies: list[float] = field(default_factory=list[float])
    frames: dict[int, int] = field(default_factory=dict[int, int])
    ids: dict[int, set[int]] = field(default_factory=dict[int, set[int]])
    halves: dict[int, Result] = field(default_factory=dict[int, Result])
    dropped: int = 0
    most: int = -1
    fullest: Pixels | None = None

    def take(self, result: Result, video: Sink) -> None:
        """One output at one time; a wall goes into the video, too."""
        at = result.timestamp or 0
        for name in result.outputs:
            if name.startswith("tracks_"):
                camera = int(name.removeprefix("tracks_"))
                self.frames[camera] = self.frames.get(camera, 0) + 1
                seen = self.ids.setdefault(camera, set())
                seen.update(result[name][:, 6].astype(int).tolist())
            elif name == "wall":
                self.latencies.append(time.perf_counter() - self.sent_at.pop(at))
                video.write(result[name])
            if name in {"wall", "people"}:
                self._match(at, result)

    def _match(self, at: int, result: Result) -> None:
        """Of a wall and the count of the people on it, either may come first."""
        other = self.halves.pop(at, None)
        if other is None:
            self.halves[at] = result
            return
        both = {**other.outputs, **result.outputs}
        crowd = int(np.asarray(both["people"]).clip(min=0).sum())
        if crowd > self.most:
            self.most, self.fullest = crowd, np.asarray(both["wall"], np.uint8)

    def summary(self, seconds: float) -> str:
        """A line for each camera, and one for the wall."""
        lines = [
            f"camera {camera}  {self.frames[camera]} frames, {len(self.ids[camera])} people"
            for camera in sorted(self.frames)
        ]
        if self.latencies:
            median = 1000 * float(np.median(self.latencies))
            lines.append(
                f"wall      {len(self.latencies)} pictures, "
                f"{len(self.latencies) / seconds:.1f} per second, latency p50 "
                f"{median:.0f} ms, {self.dropped} requests dropped"
            )
        return "\n".join(lines)


def send(stream: Stream, cameras: Sequence[Camera], seen: Seen, speed: float) -> None:
    """Whatever the cameras have new, tick by tick, until all are over."""
    period = 1 / max(camera.fps for camera in cameras)
    # Of live video, the newest counts.
    parameters = {"OVMS_MP_OVERFLOW": "drop_oldest"} if speed else {}
    begun, tick = time.monotonic(), 0
    try:
        while not all(camera.is_over for camera in cameras):
            taken = {f"camera_{n}": each.frame() for n, each in enumerate(cameras)}
            frames = {name: frame for name, frame in taken.items() if frame is not None}
            at = round(tick * period * MICROSECONDS)
            tick += 1
            if frames:
                seen.sent_at[at] = time.perf_counter()
                stream.send(frames, timestamp=at, parameters=parameters)
            if speed or not frames:
                due = begun + tick * period / (speed or 1)
                time.sleep(max(0.0, due - time.monotonic()))
        stream.half_close()
    except ClientError:
        return  # who reads the answers is told


def watch(address: str, cameras: Sequence[Camera], video: Sink, speed: float) -> Seen:
    """Until the sources end, or the user has seen enough. Raises ClientError."""
    seen = Seen()
    window = LIVE_WINDOW if speed else WINDOW
    with Client(address) as client, client.stream(GRAPH, window=window) as stream:
        arguments = stream, cameras, seen, speed
        sender = threading.Thread(target=send, args=arguments)
        sender.start()
        try:
            while (answer := receive(stream)) is not None:
                if isinstance(answer, RequestRefused):
                    seen.dropped += 1
                else:
                    seen.take(answer, video)
        except KeyboardInterrupt:
            print()
        finally:
            stream.cancel()
            sender.join()
    return seen


def receive(stream: Stream) -> Result | RequestRefused | None:
    """The next answer, or that a request was dropped; None at the end."""
    try:
        return next(stream, None)
    except RequestRefused as refused:
        if refused.code is not grpc.StatusCode.RESOURCE_EXHAUSTED:
            raise
        return refused


def opened(names: Sequence[str], closing_all: ExitStack) -> list[Camera]:
    """The cameras of the command line, or those of the clip."""
    if names:
        return [closing_all.enter_context(closing(Camera(Source(n)))) for n in names]
    clip = str(assets.fetch(CLIP))
    cameras = [
        closing_all.enter_context(closing(Camera(Source(clip), part, FRAMES)))
        for part in PARTS
    ]
    for camera in cameras:
        camera.skip(FIRST_FRAME)
    return cameras


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", 1)[0])
    parser.add_argument("address", help="host:port of the server")
    parser.add_argument("source", nargs="*", help="a camera's number, a URL or a file")
    parser.add_argument(
        "--speed", type=float, default=1.0, help="1 is the cameras' own"
    )
    parser.add_argument("--video", type=Path, help="keep the wall: .mp4, .avi or .mkv")
    parser.add_argument(
        "--picture", type=Path, help="keep the fullest wall as a picture"
    )
    options = parser.parse_args(arguments)
    if len(options.source) > CAMERAS:
        parser.error(f"the graph has {CAMERAS} cameras")
    try:
        with ExitStack() as closing_all:
            cameras = opened(options.source, closing_all)
            fps = max(camera.fps for camera in cameras)
            video = FileSink(options.video, fps) if options.video else NoSink()
            closing_all.callback(video.close)
            begun = time.monotonic()
            seen = watch(options.address, cameras, video, options.speed)
            print(seen.summary(time.monotonic() - begun))
    except (assets.AssetUnavailable, ClientError, VideoError) as error:
        print(error, file=sys.stderr)
        return 1
    if options.picture and seen.fullest is not None:
        picture = cv2.cvtColor(seen.fullest, cv2.COLOR_RGB2BGR)
        cv2.imwrite(str(options.picture), picture)
    return 0


if __name__ == "__main__":
    sys.exit(main())
