"""Clients of a KServe v2 server with streams: small, typed, and knowing only the wire."""

from ovms_mp_clients.client import Client
from ovms_mp_clients.errors import (
    CallFailed,
    ClientError,
    ConnectionLost,
    RequestRefused,
)
from ovms_mp_clients.streaming import Stream
from ovms_mp_clients.tensors import Result

__all__ = (
    "CallFailed",
    "Client",
    "ClientError",
    "ConnectionLost",
    "RequestRefused",
    "Result",
    "Stream",
)
