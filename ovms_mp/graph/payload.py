"""What a port declares meets what a packet holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ovms_mp.graph.definition import StreamDefinition


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


def problem_on(stream: StreamDefinition, payload: object) -> str | None:
    """Why not all consumers of a stream take the payload; MediaPipe's words."""
    for expected in stream.expected:
        if not fits(expected, payload):
            return (
                "Packet type mismatch on a calculator receiving from stream "
                f'"{stream.name}": {mismatch(expected, payload)}'
            )
    return None


def problem_with(
    required: Mapping[str, Any], optional: Mapping[str, Any], given: Mapping[str, Any]
) -> str | None:
    """What is wrong with the side packets that a run is given; MediaPipe's words."""
    for name in required:
        if name not in given:
            return f'Side packet "{name}" is required but was not provided.'
    for name, kind in (*required.items(), *optional.items()):
        if name in given and not fits(kind, given[name]):
            why = mismatch(kind, given[name])
            return f'Side packet "{name}" failed validation: {why}'
    return None
