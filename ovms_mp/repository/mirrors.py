"""Models in cloud storage have a folder here: the versions that are served, as they are
there. Whoever reads a folder sees whole versions only, and need not know where they
come from.

A version is downloaded beside the others, is checked, and takes its place by the
replacement of a link. What is wrong there leaves in place what is here.
"""

from __future__ import annotations

import fcntl
import logging
import math
import os
import shutil
import stat
import tempfile
import threading
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple
from uuid import uuid4

from ovms_mp.core.errors import ServingError, Status
from ovms_mp.repository import models
from ovms_mp.repository.storage import connect
from ovms_mp.repository.versions import select

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import TextIO

    from ovms_mp.repository.config import ModelSpec
    from ovms_mp.repository.storage import Remote, Storage
    from ovms_mp.repository.versions import VersionPolicy

log = logging.getLogger(__name__)

DOWNLOADS: Final = 4
"""URLs that are looked at a time."""
LEAST_POLL_SECONDS: Final = 1.0
MOST_POLL_SECONDS: Final = 60.0
"""Between looks at what failed: each failure doubles the time."""

# Its process may be about to take the lock.
_FRESH_SECONDS: Final = 60.0
_PREFIX: Final = "ovms_mp_models_"
_LOCK: Final = ".lock"
_CONTENTS: Final = ".contents"


class State(NamedTuple):
    """What came of the last look; nothing has if `is_coming`."""

    folder: Path
    is_coming: bool
    error: ServingError | None


class Mirror:
    """The folder of one URL. `sync` from one thread at a time, the rest from any."""

    def __init__(self, url: str, folder: Path, policy: VersionPolicy) -> None:
        self.url: Final = url
        self.policy = policy
        self.failures = 0
        """Looks in a row that failed."""
        self._folder = folder
        self._storage: Storage | None = None
        self._held: dict[int, Mapping[str, Remote]] = {}
        self._error: ServingError | None = None
        self._is_coming = True
        self._is_closed = False
        self._lock = threading.Lock()
        (folder / _CONTENTS).mkdir(parents=True)

    @property
    def state(self) -> State:
        """What is here, and why not what is there."""
        return State(self._folder, self._is_coming, self._error)

    def sync(self) -> bool:
        """Make the folder what is there. True if anything is different now, if only the
        reason why it cannot be.
        """
        before = self._error.text if self._error else None
        was_coming, is_new = self._is_coming, False
        try:
            is_new = self._sync()
            self._error = None
            self.failures = 0
        except ServingError as error:
            self._error = error
            self.failures += 1
        except OSError as error:
            details = f"{self.url}: {error.strerror or error}"
            self._error = ServingError(Status.FILE_INVALID, details)
            self.failures += 1
        self._is_coming = False
        after = self._error.text if self._error else None
        return is_new or was_coming or before != after

    def close(self) -> None:
        """Remove the folder, and what is being downloaded when it is there."""
        with self._lock:
            self._is_closed = True
            shutil.rmtree(self._folder, ignore_errors=True)

    def _sync(self) -> bool:
        if self._storage is None:
            self._storage = connect(self.url)
        found = self._versions(self._storage)
        wanted = select(self.policy, found)
        if not wanted:
            raise ServingError(Status.NO_MODEL_VERSION_AVAILABLE, self.url)
        new = [each for each in wanted if self._held.get(each) != found[each]]
        for number in new:
            self._bring(self._storage, number, found[number])
        # What may take the place of one that cannot be loaded stays, if it was here.
        spare = max((n for n in self._held if n < wanted[0]), default=0)
        gone = self._held.keys() - {*wanted, *({spare} & found.keys())}
        for number in gone:
            self._drop(number)
        return bool(new or gone)

    def _versions(self, storage: Storage) -> Mapping[int, Mapping[str, Remote]]:
        found: dict[int, dict[str, Remote]] = defaultdict(dict)
        for name, remote in storage.files().items():
            parts = name.split("/")
            if not all(map(_is_plain, parts)):
                details = f"{self.url}: an object has the name {name[:200]!r}"
                raise ServingError(Status.PATH_INVALID, details)
            version = models.version_of(parts[0])
            if version is not None and len(parts) > 1:
                found[version]["/".join(parts[1:])] = remote
        return found

    def _bring(
        self, storage: Storage, number: int, files: Mapping[str, Remote]
    ) -> None:
        content = self._folder / _CONTENTS / uuid4().hex
        try:
            for name, remote in files.items():
                path = content.joinpath(*name.split("/"))
                path.parent.mkdir(parents=True, exist_ok=True)
                storage.fetch(f"{number}/{name}", remote, path)
            # What was written to while it was read may be half of this, half of that.
            if self._versions(storage).get(number) != files:
                details = f"{self.url}/{number}: changed while it was read"
                raise ServingError(Status.FILE_INVALID, details)
            with self._lock:
                if self._is_closed:
                    raise ServingError(Status.PATH_INVALID, f"{self.url}: not wanted")
                old = self._link(number, content)
                self._held[number] = files
        except BaseException:
            shutil.rmtree(content, ignore_errors=True)
            raise
        if old is not None:
            shutil.rmtree(old, ignore_errors=True)
        log.info("%s/%d: %d files are here", self.url, number, len(files))

    def _link(self, number: int, content: Path) -> Path | None:
        """Have the version's name lead there; returns where it led before."""
        link = self._folder / str(number)
        old = link.resolve() if link.is_symlink() else None
        new = content.with_suffix(".link")
        new.symlink_to(content)
        new.replace(link)
        return old

    def _drop(self, number: int) -> None:
        link = self._folder / str(number)
        content = link.resolve()
        with suppress(FileNotFoundError):
            link.unlink()
        shutil.rmtree(content, ignore_errors=True)
        del self._held[number]


