"""R7 and R12: many streams are opened at once, and whoever goes, in whatever way, leaves
nothing behind for longer than a second.
"""

from __future__ import annotations

import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import numpy as np

from tests.gates.gate import Figure, Run, none, percentile, seconds
from tests.gates.subject import Subject, build
from tests.wire import crowd
from tests.wire.calls import Stream, ask, connect
from tests.wire.waiting import until

STREAMS_OF_A_CHANNEL: Final = 100
CROWD: Final = 1000
PATIENCE: Final = 60.0
FREED_WITHIN: Final = 1.0
CLOSED_WITHIN: Final = 2.0
OPENED_WITHIN: Final = 5.0
BUDGET_KIB: Final = 100.0
"""Of a stream: what gRPC takes for it, and thirty for the graph and what is waiting."""

ANSWERS: Final = 10
SHARES: Final = (
    ("echo", "in", 1, 0.7),
    ("totals", "in", 4, 0.15),
    ("total", "x", 4, 0.15),
)
GRAPHS: Final = ("echo", "totals")
WAYS: Final = ("kill", "cancel", "hang up", "close")
"""Of going: SIGKILL, RST_STREAM, GOAWAY, and a half-close."""

SQUARE: Final = np.zeros((512, 512), np.float32)


class Crowd:
    """A process with so many streams, each of which has been answered ANSWERS times."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def heard(self) -> str:
        """The next word that it says."""
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def go(self, way: str) -> None:
        """One of WAYS."""
        if way == "kill":
            self._process.send_signal(signal.SIGKILL)
            return
        assert self._process.stdin is not None
        self._process.stdin.write(f"{way}\n")
        self._process.stdin.flush()


@contextmanager
def crowd_of(address: str, count: int) -> Iterator[Crowd]:
    """Streams of two graphs and a model, by SHARES."""
    kinds: list[str] = []
    for name, port, width, share in SHARES:
        kinds += [name, port, str(width), str(round(count * share))]
    channels = str(-(-count // STREAMS_OF_A_CHANNEL))
    command = [sys.executable, crowd.__file__, address, channels, str(ANSWERS), *kinds]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield Crowd(process)
        finally:
            process.kill()


def opened(run: Run) -> list[Figure]:
    """A thousand streams at once are opened within seconds, answered ten times each, take
    little memory, and are gone when they are closed.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    flags = ("--config_path", str(_config(run.folder)), "--max_streams", "0")
    with Subject(run.folder, *flags) as subject:
        address = subject.ready()
        _come_and_go(subject, address, 20, "close")
        before = subject.state()
        with crowd_of(address, run.size) as crowd:
            assert crowd.heard() == "connected"
            begun = time.monotonic()
            is_open = crowd.heard() == "open"
            taken = time.monotonic() - begun
            during = subject.state()
            begun = time.monotonic()
            crowd.go("close")
            is_closed = crowd.heard() == "closed"
            until(subject.is_idle, PATIENCE)
            freed = time.monotonic() - begun
        graphs = sum(
            round(run.size * share) for name, _, _, share in SHARES if name in GRAPHS
        )
        each = (during.memory - before.memory) / run.size / 1024
        return [
            Figure("streams at once", during.streams, at_least=run.size),
            none("graphs too few", graphs - during.graphs),
            none(
                "streams that were not answered, or not ended well",
                (not is_open) + (not is_closed),
            ),
            seconds(
                f"to open them, with {ANSWERS} answers each",
                taken,
                OPENED_WITHIN * max(1.0, run.size / 1000),
            ),
            Figure("memory of a stream", each, "KiB", at_most=BUDGET_KIB),
            seconds(
                "until all is free that they had",
                freed,
                CLOSED_WITHIN * max(1.0, run.size / 1000),
            ),
            *subject.left(before),
        ]


def freed(run: Run) -> list[Figure]:
    """Clients that leave in the middle, killed, by cancelling, by hanging up and by
    half-closing, and one during a long inference, leave nothing after a second.
    """
    figures: list[Figure] = []
    flags = ("--config_path", str(_config(run.folder)), "--max_streams", "0")
    with Subject(run.folder, *flags) as subject:
        address = subject.ready()
        _come_and_go(subject, address, 20, "close")
        before = subject.state()
        for way in WAYS:
            taken = [
                _come_and_go(subject, address, count, way)
                for count in _portions(run.size)
            ]
            what = f"until {run.size} streams are free, by {way}, the slowest of {len(taken)} crowds"
            figures.append(seconds(what, max(taken), FREED_WITHIN))
        taken = [_left_during_inference(subject, address) for _ in range(5)]
        figures += [
            seconds(
                "until an inference is stopped", percentile(taken, 50), FREED_WITHIN
            ),
            *subject.left(before),
        ]
    return figures


def _portions(size: int) -> list[int]:
    """So many at once."""
    whole, rest = divmod(size, CROWD)
    return [CROWD] * whole + [rest] * bool(rest)


def _config(folder: Path) -> Path:
    return build(folder)


def _come_and_go(subject: Subject, address: str, count: int, way: str) -> float:
    """Seconds from their end until all is free that they had."""
    with crowd_of(address, count) as crowd:
        assert crowd.heard() == "connected"
        assert crowd.heard() == "open"
        begun = time.monotonic()
        crowd.go(way)
        assert until(subject.is_idle, PATIENCE), way
        return time.monotonic() - begun


def _left_during_inference(subject: Subject, address: str) -> float:
    with (
        connect(address) as channel,
        Stream(channel, ask("slow", {"in": SQUARE})) as one,
    ):
        assert until(lambda: subject.total("ovms_infer_req_active"))
        begun = time.monotonic()
        one.cancel()
        assert until(subject.is_idle, PATIENCE)
        return time.monotonic() - begun
