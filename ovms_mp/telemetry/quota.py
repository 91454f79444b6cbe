"""What happens for each request does not flood the log: so many lines of a kind a second,
and then how many more there were.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic
from typing import Final

MAX_LINES: Final = 10
"""Of one kind in a second."""

_SECONDS: Final = 1.0


@dataclass(slots=True)
class _Window:
    begun: float
    shown: int = 0
    left_out: int = 0


class Quota(logging.Filter):
    """For loggers. A record is of the `kind` that it has; or else, with an exception, of
    the kind of those that were raised in that place; or else of its logger's. So the
    first of each kind is shown whatever floods there are. Thread-safe.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._lock = threading.Lock()
        self._windows: dict[str, _Window] = {}
        self._timers: set[threading.Timer] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether it is shown."""
        kind: str = getattr(record, "kind", "") or _kind_of(record)
        now = self._clock()
        with self._lock:
            window = self._windows.get(kind)
            if window is None or (
                not window.left_out and now - window.begun >= _SECONDS
            ):
                window = self._windows[kind] = _Window(now)
            if window.shown < MAX_LINES:
                window.shown += 1
                return True
            window.left_out += 1
            if window.left_out == 1:
                self._tell_later(kind, record)
        return False

    def leaves_out(self, kind: str) -> bool:
        """Whether a record of this `kind` would not be shown; it counts then, and need
        not be made.
        """
        with self._lock:
            window = self._windows.get(kind)
            if window is None or not window.left_out:
                return False
            window.left_out += 1
            return True

    def close(self) -> None:
        """Tell at once what is left to tell."""
        with self._lock:
            timers = tuple(self._timers)
        for each in timers:
            each.cancel()
            each.function()

    def _tell_later(self, kind: str, record: logging.LogRecord) -> None:
        def tell() -> None:
            with self._lock:
                self._timers.discard(timer)
                window = self._windows.pop(kind, None)
            if window is not None:
                text = f"{kind}: {window.left_out} more within a second are not shown"
                said = logging.LogRecord(
                    record.name, record.levelno, "", 0, text, (), None
                )
                # Not by the logger's own way, which leads through here.
                logging.getLogger(record.name).callHandlers(said)

        timer = threading.Timer(_SECONDS, tell)
        timer.daemon = True
        self._timers.add(timer)
        timer.start()


def _kind_of(record: logging.LogRecord) -> str:
    error = record.exc_info[1] if record.exc_info else None
    if error is None:
        return record.name
    kind, trace = f"{record.name} {type(error).__name__}", error.__traceback__
    if trace is None:
        return kind
    while trace.tb_next is not None:
        trace = trace.tb_next
    return f"{kind} at {trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"


@contextmanager
def limited(names: Iterable[str]) -> Generator[None]:
    """Within the block, these loggers have a quota together."""
    quota = Quota()
    loggers = [logging.getLogger(name) for name in names]
    for each in loggers:
        each.addFilter(quota)
    try:
        yield
    finally:
        for each in loggers:
            each.removeFilter(quota)
        quota.close()
