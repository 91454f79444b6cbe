"""When to look at what is mounted, and when to believe what one sees.

A file that somebody is still writing looks different at each look: what it is part of is
left alone until it looks the same twice. Who asks for a reload says that all is there.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Final

from ovms_mp.repository.files import has_moved
from ovms_mp.servable.status import Report

if TYPE_CHECKING:
    from collections.abc import Hashable

    from ovms_mp.repository.snapshot import Part, Scanner, Snapshot
    from ovms_mp.repository.watching import Watch
    from ovms_mp.servable.reconciler import Reconciler

log = logging.getLogger(__name__)

# A file that is being copied grows at least this often, as a rule; where it does not,
# half of it is seen, cannot be loaded, and the other half is another change.
SETTLE_SECONDS: Final = 0.5


class Reloader:
    """Looks every `poll_seconds`, and when the kernel tells that something happened; 0
    is never. `load` first; then `start`, once. `reload` and `request` from any thread.
    """

    def __init__(
        self,
        scanner: Scanner,
        reconciler: Reconciler,
        *,
        poll_seconds: float,
        settle_seconds: float = SETTLE_SECONDS,
    ) -> None:
        self._scanner = scanner
        self._reconciler = reconciler
        self._poll_seconds = poll_seconds
        self._settle_seconds = settle_seconds
        self._lock = threading.Lock()
        self._seen: Snapshot | None = None
        self._is_moving = False
        self._happened = threading.Event()
        self._urgent = threading.Event()
        self._is_requested = False
        self._is_stopping = False
        self._thread: threading.Thread | None = None

    def announce(self) -> None:
        """Look for the first time, and make names known. Raises ServingError when there
        is no configuration to be read.
        """
        self._seen = self._scanner.scan()
        self._reconciler.announce(self._seen)

    def load(self) -> Report:
        """Load what was seen at first, and what is in cloud storage."""
        assert self._seen is not None
        if (mirrors := self._scanner.mirrors) is not None and mirrors.sync():
            self._seen = self._scanner.scan()
        return self._reconciler.apply(self._seen)

    def reload(self) -> Report:
        """Look and apply what is there, now; returns when it is done."""
        with self._lock:
            self._seen = self._scanner.scan()
            if (mirrors := self._scanner.mirrors) is not None and mirrors.sync():
                self._seen = self._scanner.scan()
            self._is_moving = False
            report = self._reconciler.apply(self._seen, is_asked=True)
        self._happened.set()  # there may be other folders to watch
        return report

    def request(self) -> None:
        """Have that done, and return at once. For a signal."""
        self._is_requested = True
        self._wake()

    def start(self) -> None:
        """Look from now on."""
        if self._scanner.mirrors is not None:
            self._scanner.mirrors.start(self._happened.set)
        self._thread = threading.Thread(target=self._run, name="reload", daemon=True)
        self._thread.start()

    def stop(self, patience: float) -> bool:
        """Look no more. False if something is being loaded still after so many seconds."""
        self._is_stopping = True
        self._wake()
        if self._thread is not None:
            self._thread.join(patience)
        self._reconciler.close()
        if self._scanner.mirrors is not None:
            self._scanner.mirrors.close()
        return self._thread is None or not self._thread.is_alive()

    def _wake(self) -> None:
        self._urgent.set()
        self._happened.set()

    def _run(self) -> None:
        # Here and not before: a twelfth of a start, which who waits for it has not.
        watch = self._watch()
        try:
            self._look_on(watch)
        finally:
            if watch is not None:
                watch.close()

    def _watch(self) -> Watch | None:
        if not self._poll_seconds:
            return None
        # Its threads are not for those who never look.
        from ovms_mp.repository.watching import Watch

        try:
            return Watch(self._happened.set)
        except OSError as error:  # no more of them for this user
            log.warning("files are looked at, not watched: %s", error)
            return None

    def _look_on(self, watch: Watch | None) -> None:
        self._follow(watch)
        while not self._is_stopping:
            if self._is_moving:
                self._urgent.wait(self._settle_seconds)
            else:
                self._happened.wait(self._poll_seconds or None)
            self._happened.clear()
            self._urgent.clear()
            if self._is_stopping:
                return
            try:
                if self._is_requested:
                    self._is_requested = False
                    self.reload()
                else:
                    self._look()
                self._follow(watch)
            except Exception:
                log.exception("looking at what is mounted failed")
                self._urgent.wait(self._settle_seconds)

    def _look(self) -> None:
        with self._lock:
            before = self._seen
            assert before is not None
            mirrors = self._scanner.mirrors
            has_news = mirrors is not None and mirrors.take_news()
            has_changed = self._is_moving or has_news or has_moved(before.looked_at)
            if not has_changed and not self._reconciler.is_due:
                return
            seen = self._seen = self._scanner.scan()
            self._is_moving = any(
                before.looked_at.get(each) != seen.looked_at[each]
                for each in seen.config.documents
            )
            if self._is_moving:
                return
            settled = {_look_of(part) for part in before.parts()}
            self._is_moving = any(
                _look_of(each) not in settled for each in seen.parts()
            )
            self._reconciler.apply(seen, lambda part: _look_of(part) not in settled)

    def _follow(self, watch: Watch | None) -> None:
        if watch is not None and self._seen is not None:
            watch.become(self._seen.looked_at)


def _look_of(part: Part) -> Hashable:
    return part.path, tuple(part.files.items())
