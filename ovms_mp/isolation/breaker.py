"""Whether to ask a worker that keeps ending: a circuit breaker, pure and with the time
given to it.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

DEATHS: Final = 3
"""Ends in a row, without an answer in between, that open the circuit."""

FIRST_PAUSE: Final = 0.1
LONGEST_PAUSE: Final = 10.0

HEALTHY_SECONDS: Final = 10.0
"""A life of that length is forgotten when it ends."""


class Circuit(Enum):
    """CLOSED: ask. OPEN: nobody is there to be asked. HALF_OPEN: ask once and see."""

    CLOSED = auto()
    OPEN = auto()
    HALF_OPEN = auto()


class Event(Enum):
    """What happens to a node's workers."""

    TOO_MANY_DEATHS = auto()
    READY = auto()
    ANSWERED = auto()


TRANSITIONS: Final[Mapping[tuple[Circuit, Event], Circuit]] = {
    (Circuit.CLOSED, Event.TOO_MANY_DEATHS): Circuit.OPEN,
    (Circuit.OPEN, Event.TOO_MANY_DEATHS): Circuit.OPEN,
    (Circuit.HALF_OPEN, Event.TOO_MANY_DEATHS): Circuit.OPEN,
    (Circuit.OPEN, Event.READY): Circuit.HALF_OPEN,
    (Circuit.HALF_OPEN, Event.READY): Circuit.HALF_OPEN,
    (Circuit.CLOSED, Event.READY): Circuit.CLOSED,
    (Circuit.HALF_OPEN, Event.ANSWERED): Circuit.CLOSED,
    (Circuit.OPEN, Event.ANSWERED): Circuit.CLOSED,
    (Circuit.CLOSED, Event.ANSWERED): Circuit.CLOSED,
}


class Breaker:
    """Of one node. Not thread-safe."""

    def __init__(self) -> None:
        self.circuit = Circuit.CLOSED
        self._deaths = 0

    def on(self, event: Event) -> None:
        """Change state by the table."""
        self.circuit = TRANSITIONS[self.circuit, event]

    def died(self) -> None:
        """A worker has ended, or could not be started again."""
        self._deaths += 1
        if self._deaths >= DEATHS:
            self.on(Event.TOO_MANY_DEATHS)

    def answered(self) -> None:
        """A worker has answered."""
        if self._deaths:
            self._deaths = 0
            self.on(Event.ANSWERED)


class Backoff:
    """How long to wait before a worker is started again."""

    def __init__(self) -> None:
        self._short_lives = 0

    def pause(self, life: float, *, has_answered: bool) -> float:
        """Seconds to wait, after a life of so many: none after a first end, or one that
        came after answers, then longer and longer.
        """
        is_well = has_answered or life >= HEALTHY_SECONDS
        self._short_lives = 1 if is_well else self._short_lives + 1
        if self._short_lives == 1:
            return 0.0
        doubled = FIRST_PAUSE * 2.0 ** min(self._short_lives - 2, 16)
        return min(doubled, LONGEST_PAUSE)
