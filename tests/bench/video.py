"""The demo's graph with its clip: in this process, and over the wire."""

from __future__ import annotations

import threading
import time
from array import array
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any, Final

from ovms_mp_clients import Client

from graphs import assets
from tests.bench.fleet import Slice, cpu_of
from tests.bench.measure import Row
from tests.bench.models import DEMO
from tests.bench.servers import Server
from tests.graphs.in_process import Viewer, clip
from tests.graphs.in_process import serving as in_process_serving

CASE: Final = f"{DEMO}, a video's frames"
IN_PROCESS: Final = "the graph in-process"
WINDOW: Final = 4
"""Frames in flight."""
_OUTPUTS: Final = frozenset({"annotated", "tracks"})


@contextmanager
def rows(repository: Path, server: Server) -> Iterator[list[Row]]:
    """Without a wire, and from a server."""
    frames = clip(assets.fetch("vtest.avi"), 150, 100)
    play = partial(streamed, graph=DEMO, frames=frames, awaited=_OUTPUTS)
    with (
        Client("{}:{}".format(*server.address)) as client,
        in_process_serving(repository) as catalog,
    ):
        yield [
            Row(CASE, IN_PROCESS, lambda s: viewed(Viewer(catalog, DEMO), frames, s)),
            Row(CASE, server.name, partial(play, client, pid=server.pid)),
        ]


def viewed(viewer: Viewer, frames: list[Any], seconds: float) -> Slice:
    """The session itself says when it takes the next frame; what is timed is from one
    frame's acceptance to the next, after the first.
    """
    viewer.send(frames[0])
    begun = last = time.perf_counter()
    latencies = array("d")
    for frame in cycle(frames):
        viewer.send(frame)
        now = time.perf_counter()
        latencies.append(now - last)
        last = now
        if now - begun > seconds:
            break
    count = len(viewer.finish()) - 1
    return Slice(time.perf_counter() - begun, latencies[:count])


def streamed(
    client: Client,
    seconds: float,
    *,
    graph: str,
    frames: Sequence[Any],
    awaited: AbstractSet[str],
    pid: int,
    window: int = WINDOW,
    stop: threading.Event | None = None,
    begins: Callable[[], object] = lambda: None,
) -> Slice:
    """One stream with `window` frames in flight, always: a frame is, from when it is
    handed to the client until these outputs of it are there, each an answer of its own.

    The first one, for which what is followed has to be found, is by itself and is not
    timed. Time begins when `begins` has returned after it, and ends with the last answer,
    so that it has all of the work on all frames that are counted, and none on others.
    `stop` ends the stream before its time.
    """
    sent: dict[int, float] = {}
    missing: dict[int, int] = {}
    latencies = array("d")
    room = threading.Semaphore(1)
    over = stop or threading.Event()
    before, begun = cpu_of(pid), time.perf_counter()
    now = begun
    # Answers make room in the client's own window with the first of their outputs.
    with client.stream(graph, window=2 * window) as stream:

        def send() -> None:
            for number, frame in enumerate(cycle(frames)):
                room.acquire()
                if over.is_set():
                    break
                missing[number] = len(awaited)
                sent[number] = time.perf_counter()
                stream.send({"frame": frame}, timestamp=number)
            stream.half_close()

        sender = threading.Thread(target=send, daemon=True)
        sender.start()
        for result in stream:
            at = result.timestamp
            assert at is not None
            if not awaited & result.outputs.keys():
                continue
            missing[at] -= 1
            if not missing[at]:
                now = time.perf_counter()
                began = sent.pop(at)
                if at:
                    latencies.append(now - began)
                    room.release()
                else:
                    begins()
                    before, begun = cpu_of(pid), time.perf_counter()
                    room.release(window)
                if now - begun > seconds:
                    over.set()
        sender.join()
    return Slice(now - begun, latencies, cpu_of(pid) - before)
