"""Threads that outlive their work, because to start one, and even to wake one, costs more
than many a call: one that is about to rest takes up what its work has brought about.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import NamedTuple, TypeAlias

_log = logging.getLogger(__name__)

Work: TypeAlias = Callable[[], object]


class _Here(threading.local):
    """What a thread of ours is at. `is_long` says so of it, and `is_returning` that it
    comes to its end, whatever begins meanwhile. `next` is what is left to the thread for
    then, and `is_next_long` says so of that.
    """

    is_ours = False
    is_long = False
    is_returning = False
    next: Work | None = None
    is_next_long = False


_here = _Here()


def takes(call: Work) -> bool:
    """True if this thread makes the call when it is done with the long work that it is at.
    One only: what else is to be done may be done at the same time. Who is at short work
    has a place that others wait for.
    """
    here = _here
    if not here.is_long or here.next is not None:
        return False
    here.next, here.is_next_long = call, False
    return True


def takes_long(work: Work) -> bool:
    """True if this thread does long work when it is done with what it is at, and that is
    soon. It gives up its place for that.
    """
    here = _here
    if not here.is_returning or here.next is not None:
        return False
    here.next, here.is_next_long = work, True
    return True


def is_laden() -> bool:
    """True if something waits for what this thread is at to end."""
    return _here.next is not None


def catch_up() -> None:
    """Do now what is left to this thread for later: it waits, and may do so for that."""
    work, _here.next = _here.next, None
    if work is not None:
        work()


def is_returning() -> bool:
    """True within `returning`."""
    return _here.is_returning


class _Returning:
    """What is done within waits for nothing that it brings about, nor does what follows:
    the thread comes to the end of what it is at.
    """

    def __enter__(self) -> None:
        _here.is_returning = _here.is_ours

    def __exit__(self, *_: object) -> None:
        _here.is_returning = False


returning = _Returning()


class _Given(NamedTuple):
    work: Work
    has_place: bool


_Inbox: TypeAlias = "SimpleQueue[_Given | None]"


class Threads:
    """Threads that are kept for the next work; one more is started when all are at it. The
    one that was busy last goes first: it has warm caches.

    There are `places` for short work, for which it waits in order. Long work has none: of
    it there is as much at a time as there are slots to infer on, and what follows it.
    """

    def __init__(self, name: str, places: int = 0) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._places = places  # that are free
        self._waiting: deque[Work] = deque()
        self._idle: list[_Inbox] = []
        self._threads: list[threading.Thread] = []
        self._is_closed = False

    def run(self, work: Work) -> None:
        """Do long work in another thread, at once. What it raises is logged. Raises
        RuntimeError when closed.
        """
        with self._lock:
            self._check_open()
            inbox = self._thread()
        inbox.put(_Given(work, has_place=False))

    def submit(self, work: Work) -> None:
        """Do short work in another thread as soon as there is a place. What it raises is
        logged. Raises RuntimeError when closed.
        """
        with self._lock:
            self._check_open()
            if not self._places:
                self._waiting.append(work)
                return
            inbox = self._thread()
            self._places -= 1
        inbox.put(_Given(work, has_place=True))

    def close(self) -> None:
        """Take no more, do all that was taken, end every thread, and wait for that."""
        with self._lock:
            self._is_closed = True
            idle, self._idle = self._idle, []
        for inbox in idle:
            inbox.put(None)
        for thread in self._threads:  # what waits may start some
            if thread is not threading.current_thread():
                thread.join()

    def _check_open(self) -> None:
        if self._is_closed:
            raise RuntimeError("threads are ended")

    def _thread(self) -> _Inbox:
        """That of a thread at rest, or of a new one. Under the lock."""
        if self._idle:
            return self._idle.pop()
        inbox: _Inbox = SimpleQueue()
        thread = threading.Thread(
            target=self._serve,
            args=(inbox,),
            name=f"{self._name}-{len(self._threads)}",
            daemon=True,  # so that a process that forgot to close can still end
        )
        thread.start()
        self._threads.append(thread)
        return inbox

    def _serve(self, inbox: _Inbox) -> None:
        here = _here
        here.is_ours = True
        while (given := inbox.get()) is not None:
            work, has_place = given
            del given  # what it refers to must not live until the next work
            here.is_long = not has_place
            while work is not None:
                try:
                    work()
                except BaseException:
                    _log.exception("work in a thread failed")
                work, here.next = here.next, None
                if work is None:
                    work = self._next(inbox, has_place=has_place)
                    here.is_long = False
                else:
                    here.is_long = here.is_next_long
                    if has_place and here.is_long:
                        has_place = not self._leaves()

    def _next(self, inbox: _Inbox, *, has_place: bool) -> Work | None:
        """What waits for the thread's place; without that it rests."""
        with self._lock:
            if has_place and self._waiting:
                return self._waiting.popleft()
            self._places += has_place
            if self._is_closed:
                inbox.put(None)
            else:
                self._idle.append(inbox)
            return None

    def _leaves(self) -> bool:
        """True if the thread's place is somebody else's now; False if somebody waits for
        it, and no thread can be had.
        """
        with self._lock:
            if not self._waiting:
                self._places += 1
                return True
            try:
                inbox = self._thread()
            except RuntimeError:
                return False
            inbox.put(_Given(self._waiting.popleft(), has_place=True))
            return True
