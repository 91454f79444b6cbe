"""Faces, hands, bodies and whole persons in a video: the graphs of `graphs/` as streams
over gRPC, beside mp.solutions in a process of its own, which has no wire, and neither
draws nor gives frames back: as they are, and without their picture, which is what it
gives.

Both see the same frames in the same order, forwards and backwards, so that what is
followed does not jump, and compute in FP32.
"""

from __future__ import annotations

import gzip
import json
import subprocess
import tempfile
import threading
from array import array
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from ovms_mp_clients import Client

from graphs import assets
from tests.bench import runtime
from tests.bench import undrawn as undrawn_graphs
from tests.bench.fleet import Slice
from tests.bench.measure import Row
from tests.bench.servers import OURS, Server
from tests.bench.video import streamed
from tests.graphs.in_process import Pixels, clip

SOLUTIONS: Final = "mp.solutions"
ONE_BY_ONE: Final = f"{OURS}, 1 frame in flight"
UNDRAWN: Final = f"{OURS}, no picture"
UNDRAWN_ONE_BY_ONE: Final = f"{UNDRAWN}, 1 frame in flight"
STREAMS: Final = 4
DRAWN: Final = frozenset({"annotated"})
"""What there is of each frame, and what comes last of it."""


@dataclass(frozen=True, slots=True)
class Scene:
    """A graph, which is called as the solution is, and `count` frames of a clip."""

    graph: str
    clip: str
    first: int
    count: int = 24

    @property
    def stream(self) -> str:
        """The case of one video."""
        return f"{self.graph}, a video"

    @property
    def streams(self) -> str:
        """The case of several."""
        return f"{self.graph}, {STREAMS} videos at a time"

    def frames(self) -> list[Pixels]:
        """There and back."""
        file = assets.fetch(self.clip)
        with tempfile.TemporaryDirectory() as folder:
            if file.suffix == ".gz":
                packed, file = file, Path(folder, file.stem)
                file.write_bytes(gzip.decompress(packed.read_bytes()))
            there = clip(file, self.first, self.count)
        return there + there[-2:0:-1]


FACES: Final = Scene("faces", "carphone.mp4", 0)
HANDS: Final = Scene("hands", "cup.mp4.gz", 40)
POSE: Final = Scene("pose", "carphone.mp4", 0)
HOLISTIC: Final = Scene("holistic", "carphone.mp4", 0)
SCENES: Final = (FACES, HANDS, POSE, HOLISTIC)


@contextmanager
def rows(scene: Scene, server: Server, folder: Path) -> Iterator[list[Row]]:
    """Of one graph; a person's also with several streams."""
    frames = scene.frames()
    with (
        Client("{}:{}".format(*server.address)) as client,
        solution(scene, frames, folder) as solved,
    ):
        play = partial(streamed, client, frames=frames, pid=server.pid)
        drawn = partial(play, graph=scene.graph, awaited=DRAWN)
        undrawn = partial(
            play,
            graph=undrawn_graphs.name_of(scene.graph),
            awaited=undrawn_graphs.outputs_of(scene.graph),
        )

        def several(seconds: float) -> Slice:
            # All begin when each follows what it has found, and each has as many frames
            # as one by itself: their last ones, which are fewer at a time, weigh the same.
            begins = threading.Barrier(STREAMS, timeout=60)
            one = partial(drawn, STREAMS * seconds, begins=begins.wait)
            with ThreadPoolExecutor(STREAMS) as pool:
                done = [pool.submit(one) for _ in range(STREAMS)]
                parts = [each.result() for each in done]
            every = array("d")
            for each in parts:
                every += each.latencies
            # What the processor did is the server's, for all streams.
            longest = max(parts, key=lambda each: each.seconds)
            return replace(longest, latencies=every)

        found = [
            Row(scene.stream, server.name, drawn),
            Row(scene.stream, UNDRAWN, undrawn),
            Row(scene.stream, SOLUTIONS, solved),
            Row(scene.stream, ONE_BY_ONE, partial(drawn, window=1)),
            Row(scene.stream, UNDRAWN_ONE_BY_ONE, partial(undrawn, window=1)),
        ]
        if scene is HOLISTIC:
            found.append(Row(scene.streams, server.name, several))
        yield found


@contextmanager
def solution(scene: Scene, frames: list[Pixels], folder: Path) -> Iterator[Any]:
    """Play the frames to one of mp.solutions: seconds -> Slice."""
    file = folder / f"{scene.graph}_frames.npy"
    np.save(file, np.stack(frames))
    with subprocess.Popen(
        [runtime.NATIVE, "-m", "tests.bench.vision_solutions", scene.graph, file],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        answers, questions = child.stdout, child.stdin
        if answers.readline() != "ready\n":
            raise RuntimeError(f"mp.solutions.{scene.graph} did not start")

        def play(seconds: float) -> Slice:
            print(seconds, file=questions, flush=True)
            told: Mapping[str, Any] = json.loads(answers.readline())
            latencies = array("d", told["latencies"])
            return Slice(told["seconds"], latencies, told["cpu"])

        yield play
        questions.close()
