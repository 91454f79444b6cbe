"""Something is to happen later, unless it is called off: any number of such wishes cost
one thread, and none while there are none.
"""

from __future__ import annotations

import logging
import threading
from heapq import heapify, heappop, heappush
from itertools import count
from time import monotonic
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

_log = logging.getLogger(__name__)

# Alarms that were called off are swept out when they are the larger part of so many.
_SWEEP: Final = 64


class Alarm:
    """One wish. `cancel` may be called from any thread, also after it has been met."""

    __slots__ = ("call",)

    def __init__(self, call: Callable[[], object]) -> None:
        self.call: Callable[[], object] | None = call

    def cancel(self) -> None:
        """Forget it, and all that it refers to."""
        self.call = None


class Alarms:
    """Thread-safe. What is called must be short; what it raises is logged."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._heap: list[tuple[float, int, Alarm]] = []
        self._numbers = count()
        self._is_running = False

    def after(self, seconds: float, call: Callable[[], object]) -> Alarm:
        """Call `call` in the alarms' thread when so many seconds have passed."""
        alarm = Alarm(call)
        with self._changed:
            heap = self._heap
            if len(heap) >= _SWEEP and len(heap) & (len(heap) - 1) == 0:
                heap[:] = [each for each in heap if each[2].call is not None]
                heapify(heap)
            heappush(heap, (monotonic() + seconds, next(self._numbers), alarm))
            if not self._is_running:
                threading.Thread(target=self._run, name="alarms", daemon=True).start()
                self._is_running = True  # unless the system has no more threads
            elif heap[0][2] is alarm:
                self._changed.notify()
        return alarm

    def _run(self) -> None:
        while True:
            with self._changed:
                heap = self._heap
                while heap and heap[0][2].call is None:
                    heappop(heap)
                if not heap:
                    self._is_running = False
                    return
                left = heap[0][0] - monotonic()
                if left > 0:
                    self._changed.wait(min(left, threading.TIMEOUT_MAX))
                    continue
                call = heappop(heap)[2].call
            if call is not None:
                try:
                    call()
                except Exception:  # the next alarm is somebody else's
                    _log.exception("an alarm failed")
            del call
