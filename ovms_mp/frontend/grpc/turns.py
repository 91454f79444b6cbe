"""Calls that are refused for want of room wait for their turn to be told, in no thread."""

from __future__ import annotations

import threading
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Final

from ovms_mp.core.pending import Pending
from ovms_mp.frontend.pace import Pace
from ovms_mp.frontend.transport.seam import Code
from ovms_mp.servable.alarms import Alarms

if TYPE_CHECKING:
    from ovms_mp.frontend.transport.seam import Abort, Call

MAX_WAITING: Final = 1000
"""Calls that wait to be told; beyond them it is at once."""


class Turns:
    """Tells who is refused. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pace = Pace()
        self._waiting = 0
        self._alarms = Alarms()

    def answer(self, reason: Abort, call: Call) -> Pending[bytes] | None:
        """What `call` waits for before it fails with `reason`; None if that is at once."""
        answer: Pending[bytes] = Pending()
        return answer if self._waits(answer, reason, call) else None

    def fail(self, answer: Pending[bytes], reason: Abort, call: Call) -> None:
        """Fail `answer`, that of `call`, now or when it is its turn."""
        if not self._waits(answer, reason, call):
            answer.fail(reason)

    def _waits(self, answer: Pending[bytes], reason: Abort, call: Call) -> bool:
        """Whether it does, for want of room; not beyond its deadline."""
        if reason.code is not Code.RESOURCE_EXHAUSTED:
            return False
        now = monotonic()
        with self._lock:
            due = self._pace.due(now)
            has_time = call.deadline is None or due < call.deadline
            if due <= now or not has_time or self._waiting >= MAX_WAITING:
                return False
            self._waiting += 1
        self._alarms.after(due - now, partial(self._tell, answer, reason))
        return True

    def _tell(self, answer: Pending[bytes], reason: Abort) -> None:
        with self._lock:
            self._waiting -= 1
        answer.fail(reason)  # which is nothing, if the call has ended
