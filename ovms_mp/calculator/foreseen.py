"""Tensors that will come, as far as they are known when a graph is loaded: so that what can
never fit is refused then, and not at the first packet of a stream.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Foreseen:
    """A tensor; `whose` is what a message calls it. A length that may differ is -1, a
    `datatype` that may is empty.
    """

    whose: str
    datatype: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int | None:
        """How many values it has; None if that may differ."""
        return None if -1 in self.shape else math.prod(self.shape)

    def may_be(self, *shapes: tuple[int, ...]) -> bool:
        """True if it may have one of these, in which -1 is any length."""
        return any(
            len(shape) == len(self.shape)
            and all(
                one == other or -1 in (one, other)
                for one, other in zip(self.shape, shape, strict=True)
            )
            for shape in shapes
        )
