"""One call, whichever transport carries it: its facts, its metadata, and that whatever
its handler does becomes a status.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from typing import Final, TypeVar, cast

from ovms_mp.frontend.transport.seam import (
    INTERNAL,
    Abort,
    Admission,
    Call,
    Code,
    Ending,
    Metadata,
    checked,
)
from ovms_mp.telemetry import requests

log = logging.getLogger(__name__)

R = TypeVar("R")

# As grpcio says it.
NO_METHOD = Ending(Code.UNIMPLEMENTED, "Method not found!")
NO_MESSAGE = Ending(
    Code.UNIMPLEMENTED, "the method takes exactly one message, and none came"
)
EXPIRED = Ending(
    Code.DEADLINE_EXCEEDED, "the deadline passed before the call was served"
)
GOING = Ending(Code.UNAVAILABLE, "the server is shutting down")
"""Of calls that no thread has taken up when it begins to, which gRPC's core would say were
cancelled."""
CATCH_UP_SECONDS: Final = 1.0
"""To take them up; then who is still left hears what the core says."""
MAX_KEPT: Final = 1000
"""Of those that wait to be told so until their connections know that the server goes: who
were told before would ask once more, and meet the goodbye."""

_INTERFACE: Final = "gRPC"
# gRPC's core has told the client which it is, and nobody else.
_NO_MESSAGE: Final = (
    "NO_MESSAGE",
    "none was sent, or one that is too large or compressed, or the client has left",
)


class ServedCall:
    """What calls of every transport and both kinds know and do. See `seam.Call`."""

    __slots__ = (
        "__weakref__",
        "_initial_metadata",
        "_is_lost",
        "_trailing_metadata",
        "deadline",
        "invocation_metadata",
        "method",
    )

    def __init__(
        self, method: str, invocation_metadata: Metadata, deadline: float | None
    ) -> None:
        self.method = method
        self.invocation_metadata = invocation_metadata
        self.deadline = deadline
        self._is_lost = False
        self._initial_metadata: Metadata = ()
        self._trailing_metadata: Metadata = ()

    @property
    def time_remaining(self) -> float | None:
        """See `seam.Call`."""
        if self.deadline is None:
            return None
        return max(0.0, self.deadline - time.monotonic())

    @property
    def is_expired(self) -> bool:
        """Whether the deadline has passed."""
        return self.deadline is not None and self.deadline <= time.monotonic()

    @property
    def is_cancelled(self) -> bool:
        """See `seam.Call`."""
        return self._is_lost or self.is_expired

    @property
    def initial_metadata(self) -> Metadata:
        """See `seam.Call`."""
        return self._initial_metadata

    @initial_metadata.setter
    def initial_metadata(self, metadata: Iterable[tuple[str, str | bytes]]) -> None:
        self._initial_metadata = checked(metadata)

    @property
    def trailing_metadata(self) -> Metadata:
        """See `seam.Call`."""
        return self._trailing_metadata

    @trailing_metadata.setter
    def trailing_metadata(self, metadata: Iterable[tuple[str, str | bytes]]) -> None:
        self._trailing_metadata = checked(metadata)

    def _attempt(self, callback: Callable[..., R], *arguments: object) -> R | Ending:
        """What `callback` returns, or the status that it ends the call with; what is
        not an Abort is logged.
        """
        try:
            return callback(*arguments)
        except Abort as abort:
            return abort.ending
        # SystemExit or KeyboardInterrupt would end the thread that serves everybody.
        except BaseException as error:
            log.error("%s: the handler failed", self.method, exc_info=error)
            return INTERNAL

    def _failed(self, ending: Ending) -> Ending:
        """`ending`, which is none of a handler's making: the log hears of it here."""
        code, text = ending.code.name, ending.details
        if ending is NO_MESSAGE:
            code, text = _NO_MESSAGE
        method = self.method.rpartition("/")[2]
        requests.failed(_INTERFACE, method, "", code, text)
        return ending

    def _refused(self, admission: Admission | None) -> Ending | None:
        """How the call ends at once; None if it may go on."""
        if admission is None:
            return None
        answer = self._attempt(admission, cast("Call", self))
        return answer if isinstance(answer, Ending) else None

    def _sendable(self, answer: object, limit: int | None) -> bytes | Ending:
        """What a handler answered, or the status of a call that has no such answer."""
        if isinstance(answer, bytes):
            ending = too_large(answer, limit)
            return answer if ending is None else self._failed(ending)
        if isinstance(answer, Ending):
            return answer
        kind = type(answer).__name__
        log.error("%s: the handler's answer is %s, not bytes", self.method, kind)
        return INTERNAL


def unknown(method: str) -> Ending:
    """How a call ends of what is not there; the log hears of it."""
    requests.failed(_INTERFACE, "call", method, NO_METHOD.code.name, NO_METHOD.details)
    return NO_METHOD


def late(method: str) -> Ending:
    """How a call ends that was not taken up in time; the log hears of it."""
    name = method.rpartition("/")[2]
    requests.failed(_INTERFACE, name, "", GOING.code.name, GOING.details)
    return GOING


def too_large(message: bytes, limit: int | None) -> Ending | None:
    """The status of a call whose answer is larger than the server may send."""
    if limit is None or len(message) <= limit:
        return None
    return Ending(
        Code.RESOURCE_EXHAUSTED,
        f"a response has {len(message)} bytes, and at most {limit} may be sent",
    )
