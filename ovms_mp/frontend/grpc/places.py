"""How many streams a process has open at a time, of all its clients together."""

from __future__ import annotations

import threading

from ovms_mp.frontend.transport.seam import Abort, Code


class Places:
    """So many; 0 is no limit. Thread-safe."""

    def __init__(self, count: int = 0) -> None:
        self._count = count
        self._taken = 0
        self._lock = threading.Lock()

    def take(self) -> None:
        """Raises Abort, RESOURCE_EXHAUSTED, if there is none left."""
        with self._lock:
            if self._count and self._taken >= self._count:
                text = f"the server has {self._count} streams open (--max_streams)"
                raise Abort(Code.RESOURCE_EXHAUSTED, f"Resource exhausted - {text}")
            self._taken += 1

    def give_back(self) -> None:
        """A stream that had one is over."""
        with self._lock:
            self._taken -= 1
