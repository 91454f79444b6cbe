"""Calls posted to a strand run one at a time, in order, on threads that it borrows."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from time import thread_time_ns
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from ovms_mp.core.pace import Pace

log = logging.getLogger(__name__)

Call: TypeAlias = Callable[[], object]
Submit: TypeAlias = Callable[[Call], object]
"""How a strand borrows a thread: a pool's `submit`."""


def inline(call: Call) -> None:
    """A Submit that uses the caller's thread: for in-process runs and tests."""
    call()


class Strand:
    """A queue of calls and at most one thread at work on it.

    After each call the strand gives its thread back and asks for one again, so that
    many strands share few threads fairly, however much each has to do. Who posts to a
    strand at rest lends his own thread for one call, while calls are known to be short.
    """

    __slots__ = ("_busy", "_calls", "_pace", "_run_one", "_submit")

    def __init__(
        self,
        submit: Submit,
        run_one: Callable[[Call], object],
        pace: Pace | None = None,
    ) -> None:
        """`run_one` is given each call, to make it and to do what follows. `pace`, which
        strands of one kind share, is how long that takes of a processor's time; without
        it nobody's thread is used but those of `submit`.
        """
        self._submit = submit
        self._pace = pace
        self._run_one = run_one
        self._calls: deque[Call] = deque()
        self._busy = threading.Lock()
        """Held while a thread has been borrowed, or asked for."""

    @property
    def is_empty(self) -> bool:
        """True if no call waits for its turn; one may be under way."""
        return not self._calls

    def post(self, call: Call, *, is_light: bool = True) -> None:
        """Run `call` after all that was posted before. From any thread; one that is not
        light never runs in it.
        """
        self._calls.append(call)
        # Who does not get the lock leaves the call to who has it, and who gives it back
        # looks once more.
        if self._busy.acquire(blocking=False):
            pace = self._pace
            is_short = is_light and pace is not None and pace.is_short
            if is_short or self._submit is inline:
                self._run()
            else:
                self._borrow()

    def _borrow(self) -> None:
        try:
            self._submit(self._run)
        except RuntimeError:
            # The pool has been shut down: the server stops, and what is left are the
            # last calls of runs that were cancelled. They end in this thread.
            self._run()

    def _run(self) -> None:
        calls, busy, pace, run_one = self._calls, self._busy, self._pace, self._run_one
        while True:
            if calls:
                # Not the time that passes: what else the machine does makes nothing long.
                begun = 0 if pace is None else thread_time_ns()
                try:
                    run_one(calls.popleft())
                except BaseException:  # a pool's thread outlives what it is given
                    log.exception("a call on a strand failed")
                if pace is not None:
                    pace.measured(thread_time_ns() - begun)
                if calls and self._submit is not inline:
                    self._borrow()
                    return
            else:
                busy.release()
                if not calls or not busy.acquire(blocking=False):
                    return
