"""Who is refused for want of room, and asks again at once, takes the processor from who is
served. So there is a pace of refusals: some are told at once, those of a crowd each in its
turn. A client that waits for his answer slows down with it, whatever he does about it.
"""

from __future__ import annotations

from math import inf
from typing import Final

RATE: Final = 100
"""Refusals in a second, where there are many."""
BURST: Final = 20
"""Refusals that are told at once, when there were none before."""
LONGEST: Final = 0.25
"""Seconds, at most, until a client is told."""


class Pace:
    """When refusals are told: a pure function of when they come."""

    def __init__(self) -> None:
        self._latest = -inf

    def due(self, now: float) -> float:
        """When to tell who is refused now, on the same clock: not before who was refused
        before him, nor later than in LONGEST.
        """
        start = max(self._latest, now - BURST / RATE)
        self._latest = min(start + 1 / RATE, now + LONGEST)
        return self._latest
