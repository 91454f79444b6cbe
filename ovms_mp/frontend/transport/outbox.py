"""What a stream has to send is sent in order, each message answers for itself once, and
the status comes last. Nothing here waits or knows a transport.
"""

from __future__ import annotations

import threading
from collections import deque

from ovms_mp.frontend.transport.seam import Ending, OnWritten, SendQueueFull


class Outbox:
    """Up to `limit` messages and then a status, put in from any thread.

    Open until `finish` or `drop`; an outbox that is finished gives what it has, a
    dropped one nothing.
    """

    __slots__ = (
        "_bytes",
        "_ending",
        "_is_dropped",
        "_lock",
        "_under_way",
        "_waiting",
        "limit",
    )

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._lock = threading.Lock()
        self._waiting: deque[tuple[bytes, OnWritten | None]] = deque()
        self._under_way: tuple[bytes, OnWritten | None] | None = None
        self._bytes = 0
        self._ending: Ending | None = None
        self._is_dropped = False

    @property
    def ending(self) -> Ending | None:
        """The status, once it is settled."""
        return self._ending

    @property
    def is_open(self) -> bool:
        """True as long as messages can be put in."""
        return self._ending is None and not self._is_dropped

    @property
    def has_something(self) -> bool:
        """True if there is a message to take, or a settled status."""
        return bool(self._waiting) or self._ending is not None

    @property
    def queued(self) -> int:
        """Messages not sent yet, the one under way included."""
        return len(self._waiting) + (self._under_way is not None)

    @property
    def queued_bytes(self) -> int:
        """Bytes of these."""
        return self._bytes

    def put(self, message: bytes, on_written: OnWritten | None) -> bool:
        """Append a message. False if the end is settled; raises SendQueueFull."""
        with self._lock:
            if not self.is_open:
                return False
            if self.queued >= self.limit:
                raise SendQueueFull(f"{self.limit} messages wait already")
            self._waiting.append((message, on_written))
            self._bytes += len(message)
            return True

    def finish(self, ending: Ending) -> bool:
        """Settle the status. False if the end is settled."""
        with self._lock:
            if not self.is_open:
                return False
            self._ending = ending
            return True

    def take(self) -> bytes | None:
        """The next message, which is now under way; None if there is none."""
        with self._lock:
            if not self._waiting:
                return None
            self._under_way = self._waiting.popleft()
            return self._under_way[0]

    def take_with_ending(self) -> tuple[bytes | None, Ending | None]:
        """The next message, which is now under way, if there is one; and the status, if
        it is settled and no other message is to go before it.
        """
        with self._lock:
            message = None
            if self._waiting:
                self._under_way = self._waiting.popleft()
                message = self._under_way[0]
            return message, None if self._waiting else self._ending

    def sent(self) -> OnWritten | None:
        """The message under way has left: whom to tell so, unless that was done."""
        with self._lock:
            if self._under_way is None:
                return None
            message, on_written = self._under_way
            self._under_way = None
            self._bytes -= len(message)
            return on_written

    def drop(self) -> list[OnWritten]:
        """Forget all messages: whom to tell that theirs will not be sent, in order."""
        with self._lock:
            self._is_dropped = True
            dropped = [*self._waiting]
            if self._under_way is not None:
                dropped.insert(0, self._under_way)
            self._waiting.clear()
            self._under_way, self._bytes = None, 0
        return [told for _, told in dropped if told is not None]
