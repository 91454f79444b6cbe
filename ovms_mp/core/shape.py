"""A shape that a model takes says of each dimension which lengths it may have."""

from __future__ import annotations

from typing import Final, NamedTuple, TypeAlias

UNBOUNDED: Final = -1


class Dim(NamedTuple):
    """The lengths a dimension may have; `maximum` is UNBOUNDED if there is no limit."""

    minimum: int
    maximum: int

    @property
    def is_static(self) -> bool:
        """True if only one length is possible."""
        return self.minimum == self.maximum

    def admits(self, length: int) -> bool:
        """True if the dimension may have this length."""
        if self.maximum == UNBOUNDED:
            return length >= self.minimum
        return self.minimum <= length <= self.maximum

    def nearest(self, length: int) -> int:
        """The length closest to this one that the dimension may have."""
        if self.maximum == UNBOUNDED:
            return max(length, self.minimum)
        return min(max(length, self.minimum), self.maximum)

    def __str__(self) -> str:
        """As OVMS's messages print it. It has no text for a minimum alone; this has."""
        if self.is_static:
            return str(self.minimum)
        if self.maximum == UNBOUNDED:
            return f"[{self.minimum}~]" if self.minimum > 1 else "-1"
        return f"[{self.minimum}~{self.maximum}]"


Shape: TypeAlias = tuple[Dim, ...]

ANY_LENGTH: Final = Dim(0, UNBOUNDED)
