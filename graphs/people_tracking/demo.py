"""`make demo`: serve a graph, stream a video through it, keep what comes back.

Writes into ./demo_output (`--output` says where else): the repository that is served,
the server's log, the annotated video, and a contact sheet of it. The people-tracking
graph needs a clip from a Debian package; where there is none, the face-tracking graph
takes its place, for which the package index is enough.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from ovms_mp_clients import Client, ClientError, Stream

from graphs import assets, repository
from graphs.people_tracking.contact_sheet import (
    Moment,
    contact_sheet,
    encode_webp,
    moments_of,
)
from graphs.people_tracking.serving import ServerFailed, serving

# One frame being decoded and sent, one in the model, one being drawn and sent back.
WINDOW: Final = 3


@dataclass(frozen=True, slots=True)
class Scene:
    """A graph, and the part of a clip that it is shown with."""

    graph: str
    clip: str
    first_frame: int
    frames: int


SCENES: Final = (
    Scene("people_tracking", "vtest.avi", first_frame=150, frames=100),
    Scene("face_tracking", "carphone.mp4", first_frame=0, frames=120),
)


@dataclass(slots=True)
class Outcome:
    """What came back from the graph, and when; times are in seconds."""

    sent_at: dict[int, float] = field(default_factory=dict[int, float])
    answered_at: dict[int, float] = field(default_factory=dict[int, float])
    tracks: list[NDArray[np.float32]] = field(default_factory=list[NDArray[np.float32]])
    moments: list[Moment] = field(default_factory=list[Moment])


class Clip:
    """The frames of a scene."""

    def __init__(self, scene: Scene, path: Path) -> None:
        self._scene = scene
        self._path = str(path)
        capture = cv2.VideoCapture(self._path)
        self.fps = capture.get(cv2.CAP_PROP_FPS)
        self.width = int(capture.get(cv2.CAP_PROP_FRAME_WIDTH))
        self.height = int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
        capture.release()

    def frames(self) -> Iterator[NDArray[np.uint8]]:
        """Frames as uint8 RGB, [height, width, 3]."""
        capture = cv2.VideoCapture(self._path)
        try:
            # Not by seeking, which goes to key frames.
            for _ in range(self._scene.first_frame):
                capture.grab()
            for _ in range(self._scene.frames):
                is_there, frame = capture.read()
                if not is_there:
                    return
                yield np.asarray(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), np.uint8)
        finally:
            capture.release()


def run(scene: Scene, clip: Clip, address: str, video: Path) -> Outcome:
    """Stream the clip through the graph at `address`; write the annotated `video`.

    Raises ClientError when the server ends the stream.
    """
    outcome = Outcome()
    size = (clip.width, clip.height)
    writer = cv2.VideoWriter(
        str(video), cv2.VideoWriter.fourcc(*"mp4v"), clip.fps, size
    )
    wanted = set(moments_of(scene.frames))
    with Client(address) as client, client.stream(scene.graph, window=WINDOW) as stream:
        sender = threading.Thread(target=_send, args=(stream, clip, outcome))
        sender.start()
        try:
            for number, pixels, tracks in _answers(stream):
                outcome.answered_at[number] = time.perf_counter()
                outcome.tracks.append(tracks)
                writer.write(cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
                if number in wanted:
                    caption = f"frame {scene.first_frame + number}"
                    outcome.moments.append(Moment(caption, pixels, tracks))
                _show_progress(len(outcome.tracks), scene.frames)
        finally:
            stream.cancel()
            sender.join()
            writer.release()
    return outcome


def _send(stream: Stream, clip: Clip, outcome: Outcome) -> None:
    try:
        for frame in clip.frames():
            number = stream.send({"frame": frame})
            outcome.sent_at[number] = time.perf_counter()
        stream.half_close()
    except ClientError:
        return  # the receiving end has the same error, and the better place for it


def _answers(
    stream: Stream,
) -> Iterator[tuple[int, NDArray[np.uint8], NDArray[np.float32]]]:
    """Number, annotated frame and tracks of each frame that was sent."""
    # The two outputs of a frame may come in one response or in two.
    waiting: dict[int, dict[str, NDArray[np.generic]]] = {}
    for result in stream:
        number = result.timestamp or 0
        outputs = waiting.setdefault(number, {})
        outputs.update({name: result[name] for name in result.outputs})
        if {"annotated", "tracks"} <= outputs.keys():
            del waiting[number]
            pixels = np.asarray(outputs["annotated"], np.uint8)
            yield number, pixels, np.asarray(outputs["tracks"], np.float32)


def _show_progress(done: int, of: int, width: int = 40) -> None:
    is_last = done == of
    bar = "#" * (done * width // of)
    if sys.stdout.isatty():
        end = "\n" if is_last else ""
        print(f"\r[{bar:<{width}}] {done}/{of}", end=end, flush=True)
    elif is_last or done % max(1, of // 4) == 0:
        print(f"[{bar:<{width}}] {done}/{of}", flush=True)


def summary(clip: Clip, outcome: Outcome) -> str:
    """Frames, speed, latency and ids, a line each."""
    answered = outcome.answered_at
    seconds = max(answered.values()) - min(outcome.sent_at.values())
    latencies = [1000 * (answered[each] - outcome.sent_at[each]) for each in answered]
    median, worst = np.percentile(latencies, (50, 99)).tolist()
    ids = {int(row[6]) for tracks in outcome.tracks for row in tracks}
    seen = sum(len(tracks) for tracks in outcome.tracks) / len(outcome.tracks)
    return (
        f"frames    {len(answered)} of {clip.width}x{clip.height}\n"
        f"speed     {len(answered) / seconds:.1f} frames per second\n"
        f"latency   p50 {median:.0f} ms, p99 {worst:.0f} ms, "
        f"{WINDOW} frames in flight\n"
        f"ids       {len(ids)} seen, {seen:.1f} in a frame"
    )


def choose(name: str | None) -> tuple[Scene, Path]:
    """The scene called `name`, else the first whose clip can be had, and that clip.

    Raises AssetUnavailable when there is none.
    """
    scenes = [each for each in SCENES if name in (None, each.graph)]
    for scene in scenes[:-1]:
        try:
            return scene, assets.fetch(scene.clip)
        except assets.AssetUnavailable as error:
            print(f"without {scene.graph}: {error}")
    return scenes[-1], assets.fetch(scenes[-1].clip)


def main(arguments: list[str] | None = None) -> int:
    """Run the demo; 0 if all went well."""
    parser = argparse.ArgumentParser(description="Stream a video through a graph.")
    parser.add_argument("--output", type=Path, default=Path("demo_output"))
    parser.add_argument("--graph", choices=[each.graph for each in SCENES])
    given = parser.parse_args(arguments)
    output: Path = given.output
    try:
        scene, path = choose(given.graph)
        # A repository of this demo's own: what others put there might not load.
        served = output / "repository" / scene.graph
        repository.add_graph(served, scene.graph)
        clip = Clip(scene, path)
        print(f"{scene.clip} through {scene.graph}")
        video = output / "annotated.mp4"
        config, log = served / "config.json", output / "server.log"
        with serving(config, scene.graph, log) as address:
            outcome = run(scene, clip, address, video)
    except (assets.AssetUnavailable, ClientError, ServerFailed) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130  # 128 + SIGINT, as shells say it
    sheet = output / "contact_sheet.webp"
    sheet.write_bytes(encode_webp(contact_sheet(outcome.moments)))
    print(summary(clip, outcome))
    print(f"video     {video}\nsheet     {sheet}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
