"""Tests wait for what they expect, never for a time."""

from __future__ import annotations

import time
from collections.abc import Callable

POLL = 0.005  # seconds


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
