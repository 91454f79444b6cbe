"""Inferences run in threads that outlive them, because to start a thread costs more than
many an inference.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import TypeAlias

from ovms_mp.core.spare import work_off

_log = logging.getLogger(__name__)

Work: TypeAlias = Callable[[], object]


class Threads:
    """Threads that are kept for the next work; one more is started when all are at it.

    So there are as many as there ever was work at a time, which the slots of pools
    bound, and runs that go on with what was inferred, which a thread takes up when its
    work is done. The one that was busy last goes first: it has warm caches.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._idle: list[SimpleQueue[Work | None]] = []
        self._threads: list[threading.Thread] = []
        self._is_closed = False

    def run(self, work: Work) -> None:
        """Call `work` in another thread. What it raises is logged."""
        with self._lock:
            if self._is_closed:
                raise RuntimeError("threads are ended")
            inbox = self._idle.pop() if self._idle else self._start()
        inbox.put(work)

    def close(self) -> None:
        """End every thread once its work is done, and wait for that."""
        with self._lock:
            self._is_closed = True
            idle, self._idle = self._idle, []
        for inbox in idle:
            inbox.put(None)
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join()

    def _start(self) -> SimpleQueue[Work | None]:
        inbox: SimpleQueue[Work | None] = SimpleQueue()
        thread = threading.Thread(
            target=self._serve,
            args=(inbox,),
            name=f"{self._name}-{len(self._threads)}",
            daemon=True,  # so that a process that forgot to close can still end
        )
        self._threads.append(thread)
        thread.start()
        return inbox

    def _serve(self, inbox: SimpleQueue[Work | None]) -> None:
        while (work := inbox.get()) is not None:
            try:
                work_off(work)
            except BaseException:
                _log.exception("an inference's follower raised")
            work = None  # what it refers to must not live until the next work
            with self._lock:
                if self._is_closed:
                    return
                self._idle.append(inbox)
