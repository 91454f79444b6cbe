"""The last requests that failed, as their clients were told, for who comes to look later."""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple

from ovms_mp.telemetry.requests import FAILED

if TYPE_CHECKING:
    from collections.abc import Sequence

KEPT: Final = 50
"""Of them."""


class Failure(NamedTuple):
    """At `time` in seconds since 1970."""

    time: float
    text: str


class Recent(logging.Handler):
    """Listens to the log of failures between `begin` and `end`. The log's quota holds."""

    def __init__(self) -> None:
        super().__init__()
        self._kept: deque[Failure] = deque(maxlen=KEPT)

    def begin(self) -> None:
        """Listen."""
        logging.getLogger(FAILED).addHandler(self)

    def end(self) -> None:
        """Listen no more; may be called again, and before `begin`."""
        logging.getLogger(FAILED).removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """One failed."""
        self._kept.append(Failure(record.created, record.getMessage()))

    def failures(self) -> Sequence[Failure]:
        """The last ones, the latest first."""
        return tuple(reversed(self._kept.copy()))
