"""What failed is remembered with what it was made of: the same again fails again, unless
its cause is elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

# A failure whose cause is not in the files (memory, a device) may pass by itself.
FIRST_RETRY_SECONDS: Final = 5.0
LAST_RETRY_SECONDS: Final = 300.0


class Key(NamedTuple):
    """A thing that can fail: a version of a model (0: the model as a whole), a graph,
    the calculators' folder, an entry of the configuration.
    """

    kind: str
    name: str
    version: int = 0

    def __str__(self) -> str:
        if self.kind == "config":
            return self.name
        version = f" version {self.version}" if self.kind == "model" else ""
        return f"{self.kind} {self.name}{version if self.version else ''}"


@dataclass(slots=True)
class Fault:
    """Why a thing is not as its files say, and when it is worth another try."""

    made_of: object
    reason: str
    pause: float
    retry_at: float


class Faults:
    """All of them. `clock` tells seconds. Thread-safe for different keys."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._known: dict[Key, Fault] = {}

    @property
    def is_due(self) -> bool:
        """True if something is worth another try."""
        now = self._clock()
        return any(fault.retry_at <= now for fault in tuple(self._known.values()))

    def retry(self) -> None:
        """Everything is worth another try."""
        for fault in self._known.values():
            fault.retry_at = self._clock()

    def all(self) -> Iterator[Key]:
        """What failed."""
        return iter(tuple(self._known))

    def versions(self, model: str) -> set[int]:
        """Those of a model that failed; 0 is the model as a whole."""
        return {key.version for key in self.all() if key[:2] == ("model", model)}

    def reason(self, key: Key, made_of: object) -> str:
        """Why it would only fail again; empty if it is worth a try."""
        fault = self._known.get(key)
        if fault is None or fault.made_of != made_of or fault.retry_at <= self._clock():
            return ""
        return fault.reason

    def add(self, key: Key, made_of: object, reason: str) -> bool:
        """It failed. False if that is nothing new."""
        before = self._known.get(key)
        pause = FIRST_RETRY_SECONDS
        if before is not None and before.made_of == made_of:
            pause = min(2 * before.pause, LAST_RETRY_SECONDS)
        self._known[key] = Fault(made_of, reason, pause, self._clock() + pause)
        return before is None or before.reason != reason

    def discard(self, key: Key) -> bool:
        """It does not fail any more. False if it did not."""
        return self._known.pop(key, None) is not None
