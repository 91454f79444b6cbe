"""Who uses a servable holds a lease on it. One that is retired takes no new users, serves
those that it has to their end, and is closed when the last of them has left.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Generic, Protocol, TypeAlias, TypeVar

from ovms_mp.core import heap
from ovms_mp.servable.base import Servable, StreamSession, StreamSink

if TYPE_CHECKING:
    from ovms_mp.core.errors import ServingError
    from ovms_mp.core.messages import InferRequest, InferResponse
    from ovms_mp.core.pending import Pending

Dispose: TypeAlias = Callable[[Callable[[], object]], object]
"""How closing is got out of the way of whoever happens to leave last: it may take long,
and runs user code.
"""


def at_once(close: Callable[[], object]) -> None:
    """A Dispose that uses the caller's thread."""
    close()


class Closable(Protocol):
    """What holds something until it is closed."""

    def close(self) -> None:
        """Release it."""
        ...


S_co = TypeVar("S_co", bound=Closable, covariant=True)


class Leased(Generic[S_co]):
    """A servable and the number of its users. Thread-safe."""

    __slots__ = ("_dispose", "_is_retired", "_lock", "_on_closed", "_users", "servable")

    def __init__(self, servable: S_co, dispose: Dispose = at_once) -> None:
        self.servable: Final = servable
        self._dispose = dispose
        self._lock = threading.Lock()
        self._users = 0
        self._is_retired = False
        self._on_closed: Callable[[], object] | None = None

    def lease(self) -> Lease[S_co] | None:
        """One user more; None if it is retired, for who has come too late."""
        with self._lock:
            if self._is_retired:
                return None
            self._users += 1
        return Lease(self)

    def leave(self, lease: Lease[Closable]) -> None:
        """One user less, if he has not left before."""
        with self._lock:
            if lease.is_over:
                return
            lease.is_over = True
            self._users -= 1
            is_last = self._is_retired and not self._users
        if is_last:
            self._dispose(self._close)

    def retire(self, on_closed: Callable[[], object] | None = None) -> None:
        """Close it once nobody uses it any more, then call `on_closed`."""
        with self._lock:
            self._is_retired = True
            self._on_closed = on_closed
            is_last = not self._users
        if is_last:
            self._dispose(self._close)

    def _close(self) -> None:
        try:
            self.servable.close()
            heap.give_back()
        finally:
            if self._on_closed is not None:
                self._on_closed()


class Lease(Generic[S_co]):
    """One user's hold on a servable."""

    __slots__ = ("_leased", "is_over", "servable")

    def __init__(self, leased: Leased[S_co]) -> None:
        self.servable: Final = leased.servable
        self._leased = leased
        self.is_over = False

    def release(self) -> None:
        """The user has left. From any thread; again does nothing."""
        self._leased.leave(self)


class Served(Closable, Servable, Protocol):
    """What clients use, until it is closed."""


def infer(lease: Lease[Served], request: InferRequest) -> Pending[InferResponse]:
    """Use a lease for one request. See Servable.infer."""
    try:
        answer = lease.servable.infer(request)
    except BaseException:
        lease.release()
        raise
    answer.on_settled(lambda _: lease.release())
    return answer


def open_stream(
    lease: Lease[Served], request: InferRequest, sink: StreamSink
) -> StreamSession:
    """Use a lease for a stream, until that is finished or its client is gone. See
    Servable.open_stream.
    """
    try:
        session = lease.servable.open_stream(request, _Sink(sink, lease))
    except BaseException:
        lease.release()
        raise
    return _Session(session, lease)


class _Sink:
    """A StreamSink that learns the end of the stream; what it is not asked about goes
    straight to the client's.
    """

    __slots__ = ("_finished", "_lease", "error", "response", "room")

    def __init__(self, sink: StreamSink, lease: Lease[Served]) -> None:
        self.response = sink.response
        self.error = sink.error
        self.room = sink.room
        self._finished = sink.finished
        self._lease = lease

    def finished(self, error: ServingError | None) -> None:
        self._finished(error)
        self._lease.release()


class _Session:
    """A StreamSession that ends with its client."""

    __slots__ = ("_cancel", "_lease", "feed", "half_close", "hold", "release")

    def __init__(self, session: StreamSession, lease: Lease[Served]) -> None:
        self.feed = session.feed
        self.half_close = session.half_close
        self.hold = session.hold
        self.release = session.release
        self._cancel = session.cancel
        self._lease = lease

    def cancel(self) -> None:
        self._cancel()
        self._lease.release()
