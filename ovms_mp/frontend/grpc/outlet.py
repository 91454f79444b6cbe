"""A stream's answers leave in order; while its client reads slower than they come, the
session is held and the client is not read.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Final, Protocol

from ovms_mp.frontend.grpc.status import Outcome, outcome_of
from ovms_mp.frontend.transport.seam import Code, Metadata, OnWritten
from ovms_mp.servable.base import StreamSession

# Answers on their way before the session is held: some video frames, or what a run
# makes of small tensors between two looks at the wire. A thousand clients that do not
# read cost 3 GiB at the worst.
HOLD_BYTES: Final = 3 << 20
HOLD_COUNT: Final = 64
# A held session may have to finish the calculator call that it is in, however much that
# sends. One that goes on beyond this does not obey.
LIMIT_BYTES: Final = 256 << 20
# Handed to the transport at a time: one on the wire, one ready behind it, and two for
# the time that the news of a written one takes.
IN_TRANSPORT: Final = 4
# What an answer costs beside its bytes.
_OVERHEAD: Final = 128

SUCCESS: Final = Outcome(Code.OK, "")
OVERFLOW: Final = Outcome(
    Code.RESOURCE_EXHAUSTED,
    "Resource exhausted - the graph sends more than the client reads",
)


class Line(Protocol):
    """What brings the answers of a stream to its client, and knows when it may say more:
    a `seam.StreamCall`, or what does the same on a connection of another kind.
    """

    def write(self, message: bytes, on_written: OnWritten | None = None) -> bool:
        """See StreamCall."""
        ...

    def request_next(self) -> None:
        """See StreamCall."""
        ...

    def finish(
        self, code: Code = Code.OK, details: str = "", trailing_metadata: Metadata = ()
    ) -> bool:
        """See StreamCall."""
        ...


class Outlet:
    """What one stream sends, and when its client may. Methods may be called from any
    thread and do not block; after the end of the stream they do nothing.

    `_next` decides and `_turn` acts, one act at a time, so that writes, and holding and
    releasing the session, keep their order whichever threads ask for them. What changes
    something takes the lock once, and has the first act from there.
    """

    def __init__(self, line: Line, on_over: Callable[[], object] | None = None) -> None:
        """`on_over` is called once, when nothing of the stream can be sent any more."""
        self._line = line
        self._on_over = on_over
        self._session: StreamSession | None = None
        self._lock = threading.Lock()
        self._is_turning = False
        self._waiting: deque[bytes] = deque()
        self._in_transport = 0
        self._bytes = 0  # of both
        self._credits = 0
        self._is_held = False
        self._outcome: Outcome | None = None
        self._is_doomed = False
        self._is_over = False

    @property
    def is_finished(self) -> bool:
        """True once the end of the stream is settled, even if answers still leave."""
        return self._is_over or self._outcome is not None

    def attach(self, session: StreamSession) -> None:
        """Hold and release `session` from now on, and cancel it if the stream ends
        before the session does, which may have happened already.
        """
        with self._lock:
            self._session = session
            is_doomed = self._is_doomed
        if is_doomed:
            session.cancel()
        with self._lock:
            act = self._begin()
        self._turn(act)

    def put(self, message: bytes) -> None:
        """Send `message` after all that were put before."""
        with self._lock:
            if self.is_finished:
                return
            self._waiting.append(message)
            self._bytes += len(message) + _OVERHEAD
            overflows = self._bytes > LIMIT_BYTES and len(self._waiting) > 1
            if overflows:
                self._waiting.clear()
            act = self._begin()
        if overflows:
            self.fail(OVERFLOW)
        self._turn(act)

    def allow_next(self) -> None:
        """There is room for one more message of the client."""
        with self._lock:
            self._credits += 1
            act = self._begin()
        self._turn(act)

    def finish(self, outcome: Outcome = SUCCESS) -> None:
        """The session is over: end the call once all that was put is sent."""
        with self._lock:
            if self.is_finished:
                return
            self._outcome = outcome
            act = self._begin()
        self._turn(act)

    def fail(self, outcome: Outcome) -> None:
        """End the call as `finish` does, and the session, which is not over."""
        with self._lock:
            if self.is_finished:
                return
            self._outcome = outcome
        self._doom()
        with self._lock:
            act = self._begin()
        self._turn(act)

    def close(self) -> None:
        """The call has ended: nothing can be sent any more. Ends the session, too."""
        if self._outcome is None:
            self._doom()
        self._lose()

    def _begin(self) -> Callable[[], object] | None:
        """The first act of a turn; None if there is none, or a turn under way, which
        sees what has changed. Under the lock.
        """
        if self._is_turning:
            return None
        act = self._next()
        self._is_turning = act is not None
        return act

    def _turn(self, act: Callable[[], object] | None) -> None:
        while act is not None:
            try:
                act()
            except Exception as error:
                self.fail(outcome_of(error))
            with self._lock:
                act = self._next()
                self._is_turning = act is not None

    def _next(self) -> Callable[[], object] | None:
        """What is to be done now, noted as done. Under the lock."""
        if self._is_over:
            return None
        if self._waiting and self._in_transport < IN_TRANSPORT:
            self._in_transport += 1
            return partial(self._write, self._waiting.popleft())
        if self._outcome is not None:
            if self._waiting:
                return None
            self._end()
            return partial(self._line.finish, *self._outcome)
        # Half of what holds a session releases it: no change of mind at every answer.
        share = 2 if self._is_held else 1
        count = len(self._waiting) + self._in_transport
        is_congested = count > HOLD_COUNT // share or self._bytes > HOLD_BYTES // share
        if self._session is not None and is_congested != self._is_held:
            self._is_held = is_congested
            return self._session.hold if is_congested else self._session.release
        if self._credits and not is_congested:
            self._credits -= 1
            return self._line.request_next
        return None

    def _write(self, message: bytes) -> None:
        size = len(message) + _OVERHEAD
        if not self._line.write(message, partial(self._written, size)):
            self._lose()

    def _written(self, size: int, is_sent: bool) -> None:
        with self._lock:
            self._in_transport -= 1
            self._bytes -= size
            # Mostly nobody has waited for it.
            is_awaited = self._waiting or self._credits or self._is_held
            is_awaited = is_awaited or self._outcome is not None
            act = self._begin() if is_sent and is_awaited else None
        if is_sent:
            self._turn(act)
        else:
            self._lose()

    def _lose(self) -> None:
        """The transport takes nothing more, and has said or will say so to `close`."""
        with self._lock:
            self._end()
            self._waiting.clear()

    def _end(self) -> None:
        """Under the lock."""
        self._is_over = True
        on_over, self._on_over = self._on_over, None
        if on_over is not None:
            on_over()

    def _doom(self) -> None:
        with self._lock:
            if self._is_doomed:
                return
            self._is_doomed = True
            session = self._session
        if session is not None:
            session.cancel()
