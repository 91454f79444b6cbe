"""The kernel tells that something happened in a folder; what it was is for whoever looks.

What it does not tell, because a file is mounted by itself, a file system is remote or
there are too many folders, is seen by looking now and then.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple

from watchdog.events import (
    DirCreatedEvent,
    DirDeletedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer

from ovms_mp.repository.files import is_folder, stamp

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from watchdog.observers.api import ObservedWatch

log = logging.getLogger(__name__)

# Each has a thread.
MAX_FOLDERS: Final = 100

# Not that files are opened and read: we do that ourselves.
_EVENTS: Final[list[type[FileSystemEvent]]] = [
    DirCreatedEvent,
    DirDeletedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileModifiedEvent,
    FileMovedEvent,
]


class _Folder(NamedTuple):
    """A folder, which another one of its name is not; those further up come first."""

    depth: int
    path: str
    device: int
    inode: int


class Watch:
    """Calls `tell` after something happened in one of the folders, in a thread of its
    own. Other methods are for one thread at a time.
    """

    def __init__(self, tell: Callable[[], object]) -> None:
        self._observer = Observer()
        self._handler = _Handler(tell)
        self._watched: dict[_Folder, ObservedWatch] = {}
        self._observer.start()

    def become(self, paths: Iterable[Path]) -> None:
        """Watch the folders that these are or lie in, and no others."""
        folders = {path if is_folder(path) else path.parent for path in paths}
        wanted = {found for folder in folders if (found := _folder(folder))}
        for gone in self._watched.keys() - wanted:
            with suppress(KeyError, OSError):
                self._observer.unschedule(self._watched.pop(gone))
        for new in sorted(wanted - self._watched.keys()):
            if len(self._watched) == MAX_FOLDERS:
                break
            try:
                self._watched[new] = self._observer.schedule(
                    self._handler, new.path, event_filter=_EVENTS
                )
            except OSError as error:
                log.debug("%s cannot be watched: %s", new.path, error)

    def close(self) -> None:
        """End the threads."""
        self._observer.stop()
        self._observer.join()


class _Handler(FileSystemEventHandler):
    def __init__(self, tell: Callable[[], object]) -> None:
        self._tell = tell

    def on_any_event(self, event: FileSystemEvent) -> None:
        self._tell()


def _folder(path: Path) -> _Folder | None:
    """None if there is nothing to watch. A link is not followed by the watch itself."""
    there = stamp(path)
    if there is None or not is_folder(path):
        return None
    real = path.resolve()
    return _Folder(len(real.parts), str(real), there.device, there.inode)
