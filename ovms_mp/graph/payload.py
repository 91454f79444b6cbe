"""What a port declares meets what a packet holds."""

from __future__ import annotations

from typing import Any


def fits(expected: Any, payload: object) -> bool:
    """True if a port that declares `expected` takes the payload. As for type checkers,
    an int is a float; a protocol that cannot be checked takes everything.
    """
    if expected is Any or getattr(expected, "_is_protocol", False):
        return True
    if expected is float and type(payload) is int:
        return True
    return isinstance(payload, expected)


def mismatch(expected: Any, payload: object) -> str:
    """The words for a payload that does not fit; MediaPipe's."""
    return (
        f'The Packet stores "{type(payload).__name__}", but "{expected.__name__}" was '
        "requested."
    )
