"""Clients of a KServe v2 server with streams: small, typed, and knowing only the wire."""

from ovms_mp_clients.aio import AsyncClient
from ovms_mp_clients.aio_streaming import AsyncStream
from ovms_mp_clients.backoff import Backoff
from ovms_mp_clients.calls import ServableMetadata, ServerMetadata, TensorInfo
from ovms_mp_clients.channel import Keepalive
from ovms_mp_clients.client import Client
from ovms_mp_clients.errors import (
    CallFailed,
    ClientError,
    ConnectionLost,
    RequestRefused,
    TimedOut,
)
from ovms_mp_clients.streaming import Stream
from ovms_mp_clients.tensors import Result

__all__ = (
    "AsyncClient",
    "AsyncStream",
    "Backoff",
    "CallFailed",
    "Client",
    "ClientError",
    "ConnectionLost",
    "Keepalive",
    "RequestRefused",
    "Result",
    "ServableMetadata",
    "ServerMetadata",
    "Stream",
    "TensorInfo",
    "TimedOut",
)
