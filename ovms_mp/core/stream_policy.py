"""How much of a stream the server holds, and for how long: what a config says of a graph
or a model, and what the first request of a stream may narrow.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

from ovms_mp.core.errors import ServingError, Status

# Of a stream whose config says nothing: a client may have this many of its requests
# kept for later, each with all its tensors.
MAX_QUEUE: Final = 64

# One request in each of a graph's longer nodes, and one ready for the first.
BUSY_WINDOW: Final = 4

PREFIX: Final = "OVMS_MP_"
"""What stands before a key of the config, in capitals, as a request's parameter."""


class Overflow(Enum):
    """What becomes of a request for which there is no room."""

    WAIT = "wait"
    """It stays with the client until there is."""
    REJECT = "reject"
    """It is refused, and the stream goes on."""
    DROP_OLDEST = "drop_oldest"
    """The one that has waited longest is refused in its place: live video."""


@dataclass(frozen=True, slots=True)
class StreamPolicy:
    """Limits of one stream; None is no limit of its own.

    `window` requests are on their way at a time, `queue` more wait before the graph;
    after `idle_timeout_seconds` without a request or an answer, and `max_age_seconds`
    after its start, a stream ends. `max_streams` are open at a time. With `coalesce`
    all outputs of one timestamp are one response.
    """

    window: int | None = None
    queue: int | None = None
    overflow: Overflow = Overflow.WAIT
    idle_timeout_seconds: float | None = None
    max_age_seconds: float | None = None
    max_streams: int | None = None
    coalesce: bool = False

    @property
    def window_size(self) -> int | None:
        """Requests on their way: unless it is said, what keeps a graph busy where the
        others do not wait, and what the graph takes where they do.
        """
        if self.window is not None or self.overflow is Overflow.WAIT:
            return self.window
        return BUSY_WINDOW

    @property
    def queue_length(self) -> int:
        """Requests that wait: unless it is said, none, or one where the oldest goes."""
        if self.queue is not None:
            return self.queue
        return 1 if self.overflow is Overflow.DROP_OLDEST else 0

    def narrowed(self, parameters: Mapping[str, object]) -> StreamPolicy:
        """This policy with what a stream's first request asks for: less of everything,
        and how it wants it. Raises ServingError for more, and for what makes no sense.
        """
        if not any(name.startswith(PREFIX) for name in parameters):
            return self
        wanted: dict[str, object] = {}
        for name, check in _CHECKS.items():
            value = parameters.get(parameter_of(name))
            if value is not None:
                wanted[name] = check(self, name, value)
        return replace(self, **wanted)  # pyright: ignore[reportArgumentType]  # as checked


def parameter_of(key: str) -> str:
    """The request parameter that narrows a key of the policy."""
    return PREFIX + key.upper()


def invalid(key: str, expected: str, actual: object) -> ServingError:
    """A parameter of a first request that cannot be."""
    details = f"{parameter_of(key)}: expected {expected}, got {actual!r}"
    return ServingError(Status.INVALID_STREAM_PARAMETER, details)


def _count(policy: StreamPolicy, key: str, value: object) -> int:
    least = 0 if key == "queue" else 1
    most: int | None = getattr(policy, key)
    if most is None and key == "queue":
        most = MAX_QUEUE
    expected = f"an integer of at least {least}"
    if most is not None:
        expected += f" and at most {most}"
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise invalid(key, expected, value)
    if most is not None and value > most:
        raise invalid(key, expected, value)
    return int(value)


def _seconds(policy: StreamPolicy, key: str, value: object) -> float:
    most: float | None = getattr(policy, key)
    expected = "seconds above 0" + ("" if most is None else f" and at most {most:g}")
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise invalid(key, expected, value)
    if not 0 < value <= (MAX_SECONDS if most is None else most):
        raise invalid(key, expected, value)
    return float(value)


def _overflow(policy: StreamPolicy, key: str, value: object) -> Overflow:
    try:
        return Overflow(value)
    except ValueError:
        expected = "one of " + ", ".join(each.value for each in Overflow)
        raise invalid(key, expected, value) from None


def _flag(policy: StreamPolicy, key: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise invalid(key, "a bool", value)
    return value


# A year: more than any clock here is asked to wait.
MAX_SECONDS: Final = 366 * 86_400.0

_CHECKS: Final = {
    "window": _count,
    "queue": _count,
    "overflow": _overflow,
    "idle_timeout_seconds": _seconds,
    "max_age_seconds": _seconds,
    "coalesce": _flag,
}

NO_LIMITS: Final = StreamPolicy()
"""What a stream has if nobody says anything."""

STREAM_PARAMETERS: Final = frozenset(parameter_of(key) for key in _CHECKS)
"""Parameters of a first request that are none of the graph's."""
