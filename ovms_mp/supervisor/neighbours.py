"""The worker's end of what the others see: see frontend.http.together.Others."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from ovms_mp.supervisor.link import Link, SupervisorGone
from ovms_mp.telemetry.trace import unpacked

log = logging.getLogger(__name__)

SEEN_SECONDS: Final = 1.0
TRACE_SECONDS: Final = 60.0
"""Beside those in which it is recorded: it is some megabytes."""


class Neighbours:
    """Asks the supervisor. Thread-safe; blocks."""

    def __init__(self, link: Link) -> None:
        self._link = link

    def seen(self, viewer: str, graph: str) -> Mapping[int, dict[str, Any] | None]:
        """See Others."""
        with suppress(SupervisorGone):
            told = self._link.ask("seen", SEEN_SECONDS, viewer=viewer, graph=graph)
            return {int(number): each for number, each in told.items()}
        return {}

    def traced(self, seconds: float) -> Mapping[int, Sequence[bytes] | None] | None:
        """See Others."""
        try:
            within = seconds + TRACE_SECONDS
            told = self._link.ask("trace", within, seconds=seconds)
        except SupervisorGone as error:
            log.warning("other workers are not in the trace: %s", error)
            return {}
        if told is None:
            return None
        return {
            int(number): each and unpacked(each["events"])
            for number, each in told.items()
        }
