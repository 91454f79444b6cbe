"""What every transport takes for granted unless it is told otherwise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

RECEIVE_BYTES: Final = 4 << 20
"""What a message of a client may have: gRPC's own default."""

SEND_LIMIT: Final = 64
"""Messages of a stream that may wait."""


def channel_arguments(
    max_receive_bytes: int, options: Sequence[tuple[str, str | int]]
) -> Mapping[str, str | int]:
    """GRPC's channel arguments of a server; `options` override what is set here."""
    return {
        "grpc.max_receive_message_length": max_receive_bytes,
        # Checked before it comes to that, so that the client reads why.
        "grpc.max_send_message_length": -1,
        # A second server on a port would silently get half of the calls.
        "grpc.so_reuseport": 0,
        # Otherwise a call counts against `grpc.max_concurrent_streams` until the core has
        # freed it, which is later than its client knows: who keeps to the limit would be
        # refused the next call every now and then.
        "grpc.http.overload_protection": 0,
        **dict(options),
    }
