"""A load keeps a fixed number of requests in flight for a while and counts answers."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import cycle
from typing import Any

import grpc
import numpy as np
from ovms_mp_clients.streaming import Stream
from ovms_mp_clients.tensors import encode
from ovms_mp_protos import kserve

from tests.graphs.in_process import Viewer


@dataclass(slots=True)
class Tally:
    """What one slice of a load has seen: answers, and how long each took, in seconds."""

    seconds: float
    latencies: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Answers per second."""
        return len(self.latencies) / self.seconds


def in_process(requests: list[Any], array: Any, seconds: float) -> Tally:
    """The limit: one thread for each of OpenVINO's infer requests, nothing between."""
    latencies: list[list[float]] = [[] for _ in requests]

    def work(request: Any, mine: list[float]) -> None:
        end = time.perf_counter() + seconds
        while (begun := time.perf_counter()) < end:
            request.infer([array])
            mine.append(time.perf_counter() - begun)

    begun = time.perf_counter()
    threads = [
        threading.Thread(target=work, args=pair)
        for pair in zip(requests, latencies, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    spent = time.perf_counter() - begun
    return Tally(spent, [each for mine in latencies for each in mine])


def unary(
    channel: grpc.Channel,
    name: str,
    feed: dict[str, Any],
    in_flight: int,
    seconds: float,
) -> Tally:
    """ModelInfer in a closed loop: every answer sends the next request."""
    message = encode(name, feed).SerializeToString()
    call = channel.unary_unary(kserve.MODEL_INFER)
    latencies: list[float] = []
    begun = time.perf_counter()
    end = begun + seconds
    left = threading.Semaphore(0)

    def send() -> None:
        sent = time.perf_counter()
        call.future(message).add_done_callback(lambda done: answered(sent, done))

    def answered(sent: float, done: Any) -> None:
        done.result()
        now = time.perf_counter()
        latencies.append(now - sent)
        if now < end:
            send()
        else:
            left.release()

    for _ in range(in_flight):
        send()
    for _ in range(in_flight):
        left.acquire()
    return Tally(time.perf_counter() - begun, latencies)


def streamed(
    stream: Stream,
    feeds: Callable[[int], dict[str, Any]],
    *,
    answers: int,
    seconds: float,
    first: int = 0,
) -> Tally:
    """One stream, its window always full; an input is answered by `answers` messages."""
    sent: dict[int, float] = {}
    latencies: list[float] = []
    stop = threading.Event()

    def send() -> None:
        number = first
        while not stop.is_set():
            number += 1
            sent[number] = time.perf_counter()
            stream.send(feeds(number), timestamp=number)
        stream.half_close()

    begun = time.perf_counter()
    sender = threading.Thread(target=send)
    sender.start()
    counts: dict[int, int] = {}
    for result in stream:
        assert result.timestamp is not None
        counts[result.timestamp] = counts.get(result.timestamp, 0) + 1
        if counts[result.timestamp] == answers:
            now = time.perf_counter()
            latencies.append(now - sent.pop(result.timestamp))
            if now - begun > seconds:
                stop.set()
    sender.join()
    return Tally(time.perf_counter() - begun, latencies)


def viewed(viewer: Viewer, frames: list[Any], seconds: float) -> Tally:
    """A graph's stream without a wire. The session itself says when it takes the next
    frame; what is timed is from one frame's acceptance to the next.
    """
    begun = time.perf_counter()
    latencies: list[float] = []
    last = begun
    for frame in cycle(frames):
        viewer.send(frame)
        now = time.perf_counter()
        latencies.append(now - last)
        last = now
        if now - begun > seconds:
            break
    count = len(viewer.finish())
    return Tally(time.perf_counter() - begun, latencies[:count])


def percentile(latencies: list[float], share: float) -> float:
    """In milliseconds."""
    return float(np.percentile(latencies, share) * 1e3)


class Frames:
    """Frames in a loop, as a video without an end."""

    def __init__(self, frames: list[Any]) -> None:
        self._frames = deque(frames)

    def __call__(self, number: int) -> dict[str, Any]:
        self._frames.rotate(-1)
        return {"frame": self._frames[0]}
