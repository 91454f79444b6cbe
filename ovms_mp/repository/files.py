"""Files are told apart by what `stat` says of them, and judged by what they contain.

Symbolic links are followed, so that a link which points elsewhere is another file.
"""

from __future__ import annotations

import hashlib
import os
from stat import S_ISREG
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

# A model has a few files, a TensorFlow SavedModel or a folder of handlers some dozens.
# What is beyond these is not looked at: somebody's data, by mistake.
MAX_ENTRIES: Final = 20_000
MAX_DEPTH: Final = 8

_HIDDEN: Final = (".", "__pycache__")


class Stamp(NamedTuple):
    """What differs when a file was written to, replaced, or is another one."""

    device: int
    inode: int
    size: int
    modified: int
    changed: int


def stamp(path: Path) -> Stamp | None:
    """The stamp of a file or directory, None if there is nothing to see."""
    try:
        stat = path.stat()
    except (OSError, ValueError):  # ValueError: a name that no file can have
        return None
    return Stamp(
        stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns
    )


Files: TypeAlias = "Mapping[Path, Stamp | None]"
"""Paths and what was there when somebody looked."""


def stamps(paths: Iterable[Path]) -> dict[Path, Stamp | None]:
    """What is there now."""
    return {path: stamp(path) for path in paths}


def has_moved(files: Files) -> bool:
    """True if any of them is another one than it was."""
    return any(stamp(path) != before for path, before in files.items())


class Tree(NamedTuple):
    """The files below a folder, and the folders that they are in."""

    files: tuple[Path, ...]
    folders: tuple[Path, ...]


def tree(folder: Path, wanted: Callable[[str], bool] = lambda name: True) -> Tree:
    """What is below `folder`, sorted, but for hidden files and folders and Python's own
    caches; `wanted` judges files by their names.
    """
    files: list[Path] = []
    folders: list[Path] = []
    level = [folder]
    seen = 0
    for _ in range(MAX_DEPTH):
        below: list[Path] = []
        for here in level:
            folders.append(here)
            entries = _entries(here)
            seen += len(entries)
            if seen > MAX_ENTRIES:
                return Tree(tuple(sorted(files)), tuple(folders))
            for entry in entries:
                if is_folder(here / entry.name):
                    below.append(here / entry.name)
                elif wanted(entry.name):
                    files.append(here / entry.name)
        level = below
    return Tree(tuple(sorted(files)), tuple(folders))


def is_folder(path: Path) -> bool:
    """True for a folder that we may see, by whatever name."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return [each for each in entries if not each.name.startswith(_HIDDEN)]
    except (OSError, ValueError):
        return []


class Digests:
    """Hashes of files' contents, each made once for a stamp. For one thread at a time."""

    def __init__(self) -> None:
        self._known: dict[Path, tuple[Stamp, bytes]] = {}

    def of(self, path: Path, stamp: Stamp | None) -> bytes:
        """The hash; empty if there is no file, but a pipe, say, on which who reads waits
        for who writes.
        """
        if stamp is None:
            return b""
        known = self._known.get(path)
        if known is not None and known[0] == stamp:
            return known[1]
        try:
            with open(path, "rb", opener=_at_once) as file:
                if not S_ISREG(os.fstat(file.fileno()).st_mode):
                    return b""
                digest = hashlib.file_digest(file, _hash).digest()
        except OSError:
            return b""
        self._known[path] = stamp, digest
        return digest

    def forget_all_but(self, paths: Iterable[Path]) -> None:
        """Files that nobody has anything to do with any more."""
        kept = set(paths)
        self._known = {path: each for path, each in self._known.items() if path in kept}


def _at_once(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


def _hash() -> hashlib.blake2b:
    return hashlib.blake2b(digest_size=16)
