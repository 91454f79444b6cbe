"""Tests wait for what they expect, never for a time."""

from __future__ import annotations

import time
from collections.abc import Callable

POLL = 0.005  # seconds
ROUNDS = 3


def until(law: Callable[[], object], within: float = 10.0) -> bool:
    """Whether `law` becomes true in that many seconds. It is looked at once more at
    the end, so that a test that was not given the processor does not fail for that.
    """
    end = time.monotonic() + within
    while time.monotonic() < end:
        if law():
            return True
        time.sleep(POLL)
    return bool(law())


def least(measure: Callable[[], float], below: float, rounds: int = ROUNDS) -> float:
    """The least that `measure` tells. It is asked once more while that is not below the
    bound: what holds up a machine now and then makes no server slow.
    """
    found = measure()
    for _ in range(rounds - 1):
        if found < below:
            break
        found = min(found, measure())
    return found
