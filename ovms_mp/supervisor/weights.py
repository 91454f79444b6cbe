"""Weights are in memory once, whatever the number of workers, and nobody can change them:
a file that a worker asks for is copied into memory that the kernel seals, which workers
map by the supervisor's descriptor.

The memory is nobody's file. It goes when the last who maps it does, or has died.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import time
from collections import Counter
from collections.abc import Container
from pathlib import Path
from typing import Final, NamedTuple

from ovms_mp.repository.files import Stamp, stamp

ATTEMPTS: Final = 3
"""To copy a file that somebody writes to meanwhile."""

TICK_NS: Final = 50_000_000
"""The clock by which a file system tells when a file was changed ticks more often."""

_SEALS: Final = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK
_PIECE: Final = 1 << 30


class FileChanges(OSError):
    """Somebody writes to the file."""


class _Copy(NamedTuple):
    descriptor: int
    file: str


class Weights:
    """The copies. In one event loop."""

    def __init__(self) -> None:
        self._copies: dict[Stamp, _Copy] = {}
        self._copying = asyncio.Lock()

    async def lend(self, path: Path, borrowed: Counter[str]) -> str:
        """A file that has what is in `path` now, for processes of this user to open, as
        long as `keep` is told of it. It is counted as `borrowed` before anybody could
        take it for unused. Raises OSError.
        """
        async with self._copying:
            copy = self._copies.get(_seen(path))
            if copy is None:
                seen, descriptor = await asyncio.to_thread(sealed, path)
                copy = _Copy(descriptor, f"/proc/{os.getpid()}/fd/{descriptor}")
                self._copies[seen] = copy
            borrowed[copy.file] += 1
            return copy.file

    def keep(self, files: Container[str]) -> None:
        """Let go of every copy but these; who maps one still has it."""
        for seen, copy in tuple(self._copies.items()):
            if copy.file not in files:
                del self._copies[seen]
                os.close(copy.descriptor)


def sealed(path: Path) -> tuple[Stamp, int]:
    """What was in `path`, told by its stamp, in memory that nobody can write to any more;
    its descriptor is the caller's. Blocks. Raises OSError.
    """
    for _ in range(ATTEMPTS):
        before, now = _seen(path), time.time_ns()
        if 0 <= now - before.changed < TICK_NS:  # it may change, and not look like it
            time.sleep(TICK_NS / 1e9)
            continue
        copy = os.memfd_create("weights", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            with path.open("rb") as source:
                while os.sendfile(copy, source.fileno(), None, _PIECE):
                    pass
            if before == _seen(path) and os.fstat(copy).st_size == before.size:
                fcntl.fcntl(copy, fcntl.F_ADD_SEALS, _SEALS | fcntl.F_SEAL_SEAL)
                return before, copy
        except BaseException:
            os.close(copy)
            raise
        os.close(copy)  # of no use
    raise FileChanges(None, "somebody writes to it")


def _seen(path: Path) -> Stamp:
    found = stamp(path)
    if found is None:
        raise FileNotFoundError(None, "no such file")
    return found
