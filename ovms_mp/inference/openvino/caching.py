"""One process at a time looks for a compiled model in a cache, or leaves one there.

OpenVINO writes the file in place, and maps it when it reads: who looked while another
process wrote would run on half a model, or end with a signal.
"""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

log = logging.getLogger(__name__)


@contextmanager
def alone_in(folder: Path | None) -> Generator[None]:
    """Within, no other thread or process is, of those that ask; blocks until then. A
    folder that cannot be locked is used all the same, with a word in the log.
    """
    lock = None if folder is None else _lock(folder)
    try:
        yield
    finally:
        if lock is not None:
            os.close(lock)


def _lock(folder: Path) -> int | None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return None  # OpenVINO has a word for it
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
    except OSError as error:
        os.close(lock)
        log.warning("the cache of models cannot be locked: %s", error.strerror)
        return None
    return lock
