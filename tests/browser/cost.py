"""What a page that is open costs the demo: frames per second with one and without, again
and again in turn, since a machine has its moods.

    python -m tests.browser.cost [ROUNDS]

The page is asked for by hand, as a browser does it: one that draws on the same machine
would take processor time of its own.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import cv2
import numpy as np
from ovms_mp_clients import Client

from graphs import assets, repository
from tests.wire.rest import Rest
from tests.wire.servers import Process
from tests.wire.test_seeing import looking, port_of

FRAMES = 200
WINDOW = 3


def rate(address: str, frames: list[np.ndarray]) -> float:
    """Frames per second of one stream."""
    begun = time.perf_counter()
    with (
        Client(address) as client,
        client.stream("people_tracking", window=WINDOW) as on,
    ):

        def send() -> None:
            for frame in frames:
                on.send({"frame": frame})
            on.half_close()

        sender = threading.Thread(target=send)
        sender.start()
        for _ in on:
            pass
        sender.join()
    return len(frames) / (time.perf_counter() - begun)


@contextmanager
def reading(rest: Rest) -> Iterator[None]:
    """A page is open, and reads what it is told."""
    is_over = threading.Event()

    def read(events: Iterator[object]) -> None:
        for _ in events:
            if is_over.is_set():
                return

    with looking(rest, "people_tracking") as events:
        next(events)
        reader = threading.Thread(target=read, args=(events,))
        reader.start()
        try:
            yield
        finally:
            is_over.set()
            reader.join()


def main(rounds: int) -> None:
    """Measure, and print."""
    capture = cv2.VideoCapture(str(assets.fetch("vtest.avi")))
    frames = [np.asarray(capture.read()[1], np.uint8) for _ in range(FRAMES)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        repository.add_graph(folder, "people_tracking")
        flags = ("--config_path", str(folder / "config.json"), "--rest_port", "auto")
        with Process(folder, *flags) as server:
            address = server.ready()
            rest = Rest(port_of(server))
            rate(address, frames)
            found: list[tuple[float, float]] = []
            for number in range(rounds):
                measured: dict[bool, float] = {}
                for is_open in (True, False) if number % 2 else (False, True):
                    with ExitStack() as page:
                        if is_open:
                            page.enter_context(reading(rest))
                        measured[is_open] = rate(address, frames)
                found.append((measured[False], measured[True]))
                print(f"without {measured[False]:.1f}, with {measured[True]:.1f}")
    ratios = [opened / closed for closed, opened in found]
    print(f"a page open: {statistics.median(ratios):.3f} of the frames per second")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10)
