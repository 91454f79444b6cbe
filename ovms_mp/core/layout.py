"""A layout names the dimensions of a tensor: `NHWC`, `N?HW`, `N...`; as OVMS and
OpenVINO write it.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

REST: Final = "..."
"""Any number of dimensions without a name."""
UNKNOWN: Final = "?"
BATCH: Final = "N"
DEFAULT: Final = "N..."
"""Of a tensor of which nobody says anything; one of no dimension has `...`."""

_LAYOUT: Final = re.compile(r"[NCHWD?]*(?:\.\.\.)?[NCHWD?]*")


class LayoutPair(NamedTuple):
    """The layout that clients know, and the one of the model in its file."""

    tensor: str
    model: str


def is_layout(text: str) -> bool:
    """True if each of N, C, H, W and D is there once at most, and the rest as well."""
    names = text.replace(REST, "").replace(UNKNOWN, "")
    is_unique = len(set(names)) == len(names)
    return bool(text) and is_unique and _LAYOUT.fullmatch(text) is not None


def fits(layout: str, rank: int) -> bool:
    """True if a tensor of so many dimensions may have it."""
    known = len(layout.replace(REST, ""))
    return known <= rank if REST in layout else known == rank


def batch_axis(layout: str) -> int | None:
    """Where the batch is, None if the layout does not say (OVMS)."""
    at = layout.find(BATCH)
    rest = layout.find(REST)
    return None if at < 0 or 0 <= rest < at else at


def may_be(layout: str, other: str, rank: int) -> bool:
    """True if a tensor of so many dimensions can have both layouts, as what one of them
    leaves open.
    """
    if not (fits(layout, rank) and fits(other, rank)):
        return False
    here, there = _spread(layout, rank), _spread(other, rank)
    return all(
        mine == theirs
        or (mine == UNKNOWN and theirs not in here)
        or (theirs == UNKNOWN and mine not in there)
        for mine, theirs in zip(here, there, strict=True)
    )


def _spread(layout: str, rank: int) -> str:
    known = len(layout.replace(REST, ""))
    return layout.replace(REST, UNKNOWN * (rank - known))
