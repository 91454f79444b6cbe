"""What happened in runs that were watched, as far as there is room, in the order in which it
came; what is older than that is forgotten.
"""

from __future__ import annotations

import base64
import logging
import threading
import zlib
from collections import deque
from typing import TYPE_CHECKING, Final

from ovms_mp.telemetry.trace_events import events_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from ovms_mp.core.happenings import Happening, Sink, Subject

log = logging.getLogger(__name__)

MAX_HAPPENINGS: Final = 100_000
"""Of a trace: a minute of the demo, and 40 MB of a file."""

MAX_RUNS: Final = 10_000
"""Whose names are known."""


class Recording:
    """A Watcher, which keeps the latest `most` happenings. Thread-safe."""

    def __init__(self, most: int = MAX_HAPPENINGS) -> None:
        self._lock = threading.Lock()
        self._happenings: deque[Happening] = deque(maxlen=most)
        self._subjects: dict[int, Subject] = {}

    @property
    def happened(self) -> Sink:
        """See Watcher."""
        return self._happenings.append

    def opened(self, subject: Subject) -> None:
        """See Watcher."""
        with self._lock:
            self._subjects[subject.run] = subject
            while len(self._subjects) > MAX_RUNS:
                del self._subjects[next(iter(self._subjects))]

    def closed(self, run: int) -> None:
        """See Watcher: what happened in it is told still."""

    def events(self, process: int = 0) -> Iterator[bytes]:
        """Each by itself, as those of the process with this number, 0 if it is alone."""
        with self._lock:
            subjects = dict(self._subjects)
        return events_of(self._happenings.copy(), subjects, process)


def chunks(events: Iterable[bytes]) -> Iterator[bytes]:
    """The file, in Chrome's format, which Perfetto reads too."""
    yield b'{"displayTimeUnit":"ms","traceEvents":[\n'
    comma = b""
    for event in events:
        yield comma + event
        comma = b",\n"
    yield b"\n]}\n"


def packed(events: Iterable[bytes]) -> str:
    """Events as a text, a tenth as long."""
    return base64.b64encode(zlib.compress(b"\n".join(events), 1)).decode()


def unpacked(text: str) -> Sequence[bytes]:
    """The opposite of `packed`. Raises ValueError."""
    try:
        events = zlib.decompress(base64.b64decode(text, validate=True))
    except zlib.error as error:
        raise ValueError("no events") from error
    return events.split(b"\n") if events else ()


class TraceFile:
    """A recording that becomes a file at the end. Raises OSError if that cannot be
    written, now rather than then.
    """

    def __init__(self, path: Path) -> None:
        self.recording: Final = Recording()
        self._path = path
        path.write_bytes(b"")
        log.info("a trace is recorded; it is in %s when the server has ended", path)

    def write(self) -> None:
        """What was recorded; a disk that is full is in the log."""
        try:
            with self._path.open("wb") as file:
                file.writelines(chunks(self.recording.events()))
        except OSError as error:
            log.error("the trace cannot be written: %s", error)
        else:
            log.info("the trace is in %s", self._path)


def numbered(path: Path, worker: int) -> Path:
    """The file of one of several processes: `trace.1.json`."""
    return path.with_suffix(f".{worker}{path.suffix}")
