"""The demo's graph with its clip: in this process, and over the wire."""

from __future__ import annotations

import threading
import time
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
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
_WINDOW: Final = 4
_OUTPUTS: Final = 2


@contextmanager
def rows(repository: Path, server: Server) -> Iterator[list[Row]]:
    """Without a wire, and from a server."""
    frames = clip(assets.fetch("vtest.avi"), 150, 100)
    with (
        Client("{}:{}".format(*server.address)) as client,
        in_process_serving(repository) as catalog,
    ):
        yield [
            Row(CASE, IN_PROCESS, lambda s: viewed(Viewer(catalog, DEMO), frames, s)),
            Row(CASE, server.name, lambda s: streamed(client, frames, s, server.pid)),
        ]


def viewed(viewer: Viewer, frames: list[Any], seconds: float) -> Slice:
    """The session itself says when it takes the next frame; what is timed is from one
    frame's acceptance to the next.
    """
    begun = last = time.perf_counter()
    latencies = array("d")
    for frame in cycle(frames):
        viewer.send(frame)
        now = time.perf_counter()
        latencies.append(now - last)
        last = now
        if now - begun > seconds:
            break
    count = len(viewer.finish())
    return Slice(time.perf_counter() - begun, latencies[:count])


def streamed(client: Client, frames: list[Any], seconds: float, pid: int) -> Slice:
    """One stream, its window always full; a frame has one answer for each output."""
    sent: dict[int, float] = {}
    latencies = array("d")
    stop = threading.Event()
    before, begun = cpu_of(pid), time.perf_counter()
    with client.stream(DEMO, window=_WINDOW) as stream:

        def send() -> None:
            for number, frame in enumerate(cycle(frames)):
                if stop.is_set():
                    break
                sent[number] = time.perf_counter()
                stream.send({"frame": frame}, timestamp=number)
            stream.half_close()

        sender = threading.Thread(target=send)
        sender.start()
        counts: dict[int, int] = {}
        for result in stream:
            assert result.timestamp is not None
            counts[result.timestamp] = counts.get(result.timestamp, 0) + 1
            if counts[result.timestamp] == _OUTPUTS:
                now = time.perf_counter()
                latencies.append(now - sent.pop(result.timestamp))
                if now - begun > seconds:
                    stop.set()
        sender.join()
    return Slice(time.perf_counter() - begun, latencies, cpu_of(pid) - before)
