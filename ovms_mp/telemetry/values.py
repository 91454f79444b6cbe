"""Counted values. To count takes less than a microsecond, from any thread: it happens
several times for each request. prometheus_client takes ten for a histogram.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from itertools import accumulate
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias, TypeVar

from ovms_mp.telemetry.families import BUCKETS, Family
from ovms_mp.telemetry.page import Sample, Section

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

MICROSECONDS: Final = 1e6
"""In a second; all times on the page are in them."""

Labels: TypeAlias = tuple[str, ...]


class Samples(Protocol):
    """What counts for one set of label values."""

    def samples(self) -> Iterable[tuple[str, str | None, float]]:
        """Suffix of the name, value of the label `le` if it has one, and the value."""
        ...


class Counter:
    """A number that goes up."""

    __slots__ = ("_lock", "_value")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._value = 0

    def inc(self, amount: int = 1) -> None:
        """Add `amount`."""
        with self._lock:
            self._value += amount

    def samples(self) -> Iterable[tuple[str, str | None, float]]:
        """See Samples."""
        return (("", None, self._value),)


class Gauge(Counter):
    """A number that goes up and down, or that somebody else knows."""

    __slots__ = ("_source",)

    def __init__(self) -> None:
        super().__init__()
        self._source: Callable[[], int] | None = None

    def dec(self) -> None:
        """Take one away."""
        self.inc(-1)

    def set(self, value: int) -> None:
        """Be `value`."""
        with self._lock:
            self._value = value

    def follow(self, source: Callable[[], int]) -> None:
        """Ask `source` whenever the page is made."""
        self._source = source

    def samples(self) -> Iterable[tuple[str, str | None, float]]:
        """See Samples."""
        value = self._value if self._source is None else self._source()
        return (("", None, value),)


class Histogram:
    """How often a value was up to each of `bounds`, and their sum."""

    __slots__ = ("_bounds", "_counts", "_lock", "_sum")

    def __init__(self, bounds: tuple[float, ...] = BUCKETS) -> None:
        self._lock = threading.Lock()
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        """Take notice of `value`."""
        with self._lock:
            self._counts[bisect_left(self._bounds, value)] += 1
            self._sum += value

    def samples(self) -> Iterator[tuple[str, str | None, float]]:
        """See Samples."""
        with self._lock:
            counts, total = tuple(accumulate(self._counts)), self._sum
        for bound, count in zip(self._bounds, counts, strict=False):
            yield "_bucket", str(bound), count
        yield "_bucket", "+Inf", counts[-1]
        yield "_count", None, counts[-1]
        yield "_sum", None, total


V = TypeVar("V", Counter, Gauge, Histogram)


class Values(dict[Labels, V]):
    """A family: what counts, by label values. Each is made when it is first asked for,
    and stays. One that is not `is_shown` counts, and shows nothing.
    """

    def __init__(
        self, family: Family, make: Callable[[], V], *, is_shown: bool
    ) -> None:
        super().__init__()
        self._family = family
        self._make = make
        self._is_shown = is_shown

    def __missing__(self, labels: Labels) -> V:
        # Of two threads that come here the second gets what the first has made.
        return self.setdefault(labels, self._make())

    def section(self) -> Section | None:
        """Of the page; nothing before there is something that counts (as OVMS)."""
        if not self or not self._is_shown:
            return None
        family = self._family
        samples: dict[Sample, float] = {}
        for values, counted in tuple(self.items()):
            labels = tuple(zip(family.labels, values, strict=True))
            for suffix, bound, value in counted.samples():
                pairs = labels if bound is None else (*labels, ("le", bound))
                samples[Sample(family.name + suffix, pairs)] = float(value)
        return Section(family.name, family.kind.name.lower(), family.help, samples)
