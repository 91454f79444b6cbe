"""What `core` takes for granted of grpcio's private API is tried before it is relied on:
one call of each kind and end, in this process, over a socket without network or file.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Final

import grpc

from ovms_mp.core.pending import Pending
from ovms_mp.frontend.transport.seam import (
    Abort,
    Call,
    Code,
    Handler,
    Session,
    StreamCall,
    stream,
    unary,
)

if TYPE_CHECKING:
    from ovms_mp.frontend.transport.core import CoreServer

# All of it takes some 20 ms; a machine may be busy.
_SECONDS: Final = 10.0

_NAMES: Final = {
    "BatchOperationEvent": ("batch_operations", "completion_type", "success", "tag"),
    "Call": ("cancel", "peer", "start_server_batch"),
    "CallDetails": ("deadline", "method"),
    "CompletionQueue": ("poll", "shutdown"),
    "CompletionType": ("queue_shutdown",),
    "ReceiveCloseOnServerOperation": ("cancelled",),
    "ReceiveMessageOperation": ("message",),
    "RequestCallEvent": ("call", "call_details", "invocation_metadata", "success"),
    "SendInitialMetadataOperation": (),
    "SendMessageOperation": (),
    "SendStatusFromServerOperation": (),
    "Server": (
        *("add_http2_port", "cancel_all_calls", "destroy", "register_completion_queue"),
        *("request_call", "shutdown", "start"),
    ),
    "ServerShutdownEvent": ("completion_type", "tag"),
    "SslPemKeyCertPair": (),
    "server_credentials_ssl": (),
}

_METADATA: Final = (("key", "value"), ("key-bin", b"\x00\xff"))


class _Unforeseen(Exception):
    """The private API does something else; the message says what."""


def why_not() -> str | None:
    """Why `core` cannot be used with the grpcio that is installed; None if it can."""
    try:
        _check_names()
        # Here, for it could not be imported without these.
        from ovms_mp.frontend.transport.core import CoreServer

        _check(CoreServer)
    except Exception as error:
        # In one line, whatever it is.
        text = " ".join(str(error).split())
        return f"grpcio {grpc.__version__}: {type(error).__name__}: {text}"
    return None


def _check_names() -> None:
    from grpc._cython import cygrpc

    for name, members in _NAMES.items():
        found = getattr(cygrpc, name, None)
        missing = [member for member in members if not hasattr(found, member)]
        _expect(found is not None and not missing, f"{name} is gone, or its {missing}")


def _check(kind: type[CoreServer]) -> None:
    service = _Service()
    address = f"unix-abstract:ovms_mp-{os.getpid()}-{threading.get_native_id()}"
    server = kind(service.routes(), [address])
    is_stopped = False
    try:
        server.start()
        with grpc.insecure_channel(address) as channel:
            _check_unary(channel)
            _check_refusal(channel)
            _check_stream(channel)
            _check_cancellation(channel, service)
    finally:
        # Without a grace the channel, if it is not gone yet, logs that it was cut off.
        is_stopped = server.stop(_SECONDS, 0)
    _expect(is_stopped, "the server does not stop")
    _expect(server.calls_in_flight == 0, "calls are left over")
    _expect(
        sorted(service.heard) == ["stream cancelled", "stream half-closed"],
        f"of two streams is heard: {service.heard}",
    )


def _check_unary(channel: grpc.Channel) -> None:
    answer, call = _unary(channel, "unary").with_call(
        b"ask", timeout=_SECONDS, metadata=_METADATA
    )
    _expect(answer == b"ask", f"an answer is {answer!r}")
    _expect_metadata(call.initial_metadata())
    _expect_metadata(call.trailing_metadata())


def _check_refusal(channel: grpc.Channel) -> None:
    call = _unary(channel, "refusal").future(b"", timeout=_SECONDS)
    _expect(call.code() is grpc.StatusCode.ABORTED, f"a code is {call.code()}")
    _expect(call.details() == "no", f"details are {call.details()!r}")
    _expect_metadata(call.trailing_metadata())


def _check_stream(channel: grpc.Channel) -> None:
    call = _stream(channel)(iter((b"1", b"2")), timeout=_SECONDS)
    answers = list(call)
    _expect(answers == [b"1", b"2"], f"a stream's answers are {answers}")
    _expect_metadata(call.trailing_metadata())


def _check_cancellation(channel: grpc.Channel, service: _Service) -> None:
    is_over = threading.Event()

    def requests() -> Iterator[bytes]:
        yield b"1"
        is_over.wait(_SECONDS)

    stream = _stream(channel)(requests(), timeout=_SECONDS)
    pending = _unary(channel, "pending").future(b"", timeout=_SECONDS)
    _expect(next(stream) == b"1", "a stream's first answer is wrong")
    _expect(service.is_asked.wait(_SECONDS), "a call does not come")
    stream.cancel()
    pending.cancel()
    is_over.set()
    _expect(service.is_cancelled.wait(_SECONDS), "a cancellation is not heard of")


def _unary(
    channel: grpc.Channel, name: str
) -> grpc.UnaryUnaryMultiCallable[bytes, bytes]:
    return channel.unary_unary(f"/check/{name}")


def _stream(channel: grpc.Channel) -> grpc.StreamStreamMultiCallable[bytes, bytes]:
    return channel.stream_stream("/check/stream")


def _expect_metadata(metadata: Iterable[tuple[str, str | bytes]]) -> None:
    found = set(metadata)
    _expect(found >= set(_METADATA), f"metadata are {found}")


def _expect(is_so: bool, otherwise: str) -> None:
    if not is_so:
        raise _Unforeseen(otherwise)


class _Service:
    """What is called, and what it hears."""

    def __init__(self) -> None:
        self.is_asked = threading.Event()
        self.is_cancelled = threading.Event()
        self.heard: list[str] = []

    def routes(self) -> Mapping[str, Handler]:
        return {
            "/check/unary": unary(_echo, is_reserved=True),
            "/check/refusal": unary(_refuse),
            "/check/pending": unary(self.wait),
            "/check/stream": stream(lambda: _Echo(self.heard)),
        }

    def wait(self, message: bytes, call: Call) -> Pending[bytes]:
        self.is_asked.set()
        return Pending[bytes](self.is_cancelled.set)


class _Echo(Session):
    def __init__(self, heard: list[str]) -> None:
        self._heard = heard

    def on_open(self, call: StreamCall) -> None:
        self._call = call
        call.trailing_metadata = _METADATA
        call.request_next()

    def on_message(self, message: bytes) -> None:
        self._call.write(message, lambda _: self._call.request_next())

    def on_half_close(self) -> None:
        self._heard.append("stream half-closed")
        self._call.finish()

    def on_cancel(self) -> None:
        self._heard.append("stream cancelled")


def _echo(message: bytes, call: Call) -> bytes:
    call.initial_metadata = call.trailing_metadata = _METADATA
    return message


def _refuse(message: bytes, call: Call) -> bytes:
    raise Abort(Code.ABORTED, "no", _METADATA)
