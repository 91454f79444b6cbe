"""What the requests of all clients hold of memory together has a limit. A message counts as
long as anything of it is in use, be it in a queue, in a graph or in a model: its contents
are views on it, and the last of them tells when it goes.
"""

from __future__ import annotations

import gc
import threading
import time
import weakref
from collections import deque
from typing import Final

import numpy as np

from ovms_mp.core.errors import ServingError, Status
from ovms_mp.core.messages import Buffer

SMALL: Final = 1 << 16
"""Bytes of a message that is not counted: what may wait of these has limits of its own."""
CLEARED_EVERY: Final = 10.0
"""Seconds, at most; everything waits meanwhile for a tenth of one."""


class Quota:
    """So many bytes; 0 is no limit. Thread-safe."""

    def __init__(self, limit: int = 0) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._taken = 0
        self._cleared = -CLEARED_EVERY
        # What goes may go at any time, in any thread, also in one that has the lock.
        self._given_back: deque[int] = deque()

    @property
    def held(self) -> int:
        """Bytes of what is counted now."""
        with self._lock:
            return self._settle()

    def view(self, message: Buffer) -> memoryview:
        """The bytes of `message`, to be read, and counted as long as there is the view,
        or a part of it. Raises ServingError (RESOURCE_EXHAUSTED) if there is no room.
        """
        size = len(message)
        if size <= SMALL or not self._limit:
            return memoryview(message).toreadonly()
        if self.held + size > self._limit:
            self._clear_away()
        with self._lock:
            held = self._settle()
            if held + size > self._limit:
                raise ServingError(
                    Status.RESOURCE_EXHAUSTED,
                    f"requests have {held} bytes in use, this one has {size}, and all may"
                    f" have {self._limit} (--grpc_memory_quota)",
                )
            self._taken += size
        # Neither bytes nor a view can be asked to tell.
        owner = np.frombuffer(message, np.uint8)
        weakref.finalize(owner, self._given_back.append, size).atexit = False
        return owner.data.toreadonly()

    def _clear_away(self) -> None:
        """What is rubbish, but in a circle, holds memory that nobody is to be refused for.
        It takes a while to find it.
        """
        now = time.monotonic()
        with self._lock:
            if now - self._cleared < CLEARED_EVERY:
                return
            self._cleared = now
        gc.collect()

    def _settle(self) -> int:
        while self._given_back:
            self._taken -= self._given_back.popleft()
        return self._taken


UNLIMITED: Final = Quota()
