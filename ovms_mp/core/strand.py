"""Calls posted to a strand run one at a time, in order, on threads that it borrows."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from time import thread_time_ns
from typing import TYPE_CHECKING, TypeAlias

from ovms_mp.core.threads import is_laden, takes

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
    strand at rest lends his own thread for one call, while calls are known to be short,
    or after his work, if his thread is free then.
    """

    __slots__ = ("_calls", "_pace", "_run_one", "_submit", "_turn")

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
        self._turn = [None]
        """Empty while a thread has been borrowed, or asked for. To take what is in a list
        and to give it back is atomic, as with a lock, which takes five times as long."""

    @property
    def is_empty(self) -> bool:
        """True if no call waits for its turn; one may be under way."""
        return not self._calls

    def post(self, call: Call, *, is_light: bool = True) -> None:
        """Run `call` after all that was posted before. From any thread; one that is not
        light never runs in it.
        """
        calls, pace = self._calls, self._pace
        is_short = is_light and pace is not None and pace.is_short
        is_lent = is_short or self._submit is inline
        if is_lent and not calls and self._take_turn():
            self._run(call)
            return
        calls.append(call)
        # Who does not get the turn leaves the call to who has it, and who gives it back
        # looks once more.
        if self._take_turn():
            if is_lent:
                self._run()
            else:
                self._borrow()

    def _take_turn(self) -> bool:
        try:
            self._turn.pop()
        except IndexError:
            return False
        return True

    def _borrow(self) -> None:
        if takes(self._run):
            return
        try:
            self._submit(self._run)
        except RuntimeError:
            # The pool has been shut down: the server stops, and what is left are the
            # last calls of runs that were cancelled. They end in this thread.
            self._run()

    def _run(self, call: Call | None = None) -> None:
        """Make this call, or the first that waits."""
        calls, pace, run_one = self._calls, self._pace, self._run_one
        while True:
            if call is None and calls:
                call = calls.popleft()
            if call is not None:
                # Not the time that passes: what else the machine does makes nothing long.
                begun = 0 if pace is None else thread_time_ns()
                try:
                    run_one(call)
                except BaseException:  # a pool's thread outlives what it is given
                    log.exception("a call on a strand failed")
                call = None
                if pace is not None:
                    pace.measured(thread_time_ns() - begun)
                if calls and self._submit is not inline:
                    self._borrow()
                    return
            else:
                self._turn.append(None)
                if not calls or not self._take_turn():
                    return
                if is_laden():
                    self._borrow()
                    return
