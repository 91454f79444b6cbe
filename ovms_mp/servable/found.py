"""Where requests go is looked up once, until something changes that is served."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ovms_mp.servable.repeats import Term

if TYPE_CHECKING:
    from ovms_mp.servable.leases import Leased, Served

# A client may write a number in many ways.
_MAX_FOUND: Final = 1024


class Found(dict[tuple[str, str], "Leased[Served]"]):
    """Who serves what, by name and version as they are asked for. Whoever changes what
    is served clears it, which is the end of its `term`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.term = Term()

    def keep(self, asked: tuple[str, str], leased: Leased[Served]) -> None:
        """Remember, unless there is too much already."""
        if len(self) < _MAX_FOUND:
            self[asked] = leased

    def clear(self) -> None:
        """Something has changed."""
        super().clear()
        self.term.is_over = True
        self.term = Term()
