"""One call on grpcio's C core: its batches, and when it is over.

What the core demands, and what breaking it costs (seen with grpcio 1.62 to 1.85):

- Of each kind of operation one at a time for each call. A second one is refused, with
  what it carries.
- A refused batch is never heard of again, and keeps its tag: nothing that the core would
  refuse is started.
- No batch on a queue that is shut down: it aborts the process. So a queue is shut down
  after its last call has let go of the core's, and such a call starts nothing.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from grpc._cython import cygrpc

from ovms_mp.frontend.transport.call import ServedCall
from ovms_mp.frontend.transport.seam import INTERNAL, Ending, Metadata

log = logging.getLogger(__name__)

NO_FLAGS: Final = 0

# A client without a deadline has one in the year 292 billion.
_NEVER: Final = 1e12


class Keeper(Protocol):
    """Whoever accepted a call and counts it."""

    def forget(self) -> None:
        """One call is over. In the polling thread."""
        ...


class CoreCall(ServedCall):
    """What calls of both kinds do.

    A batch's tag is the method of the call that is to hear of its completion, always in
    the polling thread; the core's tag keeps the call alive. What a second thread may
    touch, `_lock` guards.
    """

    __slots__ = ("_batches", "_core", "_is_over", "_keeper", "_lock", "_peer")

    def __init__(
        self, method: str, keeper: Keeper, event: cygrpc.RequestCallEvent
    ) -> None:
        wall = event.call_details.deadline
        super().__init__(
            method,
            event.invocation_metadata,
            None if wall > _NEVER else time.monotonic() + wall - time.time(),
        )
        self._keeper = keeper
        self._core: cygrpc.Call | None = event.call
        self._lock = threading.Lock()
        self._batches = 0  # started and not completed
        self._is_over = False  # nothing more may be started
        self._peer: str | None = None

    @property
    def peer(self) -> str:
        """See `seam.Call`."""
        with self._lock:
            return self._read_peer()

    def _read_peer(self) -> str:
        if self._peer is None:
            core = self._core
            self._peer = core.peer().decode(errors="replace") if core else ""
        return self._peer

    def _start(
        self,
        operations: Sequence[cygrpc.Operation],
        done: Callable[[cygrpc.BatchOperationEvent], object],
    ) -> bool:
        """Start a batch, with the lock held, if any other thread knows the call. False if the call is over, as it is now if
        the core refused.
        """
        core = self._core
        if self._is_over or core is None:
            return False
        try:
            refusal = core.start_server_batch(operations, done)
        except Exception as error:
            refusal = error
        if refusal:
            names = [type(operation).__name__ for operation in operations]
            log.error("%s: the core refused %s: %r", self.method, names, refusal)
            self._break()
            return False
        self._batches += 1
        return True

    def _break(self) -> None:
        """With the lock held: the core ends the call."""
        self._is_over = True
        if self._core is not None:
            self._core.cancel(INTERNAL.code, INTERNAL.details)

    def collapse(self, *, is_new: bool = False) -> None:
        """An event of this call could not be handled, or its beginning: it ends, and
        others live on.
        """
        with self._lock:
            self._break()
            self._batches += is_new
        self._completed()

    def _completed(self, *, was_last: bool = False) -> None:
        """A batch has completed; `was_last`: nothing can happen to the call but what is
        under way.
        """
        with self._lock:
            self._batches -= 1
            self._is_over = is_over = self._is_over or was_last
            if self._batches or not is_over or self._core is None:
                return
            self._core = None  # frees the core's call
        self._release()
        self._keeper.forget()

    def _release(self) -> None:
        """Let go of what the service made, so that no cycle keeps this call."""


def status_of(ending: Ending, trailing: Metadata) -> cygrpc.Operation:
    """What sends `ending`, with a call's own `trailing` metadata before its."""
    return cygrpc.SendStatusFromServerOperation(
        trailing + ending.trailing_metadata, ending.code, ending.details, NO_FLAGS
    )
