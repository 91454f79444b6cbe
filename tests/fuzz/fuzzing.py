"""What fuzzers share: a target is a strategy and a law for whatever comes of it, tried as
often as one likes; a seed makes it the same each time.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Any, Final

import hypothesis
from hypothesis import strategies as st

# Whether examples are small, or judged in no time.
_NO_MATTER: Final = (
    hypothesis.HealthCheck.too_slow,
    hypothesis.HealthCheck.data_too_large,
    hypothesis.HealthCheck.large_base_example,
    hypothesis.HealthCheck.filter_too_much,
)

BATCH: Final = 100
"""Examples of a seed; a night has many seeds."""


def fuzz(
    strategy: st.SearchStrategy[Any],
    judge: Callable[[Any], str],
    examples: int,
    until: float = float("inf"),
) -> Counter[str]:
    """Judge so many examples, fewer if the time, by time.monotonic(), is over, but one in
    any case. Judges raise AssertionError, or name what came of the example, which is
    counted.
    """
    outcomes: Counter[str] = Counter()
    seed = 0
    while (missing := examples - outcomes.total()) > 0 and (
        time.monotonic() < until or not outcomes
    ):

        @hypothesis.seed(seed)
        @hypothesis.settings(
            max_examples=min(missing, BATCH),
            deadline=None,
            database=None,
            suppress_health_check=_NO_MATTER,
        )
        @hypothesis.given(strategy)
        def attempt(example: Any) -> None:
            # What is left of the batch when the time is over is made, and not judged.
            if time.monotonic() < until or not outcomes:
                outcomes[judge(example)] += 1

        before = outcomes.total()
        attempt()
        assert outcomes.total() > before
        seed += 1
    return outcomes


def a_line(text: str, longest: int = 4096) -> bool:
    """Whether a client may be told this: one line, not long, of no file of ours."""
    is_plain = all(each.isprintable() for each in text)
    return is_plain and len(text) <= longest and "Traceback" not in text
