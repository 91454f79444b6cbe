"""Where a frame's time goes in the graphs of `vision.py`, as they are and without their
picture, and what memory a further stream takes.

The share outside inference is of traces of a stream with one frame in flight: of the time
from when a request enters its graph until its last answer is on its way, what is not
within an inference. To look at every call costs time, too, which counts as outside.
"""

from __future__ import annotations

import json
import math
import re
import statistics
import tempfile
import threading
import time
import urllib.request
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

from ovms_mp_clients import Client

from tests.bench import servers, undrawn
from tests.bench.models import lay_out
from tests.bench.video import streamed
from tests.bench.vision import DRAWN, HOLISTIC, SCENES, Scene

SHARES: Final = "Vision graphs: a frame's time"
MEMORY: Final = "Vision graphs: memory"
OUTSIDE: Final = "outside inference %"
FURTHER: Final = "MB of a further stream"

_SECONDS: Final = 2  # of a trace
_FEWEST: Final = 10  # frames, in a round
_MORE: Final = 4  # streams


def measure(rounds: int) -> Mapping[str, Sequence[Mapping[str, Any]]]:
    """Two tables."""
    shares = [each for scene in SCENES for each in _shares(scene, rounds)]
    return {SHARES: shares, MEMORY: [_memory(HOLISTIC)]}


@contextmanager
def _serving(scene: Scene) -> Iterator[tuple[servers.Server, int]]:
    """A server of its graph, and the port for traces."""
    port = servers.free_port()
    rest = ("--rest_bind_address", "127.0.0.1", "--rest_port", str(port))
    with tempfile.TemporaryDirectory() as name:
        config = lay_out(Path(name, scene.graph), (), [scene.graph])
        undrawn.add(config, scene.graph)
        with servers.ours(config, Path(name, "log"), *rest) as server:
            yield server, port


def _shares(scene: Scene, rounds: int) -> Iterator[dict[str, Any]]:
    """Of the graph as it is, and without its picture."""
    with (
        _serving(scene) as (server, port),
        Client("{}:{}".format(*server.address)) as client,
    ):
        play = partial(
            streamed, client, frames=scene.frames(), pid=server.pid, window=1
        )
        for name, awaited in (
            (scene.graph, DRAWN),
            (undrawn.name_of(scene.graph), undrawn.outputs_of(scene.graph)),
        ):
            yield _share(name, partial(play, graph=name, awaited=awaited), port, rounds)


def _share(
    graph: str, play: Callable[..., Any], port: int, rounds: int
) -> dict[str, Any]:
    found: list[tuple[float, float]] = []
    play(1)
    with ThreadPoolExecutor(1) as pool:
        while len(found) < _FEWEST * rounds:
            # The trace begins and ends while frames are on their way.
            over = threading.Event()
            playing = pool.submit(play, math.inf, stop=over)
            try:
                found += _frames(_trace(port))
            finally:
                over.set()
            playing.result()
    whole, within = (statistics.median(each) for each in zip(*found, strict=True))
    return {
        "case": graph,
        "frames": len(found),
        "ms in the graph": round(whole, 2),
        "ms in models": round(within, 2),
        OUTSIDE: round(100 * statistics.median(1 - b / a for a, b in found), 1),
    }


def _trace(port: int) -> list[dict[str, Any]]:
    url = f"http://127.0.0.1:{port}/v1/trace?seconds={_SECONDS}"
    asked = urllib.request.Request(url, method="POST")
    with urllib.request.urlopen(asked, timeout=60) as answer:
        return json.load(answer)["traceEvents"]


def _frames(events: Iterable[Mapping[str, Any]]) -> list[tuple[float, float]]:
    """Of each frame that a trace has whole: milliseconds in the graph, and those of them
    in which a model was at it.
    """
    begun: dict[tuple[int, int], float] = {}
    ended: dict[tuple[int, int], float] = defaultdict(float)
    models: dict[tuple[int, int], list[tuple[float, float]]] = defaultdict(list)
    for each in events:
        if each["ph"] != "X":
            continue
        frame = each["pid"], each["args"]["timestamp"]
        first, last = each["ts"], each["ts"] + each["dur"]
        if each["cat"] == "inference" and not each["name"].endswith("waits its turn"):
            models[frame].append((first, last))
        elif each["name"] == "enters":
            begun[frame] = first
        elif each["name"] == "is answered":
            ended[frame] = max(ended[frame], last)
    # The last one may have been cut off.
    whole = sorted(begun.keys() & ended.keys())[:-1]
    return [
        ((ended[frame] - begun[frame]) / 1e3, _union(models[frame]) / 1e3)
        for frame in whole
    ]


def _union(spans: Iterable[tuple[float, float]]) -> float:
    """How long there was one of them at least."""
    total = end = 0.0
    for first, last in sorted(spans):
        total += max(0.0, last - max(first, end))
        end = max(end, last)
    return total


def _memory(scene: Scene) -> dict[str, Any]:
    """One stream at work, and then more of them: the medians of what the server takes."""
    with _serving(scene) as (server, _):
        alone = _taken(scene, server, 1)
        together = _taken(scene, server, 1 + _MORE)
    return {
        "case": scene.stream,
        "MB with one": round(alone, 1),
        f"MB with {1 + _MORE}": round(together, 1),
        FURTHER: round((together - alone) / _MORE, 1),
    }


def _taken(scene: Scene, server: servers.Server, streams: int) -> float:
    """MB of a server with so many streams, all of which have frames in flight."""
    over = threading.Event()
    with (
        ThreadPoolExecutor(streams) as pool,
        Client("{}:{}".format(*server.address)) as client,
    ):
        play = partial(
            streamed,
            client,
            math.inf,
            graph=scene.graph,
            frames=scene.frames(),
            awaited=DRAWN,
            pid=server.pid,
            stop=over,
        )
        playing = [pool.submit(play) for _ in range(streams)]
        found = [_resident(server.pid) for _ in _ticks(_SECONDS * streams)]
        over.set()
        for each in playing:
            each.result()
    return statistics.median(found[len(found) // 2 :])


def _ticks(seconds: float) -> Iterator[float]:
    """The time, five times a second."""
    end = time.monotonic() + seconds
    while (now := time.monotonic()) < end:
        yield now
        time.sleep(0.2)


def _resident(pid: int) -> float:
    """MB of a process's own, and its part of what it shares."""
    told = Path(f"/proc/{pid}/smaps_rollup").read_text()
    found = re.search(r"^Pss:\s+(\d+) kB", told, re.MULTILINE)
    assert found is not None
    return int(found[1]) / 1e3
