"""How long something is expected to take, from how long it took: the thread that asks
for it does it itself if it is short.
"""

from __future__ import annotations

from math import inf
from typing import Final

# To hand work to another thread and the result back costs some 30 us on a machine at
# rest, and no thread that asks minds to be kept this long.
SHORT: Final = 200_000
"""Nanoseconds."""


class Pace:
    """A damped measure in nanoseconds. `faster` and `slower` are the weights, from 0 to
    1, of what took less and more than expected; nothing counts for more than `most`.
    Less than `short` is short.

    Thread-safe: of two that measure at a time one may be forgotten.
    """

    __slots__ = ("_faster", "_most", "_short", "_slower", "expected", "is_short")

    def __init__(
        self, *, faster: float, slower: float, most: int, short: int = SHORT
    ) -> None:
        self._faster = faster
        self._slower = slower
        self._most = most
        self._short = short
        self.expected: float = inf
        """inf while nothing is known."""
        self.is_short = False
        """True if less than `short` is expected."""

    def settle(self, expected: float) -> None:
        """Forget what was measured before."""
        self.expected = expected
        self.is_short = expected < self._short

    def measured(self, nanoseconds: int) -> None:
        """It took this long once. The first time says nothing but that: it pays for
        what is put off until then.
        """
        before = self.expected
        if before == inf:
            self.settle(self._most)
            return
        latest = min(nanoseconds, self._most)
        weight = self._faster if latest < before else self._slower
        self.settle(before + (latest - before) * weight)
