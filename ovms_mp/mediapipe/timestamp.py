"""mediapipe.Timestamp: an int64 of microseconds, or one of the special values."""

from __future__ import annotations

from functools import total_ordering
from operator import index
from typing import ClassVar, Final

from ovms_mp.core import timestamp as core

_NAMES: Final = {
    core.UNSET: "UNSET",
    core.UNSTARTED: "UNSTARTED",
    core.PRESTREAM: "PRESTREAM",
    core.MIN: "MIN",
    core.MAX: "MAX",
    core.POSTSTREAM: "POSTSTREAM",
    core.ONE_OVER_POSTSTREAM: "ONEOVERPOSTSTREAM",
    core.DONE: "DONE",
}
_MICROSECONDS: Final = 1_000_000


def value_string(value: int) -> str:
    """How texts show a timestamp."""
    return _NAMES.get(value) or str(value)


@total_ordering
class Timestamp:
    """Compares with ints as well. Raises TypeError for what is no integer, ValueError for
    an int that is a special value, for which mediapipe ends the process, and
    OverflowError for one of more than 64 bits.
    """

    __slots__ = ("value",)

    UNSET: ClassVar[Timestamp]
    UNSTARTED: ClassVar[Timestamp]
    PRESTREAM: ClassVar[Timestamp]
    MIN: ClassVar[Timestamp]
    MAX: ClassVar[Timestamp]
    POSTSTREAM: ClassVar[Timestamp]
    DONE: ClassVar[Timestamp]

    def __init__(self, timestamp: Timestamp | int) -> None:
        self.value: int
        """Microseconds; special values are at the ends of an int64."""
        if isinstance(timestamp, Timestamp):
            self.value = timestamp.value
            return
        value = index(timestamp)
        if not core.UNSET <= value <= core.DONE:
            raise OverflowError(f"{value} is no int64")
        if value in _NAMES:
            raise ValueError(f"{_NAMES[value]} is made by its name only")
        self.value = value

    @classmethod
    def of(cls, value: int) -> Timestamp:
        """A timestamp of any value, special ones too."""
        made = cls(0)
        made.value = value
        return made

    @classmethod
    def from_seconds(cls, seconds: float) -> Timestamp:
        """The nearest microsecond."""
        return cls(round(seconds * _MICROSECONDS))

    def seconds(self) -> float:
        """The same in seconds."""
        return self.value / _MICROSECONDS

    def microseconds(self) -> int:
        """The value."""
        return self.value

    def is_special_value(self) -> bool:
        """True for the values that have names."""
        return self.value in _NAMES

    def is_range_value(self) -> bool:
        """True for MIN to MAX."""
        return core.is_range_value(self.value)

    def is_allowed_in_stream(self) -> bool:
        """True if a packet of a stream may have it."""
        return core.is_allowed_in_stream(self.value)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Timestamp):
            return self.value == other.value
        return self.value == other if isinstance(other, int) else NotImplemented

    def __lt__(self, other: Timestamp | int) -> bool:
        return self.value < (other.value if isinstance(other, Timestamp) else other)

    def __hash__(self) -> int:
        return hash(self.value)

    def __repr__(self) -> str:
        return f"<mediapipe.Timestamp with value: {value_string(self.value)}>"


for _value, _name in _NAMES.items():
    if _value != core.ONE_OVER_POSTSTREAM:
        setattr(Timestamp, _name, Timestamp.of(_value))


def number(timestamp: Timestamp | int) -> int:
    """What packets carry; a bare int may be anything. Raises TypeError for what is no
    integer.
    """
    return timestamp.value if isinstance(timestamp, Timestamp) else index(timestamp)
