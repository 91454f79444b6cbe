"""What can go wrong with a call, by what the caller can do about it."""

from __future__ import annotations

import grpc


class ClientError(Exception):
    """Base of this package's errors. `code` is the gRPC status, if there is one."""

    def __init__(self, message: str, code: grpc.StatusCode | None = None) -> None:
        super().__init__(message)
        self.code = code


class RequestRefused(ClientError):
    """The server refused one request of a stream; the stream lives on."""


class CallFailed(ClientError):
    """The server ended the call with this status: the request was wrong, or its work
    failed. Sending the same again would fail again.
    """


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


def from_rpc(error: grpc.RpcError) -> ClientError:
    """The error that says what a caller can do."""
    if not isinstance(error, grpc.Call):
        return ConnectionLost(str(error))
    code, details = error.code(), error.details() or ""
    message = f"{code.name}: {details}"
    return (ConnectionLost if code in _LOST else CallFailed)(message, code)
