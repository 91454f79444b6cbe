"""What can go wrong with a call, by what the caller can do about it."""

from __future__ import annotations

import grpc


class ClientError(Exception):
    """Base of this package's errors. `code` is the gRPC status, if there is one."""

    def __init__(self, message: str, code: grpc.StatusCode | None = None) -> None:
        super().__init__(message)
        self.code = code


class RequestRefused(ClientError):
    """The server refused one request of a stream; the stream lives on.

    `timestamp` says which request, where the server tells.
    """

    def __init__(
        self,
        message: str,
        code: grpc.StatusCode | None = None,
        timestamp: int | None = None,
    ) -> None:
        super().__init__(message, code)
        self.timestamp = timestamp


class CallFailed(ClientError):
    """The server ended the call with this status: the request was wrong, or its work
    failed. Sending the same again would fail again.
    """


class TimedOut(ClientError, TimeoutError):
    """What was waited for did not come in the time that the caller gave it."""


class ConnectionLost(ClientError):
    """The server, or the way to it, is gone. Of a stream the state is gone, too: open a
    new one and start over; it cannot be resumed.
    """


# A server that dies, drains or is cut off by a proxy shows up as one of these.
_LOST = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.CANCELLED,
    }
)


# What grpc.aio calls a write that failed under it because the connection broke, when it
# learns that before the status of the call.
_BROKEN_WRITE = "Internal error from Core"


def from_rpc(error: grpc.RpcError) -> ClientError:
    """The error that says what a caller can do."""
    return from_status(error.code(), error.details())


def from_status(code: grpc.StatusCode, details: str | None) -> ClientError:
    """The error that says what a caller can do, for the end of a call."""
    if code is grpc.StatusCode.INTERNAL and (details or "").startswith(_BROKEN_WRITE):
        code = grpc.StatusCode.UNAVAILABLE
    message = f"{code.name}: {details or ''}"
    if code in _LOST:
        return ConnectionLost(message, code)
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return TimedOut(message, code)
    return CallFailed(message, code)


def code_named(name: str) -> grpc.StatusCode | None:
    """The status of this name, such as INVALID_ARGUMENT; None for another text."""
    return grpc.StatusCode.__members__.get(name)
