"""A line in the log for each gRPC call, if the operator wants that; otherwise nothing of
this is on a call's way.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Final, cast

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

    from ovms_mp.frontend.transport.seam import Metadata

INTERFACE: Final = "gRPC"


def recorded(routes: Mapping[str, Handler]) -> Mapping[str, Handler]:
    """These routes, each of whose calls is logged when it is over."""
    return {
        path: _recorded(handler, method_of(path)) for path, handler in routes.items()
    }


def method_of(path: str) -> str:
    """The method's name without its service."""
    return path.rpartition("/")[2]


def failed(call: Call, servable: str, error: Abort) -> None:
    """Log why a call ends."""
    method = method_of(call.method)
    requests.failed(INTERFACE, method, servable, error.code.name, error.details)


def _recorded(handler: Handler, method: str) -> Handler:
    admission = handler.admission and _recorded_admission(handler.admission, method)
    if isinstance(handler, Unary):
        call = _recorded_call(handler.handler, method)
        return replace(handler, handler=call, admission=admission)
    factory = partial(_RecordedSession, handler.factory, method)
    return replace(handler, factory=factory, admission=admission)


def _recorded_admission(admission: Admission, method: str) -> Admission:
    def admit(call: Call) -> None:
        begun = perf_counter()
        try:
            admission(call)
        except Abort as error:
            took = perf_counter() - begun
            requests.answered(INTERFACE, method, "", error.code.name, took)
            raise

    return admit


def _recorded_call(handler: UnaryHandler, method: str) -> UnaryHandler:
    def answer(message: bytes, call: Call) -> bytes | Pending[bytes]:
        begun = perf_counter()

        def tell(error: BaseException | None) -> None:
            code = _code_of(error)
            took = perf_counter() - begun
            requests.answered(INTERFACE, method, first_text(message), code, took)

        try:
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
    """A session whose end is logged; the servable is the one that its first message
    names.
    """

    def __init__(self, factory: SessionFactory, method: str) -> None:
        self._factory = factory
        self._method = method
        self._begun = perf_counter()
        self._servable = ""
        self._session: Session | None = None
        self._is_over = False

    def on_open(self, call: StreamCall) -> None:
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
            self._session.on_message(message)

    def on_half_close(self) -> None:
        if self._session is not None:
            self._session.on_half_close()

    def on_cancel(self) -> None:
        self._tell(Code.CANCELLED)
        if self._session is not None:
            self._session.on_cancel()

    def _tell(self, code: Code) -> None:
        if self._is_over:
            return
        self._is_over = True
        took = perf_counter() - self._begun
        requests.answered(INTERFACE, self._method, self._servable, code.name, took)


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
