"""Numbers that user code wants to be seen: what they are called, and who takes them."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Final, Literal, Protocol, TypeAlias

MAX_LABELS: Final = 4
MAX_LABEL_VALUE: Final = 128
"""Characters of a label's value; the rest is dropped."""

MAX_SERIES: Final = 100
"""Sets of label values of one metric in one node; what comes beyond is not counted."""

MAX_METERS: Final = 50
"""Metrics of one node."""

Kind: TypeAlias = Literal["counter", "gauge", "histogram"]

_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")
_RESERVED_LABELS: Final = frozenset({"graph", "node", "le"})
_RESERVED_ENDS: Final = ("_total", "_created", "_sum", "_count", "_bucket")


@dataclass(frozen=True, slots=True)
class Meter:
    """One metric. Raises ValueError for names that a page of metrics cannot have."""

    kind: Kind
    name: str
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name) or self.name.endswith(_RESERVED_ENDS):
            raise ValueError(
                f"{self.name!r} is no name for a metric: a-z, 0-9 and _, at most 64, "
                f"without an end that Prometheus gives: {', '.join(_RESERVED_ENDS)}"
            )
        if len(self.labels) > MAX_LABELS or len(set(self.labels)) < len(self.labels):
            raise ValueError(f"expected at most {MAX_LABELS} labels, each once")
        for label in self.labels:
            if not _NAME.fullmatch(label) or label in _RESERVED_LABELS:
                raise ValueError(f"{label!r} is no name for a label")
        is_finite = all(map(math.isfinite, self.buckets))
        if not is_finite or list(self.buckets) != sorted(set(self.buckets)):
            raise ValueError("buckets are bounds that rise")


class Recorder(Protocol):
    """Who takes the numbers of one node. Thread-safe."""

    def declare(self, meter: Meter) -> None:
        """Take numbers of it from now on. Raises ValueError when the name is taken by
        something else, or when there are too many.
        """
        ...

    def record(self, name: str, values: tuple[str, ...], amount: float) -> None:
        """A counter or histogram gets this, a gauge becomes it. Raises ValueError for
        what was not declared, or is no such number.
        """
        ...

    def close(self) -> None:
        """Show the node's numbers no more."""
        ...


class Recorders(Protocol):
    """The service that has a Recorder for each node of a graph."""

    def of(self, node: str) -> Recorder:
        """The node's."""
        ...
