"""A unary call on the core: receive; handle; then metadata, message and status in one
batch. Only an answer that comes later needs to hear of cancellation, so only then the
call's close is awaited.
"""

from __future__ import annotations

from typing import Final, cast

from grpc._cython import cygrpc

from ovms_mp.core.pending import Pending
from ovms_mp.frontend.transport.call import EXPIRED, NO_MESSAGE
from ovms_mp.frontend.transport.core_call import (
    NO_FLAGS,
    CoreCall,
    Keeper,
    status_of,
)
from ovms_mp.frontend.transport.seam import Code, Ending, UnaryHandler

# As grpcio says it.
NO_METHOD: Final = Ending(Code.UNIMPLEMENTED, "Method not found!")


class UnaryCall(CoreCall):
    """One message for one message; without a handler, the answer to a method that is
    not there.
    """

    __slots__ = ("_handler", "_is_awaited", "_max_send_bytes", "_pending")

    def __init__(
        self,
        keeper: Keeper,
        event: cygrpc.RequestCallEvent,
        method: str,
        handler: UnaryHandler | None,
        max_send_bytes: int | None,
    ) -> None:
        super().__init__(keeper, event, method)
        self._handler = handler
        self._max_send_bytes = max_send_bytes
        self._pending: Pending[bytes] | None = None
        self._is_awaited = False

    def begin(self) -> None:
        """Start what there is to do. In the polling thread, as all that follows but the
        settling of a Pending.
        """
        if self._handler is None:
            if not self._answer(NO_METHOD):
                self.collapse(is_new=True)
            return
        with self._lock:
            is_started = self._start(
                (cygrpc.ReceiveMessageOperation(NO_FLAGS),), self._on_message
            )
        if not is_started:
            self.collapse(is_new=True)

    def _on_message(self, event: cygrpc.BatchOperationEvent) -> None:
        received = cast("cygrpc.ReceiveMessageOperation", event.batch_operations[0])
        message = received.message()
        if (
            message is None
        ):  # gone already, or the message is too large, or there is none
            self._answer(NO_MESSAGE)
        elif self.is_expired:
            self._answer(EXPIRED)
        elif self._handler is not None:
            answer = self._attempt(self._handler, message, self)
            if not isinstance(answer, Pending):
                self._answer(answer)
            elif answer.is_settled:
                self._answer(self._attempt(answer.value))
            else:
                self._await(answer)
        self._completed()

    def _await(self, pending: Pending[bytes]) -> None:
        self._pending, self._is_awaited = pending, True
        with self._lock:
            is_started = self._start(
                (cygrpc.ReceiveCloseOnServerOperation(NO_FLAGS),), self._on_close
            )
        if is_started:
            pending.on_settled(self._on_settled)
        else:
            self._lose()

    def _on_settled(self, pending: Pending[bytes]) -> None:
        """In the thread that settles."""
        if not self._is_lost:
            self._answer(self._attempt(pending.value))

    def _on_close(self, event: cygrpc.BatchOperationEvent) -> None:
        closed = cast("cygrpc.ReceiveCloseOnServerOperation", event.batch_operations[0])
        if closed.cancelled():
            self._lose()
        self._completed(was_last=True)

    def _lose(self) -> None:
        self._is_lost = True
        if self._pending is not None:
            self._attempt(self._pending.cancel)

    def _answer(self, answer: object) -> bool:
        """Send it, whatever it is. False if nobody is there to take it."""
        sendable = self._sendable(answer, self._max_send_bytes)
        trailing = self._trailing_metadata
        operations: list[cygrpc.Operation] = [
            cygrpc.SendInitialMetadataOperation(self._initial_metadata, NO_FLAGS)
        ]
        if isinstance(sendable, bytes):
            operations += (
                cygrpc.SendMessageOperation(sendable, NO_FLAGS),
                cygrpc.SendStatusFromServerOperation(trailing, Code.OK, "", NO_FLAGS),
            )
        else:
            operations.append(status_of(sendable, trailing))
        with self._lock:
            return self._start(operations, self._on_answered)

    def _on_answered(self, event: cygrpc.BatchOperationEvent) -> None:
        self._completed(was_last=not self._is_awaited)

    def _release(self) -> None:
        self._handler = self._pending = None
