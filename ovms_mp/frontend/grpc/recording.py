"""Whoever wants to know of each gRPC call that it has begun, and how it ended: a line in the
log, a span. Otherwise nothing of this is on a call's way.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias, cast

from ovms_mp.core.pending import Cancelled, Pending
from ovms_mp.frontend.grpc.wire import first_text
from ovms_mp.frontend.transport.seam import (
    Abort,
    Admission,
    Call,
    Code,
    Handler,
    Session,
    SessionFactory,
    StreamCall,
    Unary,
    UnaryHandler,
)
from ovms_mp.telemetry import requests

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from ovms_mp.frontend.transport.seam import Metadata

INTERFACE: Final = "gRPC"


class Record(Protocol):
    """Of one call."""

    def here(self) -> AbstractContextManager[object]:
        """What is done within the block is done for the call."""
        ...

    def over(self, servable: str, code: str) -> None:
        """It has ended with this code; `servable` is what it named, if it came to that."""
        ...


Begin: TypeAlias = "Callable[[str, Metadata], Record]"
"""Has the method of a call that begins, and its metadata, if these are known already."""


class LogLine:
    """A Record in the log."""

    def __init__(self, method: str, metadata: Metadata) -> None:
        self._method = method
        self._begun = perf_counter()

    def here(self) -> AbstractContextManager[object]:
        """See Record."""
        return nullcontext()

    def over(self, servable: str, code: str) -> None:
        """See Record."""
        took = perf_counter() - self._begun
        requests.answered(INTERFACE, self._method, servable, code, took)


def recorded(
    routes: Mapping[str, Handler], begin: Begin = LogLine
) -> Mapping[str, Handler]:
    """These routes, each of whose calls has a record."""
    return {
        path: _recorded(handler, partial(begin, method_of(path)))
        for path, handler in routes.items()
    }


def method_of(path: str) -> str:
    """The method's name without its service."""
    return path.rpartition("/")[2]


def failed(call: Call, servable: str, error: Abort) -> None:
    """Log why a call ends."""
    method = method_of(call.method)
    requests.failed(INTERFACE, method, servable, error.code.name, error.details)


_BeginCall: TypeAlias = "Callable[[Metadata], Record]"


def _recorded(handler: Handler, begin: _BeginCall) -> Handler:
    admission = handler.admission and _recorded_admission(handler.admission, begin)
    if isinstance(handler, Unary):
        call = _recorded_call(handler.handler, begin)
        return replace(handler, handler=call, admission=admission)
    factory = partial(_RecordedSession, handler.factory, begin)
    return replace(handler, factory=factory, admission=admission)


def _recorded_admission(admission: Admission, begin: _BeginCall) -> Admission:
    def admit(call: Call) -> None:
        begun = begin(call.invocation_metadata)
        try:
            admission(call)
        except Abort as error:
            begun.over("", error.code.name)
            raise

    return admit


def _recorded_call(handler: UnaryHandler, begin: _BeginCall) -> UnaryHandler:
    def answer(message: bytes, call: Call) -> bytes | Pending[bytes]:
        record = begin(call.invocation_metadata)

        def tell(error: BaseException | None) -> None:
            record.over(first_text(message), _code_of(error))

        try:
            with record.here():
                answer = handler(message, call)
        except BaseException as error:
            tell(error)
            raise
        if isinstance(answer, Pending):
            answer.on_settled(lambda settled: tell(settled.error))
        else:
            tell(None)
        return answer

    return answer


def _code_of(error: BaseException | None) -> str:
    match error:
        case None:
            return Code.OK.name
        case Abort():
            return error.code.name
        case Cancelled():
            return Code.CANCELLED.name
        case _:
            return Code.INTERNAL.name


class _RecordedSession(Session):
    """A session whose end is told; the servable is the one that its first message
    names.
    """

    def __init__(self, factory: SessionFactory, begin: _BeginCall) -> None:
        self._factory = factory
        self._begin = begin
        self._record: Record | None = None
        self._servable = ""
        self._session: Session | None = None
        self._is_over = False

    def on_open(self, call: StreamCall) -> None:
        self._record = self._begin(call.invocation_metadata)
        try:
            self._session = self._factory()
            heard = cast("StreamCall", _RecordedStream(call, self._tell))
            self._session.on_open(heard)
        except Abort as error:
            self._tell(error.code)
            raise

    def on_message(self, message: bytes) -> None:
        if not self._servable:
            self._servable = first_text(message)
        if self._session is not None:
            assert self._record is not None
            with self._record.here():
                self._session.on_message(message)

    def on_half_close(self) -> None:
        if self._session is not None:
            self._session.on_half_close()

    def on_cancel(self) -> None:
        self._tell(Code.CANCELLED)
        if self._session is not None:
            self._session.on_cancel()

    def _tell(self, code: Code) -> None:
        if self._is_over or self._record is None:
            return
        self._is_over = True
        self._record.over(self._servable, code.name)


class _RecordedStream:
    """The call, which tells how its session ends it; the rest of it is as it is."""

    def __init__(self, call: StreamCall, tell: Callable[[Code], object]) -> None:
        self._call = call
        self._tell = tell

    def __getattr__(self, name: str) -> object:
        return getattr(self._call, name)

    def finish(
        self, code: Code = Code.OK, details: str = "", trailing_metadata: Metadata = ()
    ) -> bool:
        is_settled = self._call.finish(code, details, trailing_metadata)
        if is_settled:
            self._tell(code)
        return is_settled
