"""When a worker that has ended is started again: at once, unless it makes a habit of it."""

from __future__ import annotations

from typing import Final

STEADY_SECONDS: Final = 60.0
"""A worker that has served for so long was well; what ended it is new."""

FIRST_DELAY_SECONDS: Final = 0.5
LONGEST_DELAY_SECONDS: Final = 30.0


class Restarts:
    """Of one worker: how often in a row it has ended."""

    def __init__(self) -> None:
        self._in_a_row = 0

    @property
    def in_a_row(self) -> int:
        """Ends since the worker was last well."""
        return self._in_a_row

    def delay(self, served_seconds: float) -> float:
        """The worker ended after serving for so long (0 if it never did): the seconds
        until it is started again. Nothing the first time, then twice as long each time.
        """
        if served_seconds >= STEADY_SECONDS:
            self._in_a_row = 0
        self._in_a_row += 1
        if self._in_a_row == 1:
            return 0.0
        # Beyond 2^10 it is the longest in any case; 2^1000000 is a number, too.
        doublings = min(self._in_a_row - 2, 10)
        return min(FIRST_DELAY_SECONDS * 2**doublings, LONGEST_DELAY_SECONDS)
