"""A unary call on the core: receive; handle; then metadata, message and status in one
batch. Only an answer that comes later needs to hear of cancellation, so only then the
call's close is awaited.
"""

from __future__ import annotations

from typing import Final

from grpc._cython import cygrpc

from ovms_mp.core.pending import Pending
from ovms_mp.frontend.transport.call import EXPIRED, NO_MESSAGE
from ovms_mp.frontend.transport.core_call import (
    NO_FLAGS,
    CoreCall,
    Keeper,
    status_of,
)
from ovms_mp.frontend.transport.seam import (
    Admission,
    Code,
    Ending,
    Unary,
    UnaryHandler,
)

_OK: Final = int(Code.OK)


class UnaryCall(CoreCall):
    """One message for one message; or, instead of a route, how such a call is refused,
    or a stream.
    """

    __slots__ = (
        "_admission",
        "_handler",
        "_is_awaited",
        "_max_send_bytes",
        "_pending",
        "_refusal",
    )

    def __init__(
        self,
        method: str,
        route: Unary | Ending,
        max_send_bytes: int | None,
        keeper: Keeper,
        event: cygrpc.RequestCallEvent,
    ) -> None:
        super().__init__(method, keeper, event)
        self._handler: UnaryHandler | None = None
        self._admission: Admission | None = None
        self._refusal: Ending | None = None
        if isinstance(route, Ending):
            self._refusal = route
        else:
            self._handler, self._admission = route.handler, route.admission
        self._max_send_bytes = max_send_bytes
        self._pending: Pending[bytes] | None = None
        self._is_awaited = False

    def begin(self) -> None:
        """Start what there is to do. In the polling thread, as all that follows but the
        settling of a Pending; until there is one, nobody else can touch the call.
        """
        refused = self._refusal or self._refused(self._admission)
        if refused is not None:
            is_started = self._answer(refused)
        else:
            is_started = self._start(
                (cygrpc.ReceiveMessageOperation(NO_FLAGS),), self._on_message
            )
        if not is_started:
            self.collapse(is_new=True)

    def _on_message(self, event: cygrpc.BatchOperationEvent) -> None:
        message = event.batch_operations[0].message()
        answer: object
        if (
            message is None
        ):  # gone already, or the message is too large, or there is none
            answer = self._failed(NO_MESSAGE)
        elif self.is_expired or self._handler is None:
            answer = self._failed(EXPIRED)
        else:
            answer = self._attempt(self._handler, message, self)
            if isinstance(answer, Pending):
                if not answer.is_settled:
                    self._await(answer)
                    self._completed()
                    return
                answer = self._attempt(answer.value)
        if self._answer(answer):
            self._batches -= 1
        else:
            self._completed()

    def _await(self, pending: Pending[bytes]) -> None:
        with self._lock:
            self._pending, self._is_awaited = pending, True
            self._read_peer()
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
            answer = self._attempt(pending.value)
            with self._lock:
                self._answer(answer)

    def _on_close(self, event: cygrpc.BatchOperationEvent) -> None:
        if event.batch_operations[0].cancelled():
            self._lose()
        self._completed(was_last=True)

    def _lose(self) -> None:
        self._is_lost = True
        if self._pending is not None:
            self._attempt(self._pending.cancel)

    def _answer(self, answer: object) -> bool:
        """Send it, whatever it is. False if nobody is there to take it."""
        initial = cygrpc.SendInitialMetadataOperation(self._initial_metadata, NO_FLAGS)
        trailing = self._trailing_metadata
        sendable = self._sendable(answer, self._max_send_bytes)
        operations = (
            (
                initial,
                cygrpc.SendMessageOperation(sendable, NO_FLAGS),
                cygrpc.SendStatusFromServerOperation(trailing, _OK, "", NO_FLAGS),
            )
            if isinstance(sendable, bytes)
            else (initial, status_of(sendable, trailing))
        )
        return self._start(operations, self._on_answered)

    def _on_answered(self, event: cygrpc.BatchOperationEvent) -> None:
        if self._is_awaited:
            self._completed()
        else:
            self._read_peer()  # for who keeps the call
            self._core = self._handler = None
            self._keeper.forget()

    def _release(self) -> None:
        self._handler = self._pending = None
