"""What a handler prints and logs is in the server's log, with its graph and node, in
lines of bounded length and number.

Prints are known by the context of the call: a thread that a handler starts on its own
prints as the server would.
"""

from __future__ import annotations

import io
import logging
import sys
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final, TextIO, cast

log = logging.getLogger(__name__)

MAX_LINE: Final = 2000
"""Characters of a line; the rest of it is dropped."""

MAX_LINES: Final = 200
"""Lines of one node in a second; what comes beyond is counted."""

_MAX_TEXT: Final = MAX_LINE * MAX_LINES


class Voice:
    """One node's way into the log. Thread-safe."""

    def __init__(
        self, label: str, tell: Callable[[int, str], object] | None = None
    ) -> None:
        """`tell` is given levels and lines; without it, the log is."""
        self.label = label
        self.is_at_home = tell is None
        """It speaks into this process's log."""
        self._tell = tell or self._log
        self._lock = threading.Lock()
        self._began = time.monotonic()
        self._lines = 0
        self._dropped = 0
        self._rest = ""

    def write(self, text: str) -> None:
        """Characters of a print; whole lines are said."""
        if self._lines > MAX_LINES and time.monotonic() - self._began < 1.0:
            self._dropped += text.count("\n")  # as fast as it can be printed
            return
        if len(text) > _MAX_TEXT:
            self._dropped += text.count("\n", _MAX_TEXT)
            text = text[:_MAX_TEXT]
        with self._lock:
            *lines, rest = (self._rest + text).split("\n")
            self._rest = rest[: MAX_LINE + 1]
        for line in lines:
            self.say(logging.INFO, line)

    def hear(self, data: bytes) -> None:
        """Bytes that a process has written."""
        self.write(data.decode("utf-8", "replace"))

    def say(self, level: int, line: str) -> None:
        """A line, if there have not been too many."""
        if not line or not self._may_speak():
            return
        if len(line) > MAX_LINE:
            line = f"{line[:MAX_LINE]}…"
        token = _SPEAKER.set(None)  # the log is not the handler's
        try:
            self._tell(level, line)
        finally:
            _SPEAKER.reset(token)

    def _log(self, level: int, line: str) -> None:
        log.log(level, "%s: %s", self.label, line)

    def _may_speak(self) -> bool:
        now = time.monotonic()
        with self._lock:
            dropped = 0
            if now - self._began >= 1.0:
                dropped, self._dropped = self._dropped, 0
                self._began, self._lines = now, 0
            self._lines += 1
            if self._lines > MAX_LINES:
                self._dropped += 1
                return False
        if dropped:
            self._tell(logging.WARNING, f"{dropped} lines are left out")
        return True


_SPEAKER: Final[ContextVar[Voice | None]] = ContextVar("speaker", default=None)


class _Output(io.TextIOBase):
    """Standard output or error: a handler's goes to its voice, others' where it went."""

    def __init__(self, beneath: TextIO) -> None:
        self._beneath = beneath

    def write(self, text: str, /) -> int:
        voice = _SPEAKER.get()
        if voice is None:
            return self._beneath.write(text)
        voice.write(text)
        return len(text)

    def flush(self) -> None:
        if _SPEAKER.get() is None:
            self._beneath.flush()

    def __getattr__(self, name: str) -> object:
        return getattr(self._beneath, name)


class _Attribution(logging.Filter):
    """Records of a handler's own loggers bear the node's label in this process's log; in
    another one they get it on their way here.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        voice = _SPEAKER.get()
        if voice is None or not voice.is_at_home or hasattr(record, "is_attributed"):
            return True
        record.is_attributed = True
        record.msg, record.args = f"{voice.label}: {record.getMessage()}", None
        return True


_ATTRIBUTION: Final = _Attribution()


class _Removal:
    """`removeHandler` of the root logger. A handler's `basicConfig(force=True)` would
    take the log from everybody; it removes what is its own.
    """

    def __init__(self, root: logging.Logger) -> None:
        self._remove = root.removeHandler
        self._there_before = [*root.handlers]

    def __call__(self, handler: logging.Handler) -> None:
        if _SPEAKER.get() is None or handler not in self._there_before:
            self._remove(handler)


def listen() -> None:
    """Stand between handlers and what is standard output, error and log now; what has
    been done before is not done again.
    """
    for name in ("stdout", "stderr"):
        stream: TextIO | None = getattr(sys, name)
        if stream is not None and not isinstance(stream, _Output):
            setattr(sys, name, cast("TextIO", _Output(stream)))
    root: Any = logging.getLogger()
    if not isinstance(root.removeHandler, _Removal):
        root.removeHandler = _Removal(root)
    for handler in root.handlers:
        if _ATTRIBUTION not in handler.filters:
            handler.addFilter(_ATTRIBUTION)


@contextmanager
def speaking(voice: Voice) -> Generator[None]:
    """Within the block the thread, or task, is a handler's."""
    token = _SPEAKER.set(voice)
    try:
        yield
    finally:
        _SPEAKER.reset(token)
