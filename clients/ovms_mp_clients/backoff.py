"""How long to wait for a server that is gone, and when to stop."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from ovms_mp_clients.errors import ConnectionLost

_GROWTH: Final = 2.0
# Clients that lost a server together must not come back together.
_SPREAD: Final = 0.2


@dataclass(frozen=True, slots=True)
class Backoff:
    """Pauses between attempts, in seconds: the `first`, then twice the one before, up to
    the `longest`, each up to a fifth shorter or longer.

    After `give_up_after` seconds without an answer it is enough; None never gives up.
    The default outlasts the restart of a server and the loading of its models.
    """

    first: float = 0.2
    longest: float = 5.0
    give_up_after: float | None = 60.0


BACKOFF: Final = Backoff()


class Patience:
    """The pauses of one who waits. `clock` counts seconds, `spread` draws a factor."""

    def __init__(
        self,
        backoff: Backoff,
        *,
        clock: Callable[[], float] = time.monotonic,
        spread: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._backoff = backoff
        self._clock = clock
        self._spread = spread
        self.renew()

    def renew(self) -> None:
        """There was an answer: all is well again."""
        self._pause = self._backoff.first
        self._since: float | None = None

    def pause(self, loss: ConnectionLost) -> float:
        """Seconds to wait before the next attempt. Raises `loss` when it is enough."""
        now = self._clock()
        if self._since is None:
            self._since = now
        seconds = min(self._pause, self._backoff.longest)
        self._pause = seconds * _GROWTH
        limit = self._backoff.give_up_after
        left = math.inf if limit is None else self._since + limit - now
        if left <= 0:
            raise loss
        return min(left, seconds * self._spread(1 - _SPREAD, 1 + _SPREAD))
