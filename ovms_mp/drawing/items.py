"""What a picture shows, before anybody knows where: boxes and pills, some within others,
and lines between them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Look(Enum):
    """What an item stands for, which decides how it is drawn."""

    NODE = "node"
    GROUP = "group"
    FOLDED = "folded"
    STREAM = "stream"
    INPUT = "input"
    OUTPUT = "output"
    SIDE = "side"

    @property
    def is_pill(self) -> bool:
        """True for what flows, which is drawn as its name alone."""
        return self in _PILLS


_PILLS = frozenset({Look.STREAM, Look.INPUT, Look.OUTPUT, Look.SIDE})


@dataclass(frozen=True, slots=True)
class Item:
    """One thing to be seen. `key` is unique in its drawing, `lines` are what is written
    on it, `title` is what a pointer that rests on it is told, and `inside` is the key of
    the GROUP that it is in, empty for none.
    """

    key: str
    look: Look
    lines: tuple[str, ...]
    title: str = ""
    inside: str = ""


@dataclass(frozen=True, slots=True)
class Link:
    """A line from one item to another; against the flow if `is_back`."""

    source: str
    target: str
    is_back: bool = False
    is_side: bool = False
    title: str = ""


@dataclass(frozen=True, slots=True)
class Drawing:
    """Everything to be seen."""

    items: tuple[Item, ...]
    links: tuple[Link, ...]
