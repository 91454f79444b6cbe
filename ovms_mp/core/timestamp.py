"""Time in a graph is an int64, by convention in microseconds; the special values and
their arithmetic are MediaPipe's (framework/timestamp.h).

UNSET < UNSTARTED < PRESTREAM < MIN .. MAX < POSTSTREAM < ONE_OVER_POSTSTREAM < DONE.
"""

from __future__ import annotations

from typing import Final, TypeAlias

Timestamp: TypeAlias = int

UNSET: Final[Timestamp] = -(2**63)
UNSTARTED: Final[Timestamp] = UNSET + 1
PRESTREAM: Final[Timestamp] = UNSET + 2
MIN: Final[Timestamp] = UNSET + 3
MAX: Final[Timestamp] = 2**63 - 4
POSTSTREAM: Final[Timestamp] = MAX + 1
ONE_OVER_POSTSTREAM: Final[Timestamp] = MAX + 2
DONE: Final[Timestamp] = MAX + 3

_NAMES: Final[dict[Timestamp, str]] = {
    UNSET: "Timestamp::Unset()",
    UNSTARTED: "Timestamp::Unstarted()",
    PRESTREAM: "Timestamp::PreStream()",
    MIN: "Timestamp::Min()",
    MAX: "Timestamp::Max()",
    POSTSTREAM: "Timestamp::PostStream()",
    ONE_OVER_POSTSTREAM: "Timestamp::OneOverPostStream()",
    DONE: "Timestamp::Done()",
}


def is_range_value(timestamp: Timestamp) -> bool:
    """True for MIN .. MAX: the timestamps of ordinary packets."""
    return MIN <= timestamp <= MAX


def is_allowed_in_stream(timestamp: Timestamp) -> bool:
    """True if a packet may carry this timestamp."""
    return PRESTREAM <= timestamp <= POSTSTREAM


def next_allowed(timestamp: Timestamp) -> Timestamp:
    """The earliest timestamp that may follow a packet at `timestamp` on a stream.

    A packet at PRESTREAM is the only one of its stream, as is one at POSTSTREAM the
    last, so what follows both is ONE_OVER_POSTSTREAM; what follows values before them
    is MIN.
    """
    if timestamp >= MAX or timestamp == PRESTREAM:
        return ONE_OVER_POSTSTREAM
    return max(timestamp + 1, MIN)


def previous_allowed(timestamp: Timestamp) -> Timestamp:
    """The latest timestamp a packet may have had before `timestamp`; UNSTARTED if none.

    No packet can come before one at POSTSTREAM, which is the only one of its stream.
    """
    if timestamp <= MIN or timestamp == POSTSTREAM:
        return UNSTARTED
    return timestamp - 1 if timestamp <= MAX else MAX


def describe(timestamp: Timestamp) -> str:
    """The text that MediaPipe's messages use: a number, or a special value's name."""
    return _NAMES.get(timestamp) or str(timestamp)
