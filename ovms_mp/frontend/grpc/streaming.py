"""ModelStreamInfer: the first request chooses the servable, and from then on the call
is one client's session with it.

As OVMS, with these differences: what ends a stream is sent at once, not after the next
request; an error_message carries the request's id and a code; a message that cannot be
parsed is an error_message too, since the stream it came on is intact.

As Triton, a client that says so in the call's metadata gets no error_message: the first
refusal is the status of the call, and its end.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Final, Protocol

from ovms_mp_protos import kserve

from ovms_mp.core.errors import ServingError, Status
from ovms_mp.core.messages import InferRequest, InferResponse
from ovms_mp.frontend.grpc.codec import (
    decode_request,
    encode_stream_error,
    encode_stream_response,
)
from ovms_mp.frontend.grpc.outlet import Line, Outlet
from ovms_mp.frontend.grpc.quota import UNLIMITED, Quota
from ovms_mp.frontend.grpc.recording import INTERFACE, method_of
from ovms_mp.frontend.grpc.status import Outcome, outcome_of
from ovms_mp.frontend.grpc.wire import MalformedMessage, first_text
from ovms_mp.frontend.transport.seam import Session, StreamCall
from ovms_mp.servable.base import StreamSession, StreamSink
from ovms_mp.telemetry import requests

if TYPE_CHECKING:
    from collections.abc import Callable

METHOD: Final = method_of(kserve.MODEL_STREAM_INFER)

STRICT: Final = ("triton_grpc_error", "true")
"""The metadata by which a client asks for a status instead of an error_message."""


class Opens(Protocol):
    """What a stream asks of whoever knows the servables."""

    def open_stream(self, request: InferRequest, sink: StreamSink) -> StreamSession:
        """See Servable."""
        ...


class Wire(ABC):
    """How what is said on a stream is written. `interface` and `method` are what the log
    calls it.
    """

    def __init__(self, interface: str, method: str) -> None:
        self.interface: Final = interface
        self.method: Final = method

    @abstractmethod
    def decode(self, message: bytes) -> InferRequest:
        """Raises MalformedMessage, ServingError."""

    @abstractmethod
    def named(self, message: bytes) -> str:
        """The servable that a message is for, which may be broken; "" if none is told."""

    @abstractmethod
    def response(self, answer: InferResponse) -> bytes:
        """An answer as a message."""

    @abstractmethod
    def error(self, text: str, code: str, name: str, identity: str) -> bytes:
        """The refusal of a request on a stream that goes on."""


class Protobuf(Wire):
    """ModelStreamInfer's own. Requests hold at most `quota` together."""

    def __init__(self, quota: Quota = UNLIMITED) -> None:
        super().__init__(INTERFACE, METHOD)
        self._quota = quota

    def decode(self, message: bytes) -> InferRequest:
        """See Wire."""
        return decode_request(message, self._quota)

    def named(self, message: bytes) -> str:
        """See Wire."""
        return first_text(message)

    def response(self, answer: InferResponse) -> bytes:
        """See Wire."""
        return encode_stream_response(answer)

    def error(self, text: str, code: str, name: str, identity: str) -> bytes:
        """See Wire."""
        return encode_stream_error(text, code, name, identity)


PROTOBUF: Final = Protobuf()


class ModelStream(Session):
    """One ModelStreamInfer call: the transport's Session and the servable's StreamSink.

    The transport calls `on_…` in its thread, one at a time; the servable's session
    calls the others from any thread, one at a time.
    """

    def __init__(
        self,
        catalog: Opens,
        on_over: Callable[[], object] | None = None,
        wire: Wire = PROTOBUF,
    ) -> None:
        """`on_over` is called when it is over, once."""
        self._catalog = catalog
        self._on_over = on_over
        self._wire = wire
        self._session: StreamSession | None = None
        self._name = ""

    def on_open(self, call: StreamCall) -> None:
        """Read the first request."""
        self.open(call, is_strict=STRICT in call.invocation_metadata)

    def open(self, line: Line, *, is_strict: bool) -> None:
        """The same, for who is no transport of gRPC's."""
        self._is_strict = is_strict
        self._outlet = Outlet(line, self._on_over)
        self._outlet.allow_next()

    def on_message(self, message: bytes) -> None:
        """Open the session, or feed it."""
        if self._outlet.is_finished:
            return
        try:
            request = self._wire.decode(message)
            if self._session is not None:
                self._session.feed(request)
                return
            self._name = request.model_name
            self._session = self._catalog.open_stream(request, self)
        except (MalformedMessage, ServingError) as error:
            self._name = self._name or self._wire.named(message)
            self._refuse(error)
        except Exception as error:
            self._outlet.fail(self._failure(error))
        else:
            self._outlet.attach(self._session)

    def on_half_close(self) -> None:
        """Let the session finish what it has."""
        if self._session is None:
            error = ServingError(Status.MEDIAPIPE_UNINITIALIZED_STREAM_CLOSURE)
            self._outlet.finish(self._failure(error))
        elif not self._outlet.is_finished:
            self._session.half_close()

    def on_cancel(self) -> None:
        """Drop the session with all that it has, unless it has come to its end."""
        self._outlet.close()

    def response(self, response: InferResponse) -> None:
        """See StreamSink."""
        try:
            self._outlet.put(self._wire.response(response))
        except Exception as error:
            self._outlet.fail(self._failure(error))

    def error(self, error: ServingError, request: InferRequest) -> None:
        """See StreamSink."""
        self._report(error, request)

    def room(self) -> None:
        """See StreamSink."""
        self._outlet.allow_next()

    def finished(self, error: ServingError | None) -> None:
        """See StreamSink."""
        if error is None:
            self._outlet.finish()
        else:
            self._outlet.finish(self._failure(error))

    def _refuse(self, error: MalformedMessage | ServingError) -> None:
        """Without a session the stream has no sense; with one, it goes on."""
        if self._session is None:
            self._outlet.finish(self._failure(error))
            return
        self._report(error, None)
        self._outlet.allow_next()  # the room that the session gave was not taken

    def _failure(self, error: Exception, name: str = "") -> Outcome:
        """How it fails for the client; the log hears of it."""
        outcome = outcome_of(error)
        code, text = outcome
        wire = self._wire
        requests.failed(
            wire.interface, wire.method, name or self._name, code.name, text
        )
        return outcome

    def _report(self, error: Exception, request: InferRequest | None) -> None:
        name, request_id = self._name, ""
        if request is not None:
            name, request_id = request.model_name, request.id
        code, text = outcome = self._failure(error, name)
        if self._is_strict:
            self._outlet.fail(outcome)
            return
        self._outlet.put(self._wire.error(text, code.name, name, request_id))
