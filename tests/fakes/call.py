"""Calls of a transport whose wire is the test."""

from __future__ import annotations

import time
from collections import deque

from ovms_mp.frontend.transport.seam import Code, Metadata, OnWritten, SendQueueFull


class FakeCall:
    """A unary call; `time_remaining` is what the test says."""

    method = "/test.Service/Method"
    peer = "ipv4:127.0.0.1:1"
    invocation_metadata: Metadata = ()
    is_cancelled = False

    def __init__(self, time_remaining: float | None = None) -> None:
        self.initial_metadata: Metadata = ()
        self.trailing_metadata: Metadata = ()
        self.time_remaining = time_remaining
        self.deadline = (
            None if time_remaining is None else time.monotonic() + time_remaining
        )


class FakeStreamCall(FakeCall):
    """A stream whose client reads when `read` is called, and only then."""

    send_limit = 64

    def __init__(self, metadata: Metadata = ()) -> None:
        super().__init__()
        self.invocation_metadata = metadata
        self.credits = 0
        self.status: tuple[Code, str] | None = None
        self._unread: deque[tuple[bytes, OnWritten | None]] = deque()
        self.most_unread = 0

    @property
    def queued(self) -> int:
        return len(self._unread)

    @property
    def queued_bytes(self) -> int:
        return sum(len(message) for message, _ in self._unread)

    def write(self, message: bytes, on_written: OnWritten | None = None) -> bool:
        assert isinstance(message, bytes)
        if self.status is not None:
            return False
        if self.queued >= self.send_limit:
            raise SendQueueFull
        self._unread.append((message, on_written))
        self.most_unread = max(self.most_unread, len(self._unread))
        return True

    def request_next(self) -> None:
        self.credits += 1

    def finish(
        self,
        code: Code = Code.OK,
        details: str = "",
        trailing_metadata: Metadata = (),
    ) -> bool:
        if self.status is not None:
            return False
        self.status = (code, details)
        return True

    def read(self) -> bytes | None:
        """The next message that was written, if there is one."""
        if not self._unread:
            return None
        message, on_written = self._unread.popleft()
        if on_written is not None:
            on_written(True)
        return message

    def read_all(self) -> list[bytes]:
        """All messages, and those that are written because these were read."""
        return list(iter(self.read, None))

    def take_credit(self) -> bool:
        """Whether the client may send a message now; if so, it does."""
        if not self.credits:
            return False
        self.credits -= 1
        return True
