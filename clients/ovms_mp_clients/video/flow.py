"""What became of the frames of one stream, and how long that took."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final

import numpy as np

# A day of a camera would be millions; these are the last minutes.
_LATENCIES: Final = 100_000
_TICK: Final = 1e-6


class Flow:
    """Thread-safe counts. Frames are known by number, which grows; `clock` counts
    seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._sent_at: dict[int, float] = {}
        self._latencies: deque[float] = deque(maxlen=_LATENCIES)
        self._first_sent: float | None = None
        self._last_answered = 0.0
        self.sent_count = 0
        self.answered_count = 0
        self.dropped_count = 0
        self.unanswered_count = 0
        self.lost_count = 0

    @property
    def seconds(self) -> float:
        """Since the first frame was sent; 0 before."""
        return 0.0 if self._first_sent is None else self._clock() - self._first_sent

    def sent(self, number: int) -> None:
        """A frame goes out now."""
        now = self._clock()
        with self._lock:
            if self._first_sent is None:
                self._first_sent = now
            self._sent_at[number] = now
            self.sent_count += 1

    def dropped(self) -> None:
        """A frame found no room."""
        self.dropped_count += 1

    def answered(self, number: int) -> float | None:
        """A frame came back; returns its latency in seconds, None for a second answer.

        Frames before it will not: an output keeps its order.
        """
        now = self._clock()
        with self._lock:
            sent_at = self._sent_at.pop(number, None)
            if sent_at is None:
                return None
            self._forget([each for each in self._sent_at if each < number])
            self._last_answered = now
            self.answered_count += 1
            self._latencies.append(now - sent_at)
            return now - sent_at

    def ended(self) -> int:
        """The stream is over; returns how many frames it still had to answer."""
        with self._lock:
            left = list(self._sent_at)
            self._forget(left)
            return len(left)

    def lost(self) -> int:
        """The stream was lost; returns how many frames were lost with it."""
        self.lost_count += 1
        return self.ended()

    def summary(self) -> str:
        """Frames, speed and latency in a line."""
        counts = (
            (self.dropped_count, "dropped"),
            (self.unanswered_count, "unanswered"),
            (self.lost_count, "times lost"),
        )
        also = "".join(f", {count} {what}" for count, what in counts if count)
        if not self._latencies or self._first_sent is None:
            return f"no frames{also}"
        seconds = max(self._last_answered - self._first_sent, _TICK)
        # The fewest frames have no 99th percentile of their own: it is the slowest.
        in_ms = 1000 * np.array(self._latencies)
        median, worst = np.percentile(in_ms, (50, 99)).tolist()
        return (
            f"{self.answered_count} frames, {self.answered_count / seconds:.1f} "
            f"frames/s, latency p50 {median:.1f} ms, p99 {worst:.1f} ms{also}"
        )

    def _forget(self, numbers: list[int]) -> None:
        for number in numbers:
            del self._sent_at[number]
        self.unanswered_count += len(numbers)