class Mirrors:
    """The mirrors of a configuration, in a folder that is removed in the end. Thread-safe.
    `poll_seconds` is how often storages are looked at, 0 for never.
    """

    def __init__(self, poll_seconds: float) -> None:
        self._poll_seconds = poll_seconds and max(poll_seconds, LEAST_POLL_SECONDS)
        self._root: Path | None = None
        self._lock_file: TextIO | None = None
        self._mirrors: dict[tuple[str, VersionPolicy], Mirror] = {}
        self._lock = threading.Lock()
        self._idle = threading.Condition(self._lock)
        self._pool: ThreadPoolExecutor | None = None
        self._thread: threading.Thread | None = None
        self._ending = threading.Event()
        self._tell: Callable[[], object] | None = None
        self._has_news = False
        self._looking: set[Mirror] = set()
        self._due: dict[Mirror, float] = {}
        self._wake = threading.Event()

    def become(self, specs: Iterable[ModelSpec]) -> None:
        """Have a mirror for each model that has a URL, and no others."""
        wanted = {(spec.url, spec.version_policy) for spec in specs if spec.url}
        with self._lock:
            gone = [self._mirrors.pop(key) for key in self._mirrors.keys() - wanted]
            new = wanted - self._mirrors.keys()
            for key in new:
                folder = self._home() / uuid4().hex
                self._mirrors[key] = Mirror(key[0], folder, key[1])
        for mirror in gone:
            mirror.close()
        if new and self._tell is not None:
            self._begin()

    def of(self, spec: ModelSpec) -> State:
        """The state of a model's mirror, which `become` was told of."""
        with self._lock:
            return self._mirrors[spec.url, spec.version_policy].state

    def sync(self) -> bool:
        """Look at all storages now; returns when what is there is here. False if there
        are none.
        """
        with self._idle:
            mirrors = list(self._mirrors.values())
            # One that is looked at for the first time is looked at now.
            old = [
                each
                for each in mirrors
                if not (each in self._looking and each.state.is_coming)
            ]
            self._idle.wait_for(lambda: self._looking.isdisjoint(mirrors))
            old = [each for each in old if self._take(each)]
            pool = self._crew()
        for _ in pool.map(self._look, old):
            pass
        return bool(mirrors)

    def take_news(self) -> bool:
        """True once after something in a folder, or a reason, has changed."""
        news, self._has_news = self._has_news, False
        return news

    def start(self, tell: Callable[[], object]) -> None:
        """Look now and then, in threads of its own, and `tell` if there is news."""
        self._tell = tell
        with self._lock:
            has_mirrors = bool(self._mirrors)
        if has_mirrors:
            self._begin()

    def close(self) -> None:
        """Look no more, and remove everything."""
        self._ending.set()
        self._wake.set()
        with self._lock:
            mirrors, self._mirrors = list(self._mirrors.values()), {}
            pool, root, lock_file = self._pool, self._root, self._lock_file
        for mirror in mirrors:
            mirror.close()
        if pool is not None:
            pool.shutdown(wait=False, cancel_futures=True)
        if root is not None:
            shutil.rmtree(root, ignore_errors=True)
        if lock_file is not None:
            lock_file.close()

    def _home(self) -> Path:
        if self._root is None:
            _remove_leftovers()
            self._root = Path(tempfile.mkdtemp(prefix=_PREFIX))
            self._lock_file = (self._root / _LOCK).open("w")
            fcntl.flock(self._lock_file, fcntl.LOCK_EX)
        return self._root

    def _crew(self) -> ThreadPoolExecutor:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(DOWNLOADS, "download")
        return self._pool

    def _begin(self) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="mirrors", daemon=True
                )
                self._thread.start()
        self._wake.set()

    def _take(self, mirror: Mirror) -> bool:
        if mirror in self._looking:
            return False
        self._looking.add(mirror)
        return True

    def _look(self, mirror: Mirror) -> None:
        is_news = False
        try:
            is_news = mirror.sync()
        except Exception:
            log.exception("%s cannot be looked at", mirror.url)
        finally:
            with self._idle:
                self._looking.discard(mirror)
                self._idle.notify_all()
                self._due[mirror] = time.monotonic() + self._pause(mirror)
            self._wake.set()
        if is_news and not self._ending.is_set():
            self._has_news = True
            if self._tell is not None:
                self._tell()

    def _pause(self, mirror: Mirror) -> float:
        """Seconds until it is looked at again."""
        if not self._poll_seconds:
            return math.inf
        failures = min(mirror.failures, 10)
        most = max(self._poll_seconds, MOST_POLL_SECONDS)
        return min(most, self._poll_seconds * 2.0**failures)

    def _run(self) -> None:
        while not self._ending.is_set():
            self._wake.clear()
            now = time.monotonic()
            with self._lock:
                mirrors = list(self._mirrors.values())
                self._due = {each: self._due.get(each, now) for each in mirrors}
                due = [each for each in mirrors if self._due[each] <= now]
                due = [each for each in due if self._take(each)]
                pool = self._crew()
                idle = [
                    when
                    for each, when in self._due.items()
                    if each not in self._looking
                ]
            for mirror in due:
                with suppress(RuntimeError):  # it is over
                    pool.submit(self._look, mirror)
            wait = min(idle, default=math.inf) - now
            self._wake.wait(None if wait == math.inf else max(wait, 0.0))


def _is_plain(part: str) -> bool:
    """True for what can be the name of a file in a folder, and nothing else."""
    return part not in {"", ".", ".."} and not any(each in part for each in "\\\0/")


def _remove_leftovers() -> None:
    """Folders of processes that were killed: nobody holds their locks."""
    for root in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        try:
            found = root.lstat()
            is_ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()
            if not is_ours or time.time() - found.st_mtime < _FRESH_SECONDS:
                continue
            with (root / _LOCK).open("r+") as lock_file:
                fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(root, ignore_errors=True)
        except OSError:
            continue
