"""A slot has one user at a time; who comes when none is free waits in order of arrival,
and no thread waits with him.
"""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Iterable
from typing import Final, Generic, TypeVar

from ovms_mp.core.errors import ServingError, Status
from ovms_mp.core.pending import Pending
from ovms_mp.inference.engine import MAX_QUEUE_LENGTH

S = TypeVar("S")


class SlotPool(Generic[S]):
    """A fixed set of slots. Thread-safe; no method blocks.

    A free slot and a waiting user never exist at the same time. Of the free slots, the
    one that was used last goes first: it is the one with warm caches.
    """

    def __init__(self, slots: Iterable[S], max_waiting: int = MAX_QUEUE_LENGTH) -> None:
        self._lock = threading.Lock()
        self._free = deque(slots)
        self._waiting: OrderedDict[int, Pending[S]] = OrderedDict()
        self._arrivals = 0
        self._max_waiting = max_waiting
        self._is_closed = False
        self.size: Final = len(self._free)
        self._busy = 0

    @property
    def busy(self) -> int:
        """Slots in use."""
        return self._busy

    @property
    def waiting(self) -> int:
        """Users in the queue."""
        return len(self._waiting)

    def take(self) -> S | None:
        """A slot if one is free. Raises ServingError when the pool is closed."""
        with self._lock:
            self._check_open()
            return self._take()

    def spare(self) -> S | None:
        """A slot if one is free and the pool is open."""
        with self._lock:
            return None if self._is_closed else self._take()

    def acquire(self, *, is_patient: bool = False) -> Pending[S]:
        """A slot, as soon as there is one. To cancel leaves the queue.

        Raises ServingError when the pool is closed or its queue is full; who
        `is_patient` waits in a full one, too. When the pool closes, the result fails.
        """
        with self._lock:
            self._check_open()
            slot = self._take()
            if slot is None:
                return self._queue(is_patient=is_patient)
        had: Pending[S] = Pending()
        had.complete(slot)
        return had

    def give(self, slot: S) -> None:
        """Bring a slot back, to whoever has waited longest; his watchers run here."""
        while True:
            with self._lock:
                if not self._waiting:
                    self._busy -= 1
                    if not self._is_closed:
                        self._free.append(slot)
                    return
                _, first = self._waiting.popitem(last=False)
            if first.complete(slot):
                return

    def close(self) -> None:
        """Give out no more slots, and forget each one that is free or comes back."""
        with self._lock:
            self._is_closed = True
            self._free.clear()
            waiting = tuple(self._waiting.values())
            self._waiting.clear()
        for one in waiting:
            one.fail(ServingError(Status.MODEL_VERSION_NOT_LOADED_ANYMORE))

    def _check_open(self) -> None:
        if self._is_closed:
            raise ServingError(Status.MODEL_VERSION_NOT_LOADED_ANYMORE)

    def _take(self) -> S | None:
        if not self._free:
            return None
        self._busy += 1
        return self._free.pop()

    def _queue(self, *, is_patient: bool) -> Pending[S]:
        if len(self._waiting) >= self._max_waiting and not is_patient:
            raise ServingError(
                Status.RESOURCE_EXHAUSTED,
                f"{self._max_waiting} inferences wait for the model already",
            )
        self._arrivals += 1
        ticket = self._arrivals
        waiting: Pending[S] = Pending(on_cancel=lambda: self._leave(ticket))
        self._waiting[ticket] = waiting
        return waiting

    def _leave(self, ticket: int) -> None:
        with self._lock:
            self._waiting.pop(ticket, None)
