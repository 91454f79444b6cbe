"""Clients that ask all the time, and what they have to complain of."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Self


class Asking:
    """Threads that ask until they have enough, or are sent home, which leaving the `with`
    block does. What each does is a subclass's.
    """

    def __init__(self, clients: Iterable[Callable[[], object]]) -> None:
        self.complaints: list[str] = []
        self.answers = 0
        self.streams = 0
        self.is_over = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=each) for each in clients]

    def __enter__(self) -> Self:
        for each in self._threads:
            each.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.is_over.set()
        self.join()

    def join(self, until: float = math.inf) -> None:
        """Wait until they have enough, or that moment of time.monotonic() has come."""
        for each in self._threads:
            left = max(0.0, until - time.monotonic())
            each.join(None if left == math.inf else left)

    def complain(self, text: str) -> None:
        """An answer is lost, or not as it should be."""
        with self._lock:
            self.complaints.append(text)

    def count(self, answers: int = 0, streams: int = 0) -> None:
        """So many were as they should be."""
        with self._lock:
            self.answers += answers
            self.streams += streams
