"""A result that comes later is settled once, and whoever waits is told once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from ovms_mp.core.threads import catch_up

T = TypeVar("T")
U = TypeVar("U")


class Cancelled(Exception):
    """The consumer gave the result up before it came."""


class Pending(Generic[T]):
    """One result, settled from any thread: by the producer with `complete` or `fail`,
    or by the consumer with `cancel`. The first of the three wins, the others do nothing
    and return False.

    `on_cancel` is the producer's: called once, in the canceller's thread, when the
    consumer gives up. A watcher added with `on_settled` is called in the thread that
    settles, or at once if that has happened; watchers must be short and must not raise.
    """

    __slots__ = ("_error", "_lock", "_on_cancel", "_settled", "_value", "_watchers")

    def __init__(self, on_cancel: Callable[[], object] | None = None) -> None:
        self._lock = threading.Lock()
        self._on_cancel = on_cancel
        self._settled = False
        self._value: T | None = None
        self._error: BaseException | None = None
        self._watchers: list[Callable[[Pending[T]], object]] = []

    @staticmethod
    def completed(value: U) -> Pending[U]:
        """One that has its value from the start."""
        made: Pending[U] = Pending()
        made._value, made._settled = value, True
        return made

    @property
    def is_settled(self) -> bool:
        """True once there is a value, an error or a cancellation."""
        return self._settled

    @property
    def error(self) -> BaseException | None:
        """Why there is no value: the producer's error, or `Cancelled`."""
        return self._error

    def value(self) -> T:
        """The result of a settled Pending; raises its error if it has one."""
        if not self._settled:
            msg = "the result is not there yet"
            raise RuntimeError(msg)
        if self._error is not None:
            raise self._error
        return self._value  # pyright: ignore[reportReturnType]  # settled without error

    def complete(self, value: T) -> bool:
        """Settle with a value."""
        return self._settle(value, None)

    def fail(self, error: BaseException) -> bool:
        """Settle with an error."""
        return self._settle(None, error)

    def cancel(self) -> bool:
        """Settle as `Cancelled` and tell the producer."""
        tell = self._on_cancel
        if not self._settle(None, Cancelled()):
            return False
        if tell is not None:
            tell()
        return True

    def on_settled(self, watcher: Callable[[Pending[T]], object]) -> None:
        """Call `watcher(self)` once the result is there."""
        with self._lock:
            if not self._settled:
                self._watchers.append(watcher)
                return
        watcher(self)

    def result(self, timeout: float | None = None) -> T:
        """Wait for the value. For tests and in-process callers: it blocks the thread.

        Raises TimeoutError when `timeout` seconds pass first.
        """
        there = threading.Event()
        self.on_settled(lambda _: there.set())
        catch_up()
        if not there.wait(timeout):
            raise TimeoutError
        return self.value()

    def _settle(self, value: T | None, error: BaseException | None) -> bool:
        with self._lock:
            if self._settled:
                return False
            self._value, self._error, self._settled = value, error, True
            watchers, self._watchers, self._on_cancel = self._watchers, [], None
        for watcher in watchers:
            watcher(self)
        return True
