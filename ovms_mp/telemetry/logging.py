"""The one place that configures logging: OVMS's line, or an object in JSON, and no text
can forge a second.

A line is `[2026-11-22 21:14:55.123][serving][info] text`; that of one of several
processes has `[worker 2]` before the text. Control characters are shown as
escapes; what follows the first line of an exception is indented. What happens for
each request has a quota.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from ovms_mp.telemetry.quota import limited
from ovms_mp.telemetry.requests import FAILED, FIELDS

if TYPE_CHECKING:
    from pathlib import Path

TRACE: Final = 5
"""Finer than DEBUG: one line per packet is in order."""

LEVELS: Final = {
    "TRACE": TRACE,
    "DEBUG": logging.DEBUG,
    "INFO": logging.INFO,
    "WARNING": logging.WARNING,
    "ERROR": logging.ERROR,
}
"""The values of --log_level."""

MAX_TEXT: Final = 1 << 16
"""Characters of a message, and of a traceback; the rest is dropped."""

# These describe themselves at DEBUG and INFO: of use to who debugs them, not a server. A
# line of watchdog's, in a file beside the config, is a change that makes another one.
_CHATTERS: Final = ("asyncio", "grpc", "uvicorn", "watchdog")

# Everything that a terminal or a log viewer could take for more than text: C0 and C1
# controls, line separators, direction marks, and surrogates, which no file can hold.
_UNSAFE: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


FORMATS: Final = ("text", "json")
"""The values of --log_format."""

# Loggers of what clients can make happen as often as they like.
_OF_REQUESTS: Final = (
    FAILED,
    "ovms_mp.frontend.grpc.status",
    "ovms_mp.graph.failures",
)


class JsonFormatter(logging.Formatter):
    """Formats a record as a line of JSON in ASCII: `time`, `level`, `logger`, `source`
    if there are several, `message`, the `fields` of a record that has them, and
    `exception`.
    """

    def __init__(self, source: str = "") -> None:
        super().__init__()
        self._source = {"source": source} if source else {}

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        time = datetime.fromtimestamp(record.created, UTC)
        said: dict[str, object] = {
            "time": time.isoformat(timespec="milliseconds"),
            "level": _level(record.levelno),
            "logger": record.name,
            **self._source,
            "message": _cut(record.getMessage()),
            **getattr(record, FIELDS, {}),
        }
        if record.exc_info:
            said["exception"] = _cut(self.formatException(record.exc_info))
        return json.dumps(said, default=str)


class OvmsFormatter(logging.Formatter):
    """Formats a record as OVMS prints it, in local time. `source` says which of several
    processes it is that speaks.
    """

    def __init__(self, source: str = "") -> None:
        super().__init__()
        self._source = f"[{source}]" if source else ""

    def format(self, record: logging.LogRecord) -> str:
        """One line; an exception's traceback follows on indented lines."""
        date = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record.created))
        head = f"[{date}.{int(record.msecs):03d}][{_logger(record.name)}]"
        head += f"[{_level(record.levelno)}]{self._source}"
        line = f"{head} {escape(_cut(record.getMessage()))}"
        if record.exc_info:
            trace = _cut(self.formatException(record.exc_info))
            # Only "\n": a message must not break a line by other means.
            line += "".join(f"\n    {escape(part)}" for part in trace.split("\n"))
        return line


@contextmanager
def logging_to(
    level: str,
    file: Path | None = None,
    *,
    source: str = "",
    form: str = FORMATS[0],
) -> Generator[None]:
    """Within the block, log to standard output and, if given, to the end of `file`.

    `level` is a key of LEVELS, `source` the formatter's, `form` one of FORMATS. Raises
    OSError if the file cannot be opened. Afterwards the root logger is as it was.
    """
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stdout)]
    if file is not None:
        handlers.append(logging.FileHandler(file, encoding="utf-8"))
    number = LEVELS[level]
    restore = [_configure(name, max(number, logging.WARNING)) for name in _CHATTERS]
    restore.append(_configure("", number))
    root = logging.getLogger()
    formatter = (JsonFormatter if form == "json" else OvmsFormatter)(source)
    for handler in handlers:
        handler.setFormatter(formatter)
        root.addHandler(handler)
    logging.captureWarnings(capture=True)
    try:
        with limited(_OF_REQUESTS):
            yield
    finally:
        logging.captureWarnings(capture=False)
        for handler in handlers:
            root.removeHandler(handler)
            handler.close()
        for logger, before in restore:
            logger.setLevel(before)


def escape(text: str) -> str:
    r"""`text` without characters that could end a line or drive a terminal; they show
    as `\n`, `\x1b` or `\u2028`.
    """
    return _UNSAFE.sub(lambda match: ascii(match[0])[1:-1], text)


def _cut(text: str) -> str:
    return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}…"


def _configure(name: str, level: int) -> tuple[logging.Logger, int]:
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(level)
    return logger, before


def _logger(name: str) -> str:
    first = name.partition(".")[0]
    return "serving" if first == "ovms_mp" else escape(first)


def _level(number: int) -> str:
    for least, name in _NAMES:
        if number >= least:
            return name
    return "trace"


_NAMES: Final = (
    (logging.CRITICAL, "critical"),
    (logging.ERROR, "error"),
    (logging.WARNING, "warning"),
    (logging.INFO, "info"),
    (logging.DEBUG, "debug"),
)
