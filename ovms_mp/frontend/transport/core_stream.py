"""One stream on the core: reads as its session allows, one at a time; sends one message
at a time; and awaits its close from the start, which is the last that it hears but for
batches that were under way.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from grpc._cython import cygrpc

from ovms_mp.frontend.transport.call import too_large
from ovms_mp.frontend.transport.core_call import (
    NO_FLAGS,
    CoreCall,
    Keeper,
    status_of,
)
from ovms_mp.frontend.transport.outbox import Outbox
from ovms_mp.frontend.transport.seam import (
    Code,
    Ending,
    Metadata,
    OnWritten,
    Session,
    Stream,
)

# The core says end of stream for a cancelled call too, mostly before it says that the
# call is cancelled. A further read goes once through where the cancellation waits.
FURTHER_READS: Final = 3


class Limits(NamedTuple):
    """How many messages of a stream may wait, and how large one may be."""

    send_limit: int
    max_send_bytes: int | None


class StreamCall(CoreCall):
    """See `seam.StreamCall`."""

    __slots__ = (
        "_are_headers_sent",
        "_credit",
        "_further_reads",
        "_is_input_open",
        "_is_overrun",
        "_is_reading",
        "_is_sending",
        "_is_status_sent",
        "_max_send_bytes",
        "_outbox",
        "_route",
        "_session",
    )

    def __init__(
        self,
        method: str,
        route: Stream,
        limits: Limits,
        keeper: Keeper,
        event: cygrpc.RequestCallEvent,
    ) -> None:
        super().__init__(method, keeper, event)
        self._route = route
        self._session: Session | None = None
        self._max_send_bytes = limits.max_send_bytes
        self._credit = 0
        self._is_reading = False
        self._is_input_open = True
        self._further_reads = FURTHER_READS
        self._outbox = Outbox(limits.send_limit)
        self._is_sending = False
        self._is_overrun = False
        self._are_headers_sent = False
        self._is_status_sent = False

    @property
    def send_limit(self) -> int:
        """See `seam.StreamCall`."""
        return self._outbox.limit

    @property
    def queued(self) -> int:
        """See `seam.StreamCall`."""
        return self._outbox.queued

    @property
    def queued_bytes(self) -> int:
        """See `seam.StreamCall`."""
        return self._outbox.queued_bytes

    def write(self, message: bytes, on_written: OnWritten | None = None) -> bool:
        """See `seam.StreamCall`."""
        if not isinstance(message, bytes):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"a message is bytes, not {type(message).__name__}")
        ending = too_large(message, self._max_send_bytes)
        if ending is not None and self._outbox.is_open:
            self._is_overrun = (
                True  # first: the polling thread may be quicker than this
            )
            self._outbox.finish(self._failed(ending))
        is_taken = ending is None and self._outbox.put(message, on_written)
        self._send()
        return is_taken

    def request_next(self) -> None:
        """See `seam.StreamCall`."""
        with self._lock:
            self._credit += 1
            self._read_next()

    def finish(
        self, code: Code = Code.OK, details: str = "", trailing_metadata: Metadata = ()
    ) -> bool:
        """See `seam.StreamCall`."""
        is_settled = self._outbox.finish(Ending(code, details, trailing_metadata))
        self._send()
        return is_settled

    def begin(self) -> None:
        """Make the session and open it. In the polling thread, as all that follows."""
        with self._lock:
            self._read_peer()
            is_started = self._start(
                (cygrpc.ReceiveCloseOnServerOperation(NO_FLAGS),), self._on_close
            )
        if not is_started:
            self.collapse(is_new=True)
            return
        refused = self._refused(self._route.admission)
        session = refused or self._attempt(self._route.factory)
        if isinstance(session, Ending):
            self._break_off(session)
        else:
            self._session = session
            self._tell(session.on_open, self)

    def _send(self) -> None:
        """What was put into the outbox goes. Whoever is sending looks once more before he
        stops, and he has the lock for as long as the core works.
        """
        if not self._is_sending:
            with self._lock:
                self._send_next()

    # With the lock held.

    def _read_next(self) -> None:
        is_wanted = self._credit and self._is_input_open and self._outbox.is_open
        if is_wanted and not self._is_reading:
            self._credit -= 1
            self._is_reading = self._start(
                (cygrpc.ReceiveMessageOperation(NO_FLAGS),), self._on_message
            )

    def _send_next(self) -> None:
        if self._is_sending or self._is_status_sent or self._is_over:
            return
        outbox = self._outbox
        while True:
            self._is_sending = True  # who puts something in from here on does not ask
            message, ending = outbox.take_with_ending()
            if message is not None or ending is not None:
                break
            self._is_sending = False
            if not outbox.has_something:
                return
        operations: list[cygrpc.Operation] = []
        if not self._are_headers_sent:
            self._are_headers_sent = True
            operations.append(
                cygrpc.SendInitialMetadataOperation(self._initial_metadata, NO_FLAGS)
            )
        if message is not None:
            operations.append(cygrpc.SendMessageOperation(message, NO_FLAGS))
        if ending is not None:
            self._is_status_sent = True
            operations.append(status_of(ending, self._trailing_metadata))
        self._is_sending = self._start(operations, self._on_sent)

    # The core's events.

    def _on_message(self, event: cygrpc.BatchOperationEvent) -> None:
        message = event.batch_operations[0].message()
        with self._lock:
            self._is_reading = False
            if message is None:
                self._is_input_open = False
                self._read_further()
            else:
                self._read_next()
        if message is not None and (session := self._listening()) is not None:
            self._tell(session.on_message, message)
        self._completed()

    def _read_further(self) -> None:
        self._further_reads -= 1
        self._start((cygrpc.ReceiveMessageOperation(NO_FLAGS),), self._on_no_more)

    def _on_no_more(self, event: cygrpc.BatchOperationEvent) -> None:
        if (session := self._listening()) is not None:
            if self._further_reads:
                with self._lock:
                    self._read_further()
            else:
                self._tell(session.on_half_close)
        self._completed()

    def _on_sent(self, event: cygrpc.BatchOperationEvent) -> None:
        on_written = self._outbox.sent()
        with self._lock:
            self._is_sending = False
            self._send_next()
        if on_written is not None:
            self._tell(on_written, event.success)
        self._completed()

    def _on_close(self, event: cygrpc.BatchOperationEvent) -> None:
        self._is_lost = event.batch_operations[0].cancelled()
        with self._lock:
            self._is_over = True
        if self._is_lost or self._is_overrun:
            self._drop()
        self._completed(was_last=True)

    def _listening(self) -> Session | None:
        """The session, if the client's messages still concern it."""
        return self._session if self._outbox.is_open else None

    def _tell(self, callback: Callable[..., object], *arguments: object) -> None:
        failure = self._attempt(callback, *arguments)
        if isinstance(failure, Ending):
            self._break_off(failure)

    def _break_off(self, ending: Ending) -> None:
        """End with this status at once, unless the end is settled."""
        if self._outbox.finish(ending):
            self._drop()
            with self._lock:
                self._send_next()

    def _drop(self) -> None:
        for on_written in self._outbox.drop():
            self._tell(on_written, False)
        session, self._session = self._session, None
        if session is not None:
            self._tell(session.on_cancel)

    def _release(self) -> None:
        self._session = None
