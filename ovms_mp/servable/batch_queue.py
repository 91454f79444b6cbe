"""Who waits to be inferred, and who may go together: as many rows as fit, of one shape but
for their number, in the order in which they came.

Knows no thread, clock or model; the batcher's lock is around everything here.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Generic, Protocol, TypeAlias, TypeVar

if TYPE_CHECKING:
    from collections.abc import Hashable

Key: TypeAlias = "Hashable | None"


class Waiting(Protocol):
    """Somebody who waits."""

    @property
    def rows(self) -> int:
        """How many of a batch are his."""
        ...

    @property
    def key(self) -> Key:
        """He may go with those of the same key; None: with nobody."""
        ...

    @property
    def asked(self) -> float:
        """When he came, in seconds."""
        ...


W = TypeVar("W", bound=Waiting)


class BatchQueue(Generic[W]):
    """A batch has up to `max_rows`, but for one that has more by himself. One that is not
    full waits for others until `delay` seconds after its first member came.
    """

    def __init__(self, max_rows: int, delay: float) -> None:
        self.max_rows = max_rows
        self._delay = delay
        self._alone: OrderedDict[W, None] = OrderedDict()
        self._lines: dict[Hashable, OrderedDict[W, None]] = {}
        self._length = 0

    def __len__(self) -> int:
        """How many wait."""
        return self._length

    def add(self, waiting: W) -> None:
        """He waits from now on."""
        self._length += 1
        key = waiting.key
        line = self._alone
        if key is not None:
            line = self._lines.setdefault(key, OrderedDict())
        line[waiting] = None

    def remove(self, waiting: W) -> None:
        """He waits no more, if he did."""
        key = waiting.key
        line = self._alone if key is None else self._lines.get(key)
        if line is not None and waiting in line:
            self._leave(line, waiting)

    def take(self, now: float) -> list[W]:
        """Those who are to go together now; none if all have time."""
        firsts = [
            first
            for line in self._lines.values()
            if (first := next(iter(line))).asked + self._delay <= now
            or self._is_full(line)
        ]
        if self._alone:
            firsts.append(next(iter(self._alone)))
        if not firsts:
            return []
        first = min(firsts, key=lambda each: each.asked)
        if first.key is None:
            self._leave(self._alone, first)
            return [first]
        line = self._lines[first.key]
        taken: list[W] = []
        rows = 0
        for each in line:
            rows += each.rows
            if taken and rows > self.max_rows:
                break
            taken.append(each)
        for each in taken:
            self._leave(line, each)
        return taken

    def take_all(self) -> list[W]:
        """Everybody, without regard to batches."""
        lines = (self._alone, *self._lines.values())
        everybody = [each for line in lines for each in line]
        self._alone.clear()
        self._lines.clear()
        self._length = 0
        return everybody

    def due(self) -> float | None:
        """When the first of those who wait for others has waited for long enough."""
        firsts = (next(iter(line)).asked for line in self._lines.values())
        first = min(firsts, default=None)
        return None if first is None else first + self._delay

    def _leave(self, line: OrderedDict[W, None], waiting: W) -> None:
        del line[waiting]
        self._length -= 1
        if not line and waiting.key is not None:
            del self._lines[waiting.key]

    def _is_full(self, line: OrderedDict[W, None]) -> bool:
        rows = 0
        for each in line:
            rows += each.rows
            if rows >= self.max_rows:
                return True
        return False
