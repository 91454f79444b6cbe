"""Calls posted to a strand run one at a time, in order, on threads that it borrows."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import TypeAlias

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
    many strands share few threads fairly, however much each has to do.
    """

    __slots__ = ("_calls", "_is_running", "_lock", "_run_one", "_submit")

    def __init__(self, submit: Submit, run_one: Callable[[Call], object]) -> None:
        """`run_one` is given each call, to make it and to do what follows."""
        self._submit = submit
        self._run_one = run_one
        self._lock = threading.Lock()
        self._calls: deque[Call] = deque()
        self._is_running = False

    def post(self, call: Call) -> None:
        """Run `call` after all that was posted before. From any thread."""
        with self._lock:
            self._calls.append(call)
            if self._is_running:
                return
            self._is_running = True
        if self._submit is inline:
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
        while True:
            call = self._calls.popleft()
            try:
                self._run_one(call)
            except BaseException:  # a pool's thread outlives what it is given
                log.exception("a call on a strand failed")
            del call
            with self._lock:
                if not self._calls:
                    self._is_running = False
                    return
            if self._submit is not inline:
                self._borrow()
                return
