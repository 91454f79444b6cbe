"""A gate is a law, a measurement that returns figures, and the bounds of these: it is
passed if every figure is within its own. What is measured does not depend on how long.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final

import numpy as np


class Tier(Enum):
    """How much is done: a part of the suite, `make gates`, `make soak`."""

    SHORT = "short"
    CHANGE = "change"
    NIGHT = "night"


@dataclass(frozen=True, slots=True)
class Figure:
    """What was measured, and its bounds, where it has any.

    A `is_time` depends on whoever else uses the machine: seconds, or a ratio of them.
    """

    what: str
    value: float
    unit: str = ""
    at_most: float | None = None
    at_least: float | None = None
    is_time: bool = False

    def holds(self, patience: float = 1.0) -> bool:
        """Whether it is within its bounds; those of times are `patience` times as wide."""
        wide = patience if self.is_time else 1.0
        if self.at_most is not None and not self.value <= self.at_most * wide:
            return False
        return self.at_least is None or self.value >= self.at_least / wide

    @property
    def bound(self) -> str:
        """As a reader sees it; nothing if it has none."""
        if self.at_most is not None:
            return f"at most {number(self.at_most)}"
        return "" if self.at_least is None else f"at least {number(self.at_least)}"

    @property
    def text(self) -> str:
        """The value with its unit."""
        return f"{number(self.value)} {self.unit}".rstrip()


def number(value: float) -> str:
    """Three digits that count, or all of an integer."""
    if value == int(value) or value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def none(what: str, count: float) -> Figure:
    """Of these there may be none."""
    return Figure(what, count, at_most=0)


def seconds(what: str, value: float, at_most: float | None = None) -> Figure:
    """A time."""
    return Figure(what, value, "s", at_most=at_most, is_time=True)


def percentile(values: list[float], share: float) -> float:
    """0 of nothing."""
    return float(np.percentile(values, share)) if values else 0.0


def worst(rounds: Sequence[Sequence[Figure]]) -> list[Figure]:
    """Of rounds that gave the same figures, the worst of each: the highest value of one
    that may be too high, and else the lowest.
    """
    return [
        (min if each[0].at_most is None else max)(each, key=lambda one: one.value)
        for each in zip(*rounds, strict=True)
    ]


@dataclass(frozen=True, slots=True)
class Run:
    """What a measurement is given: how much to do, where to put its files, and when to
    stop all the same.
    """

    size: int
    folder: Path
    tier: Tier = Tier.CHANGE
    until: float = math.inf
    """Of time.monotonic(): a night is only so long."""

    def times(self) -> Iterator[int]:
        """Numbers from 0 below `size`, fewer when the time is over."""
        for each in range(self.size):
            if each and time.monotonic() > self.until:
                return
            yield each

    def share_of(self, number: int, count: int) -> float:
        """When to stop, by time.monotonic(), that is the `number`th of `count` equal
        parts: each has its share of what is left.
        """
        now = time.monotonic()
        return now + (self.until - now) / (count - number)

    def end_of(self, seconds: float) -> float:
        """When to stop what begins now and is to take so long, by time.monotonic()."""
        return min(time.monotonic() + seconds, self.until)


Measure = Callable[[Run], list[Figure]]


@dataclass(frozen=True, slots=True)
class Gate:
    """Sizes are numbers of what `unit` says. A size of 0 is for what the suite does
    already, test by test.
    """

    name: str
    measure: Measure
    unit: str
    short: int
    change: int
    night: int
    seconds: float
    """That `change` takes on two idle cores, about."""

    @property
    def law(self) -> str:
        """The first sentence of what measures it."""
        return (
            (self.measure.__doc__ or "").split("\n\n")[0].strip().replace("\n    ", " ")
        )

    def size(self, tier: Tier) -> int:
        """How much of it is done."""
        return {
            Tier.SHORT: self.short,
            Tier.CHANGE: self.change,
            Tier.NIGHT: self.night,
        }[tier]


PATIENCE: Final = 20.0
"""Where others use the machine: a server that hangs is found out, a slow one is not."""
