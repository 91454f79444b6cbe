"""Named tuples of which some are made for every message: by their name it takes a call of
a Python function each, and twice as long.
"""

from __future__ import annotations

from typing import Any, Final, Protocol, TypeVar

T = TypeVar("T", bound=tuple[Any, ...])


class _Make(Protocol):
    def __call__(self, kind: type[T], values: tuple[Any, ...], /) -> T: ...


make: Final[_Make] = tuple[Any, ...].__new__
"""`make(Packet, (timestamp, payload))`; all fields, in order, and nothing checks them."""
