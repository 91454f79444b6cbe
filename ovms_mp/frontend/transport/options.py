"""What every transport takes for granted unless it is told otherwise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

RECEIVE_BYTES: Final = 4 << 20
"""What a message of a client may have: gRPC's own default."""

SEND_LIMIT: Final = 64
"""Messages of a stream that may wait."""

MAX_WAITING_CALLS: Final = 10_000
"""Calls that have come and that no thread has taken up yet; the core cancels others. A
call that waits takes some 10 KiB. (By itself gRPC begins to cancel at 1,000, by chance
at first: what a burst of many clients, or the flood of one, has others lose.)
"""


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
        "grpc.server.max_pending_requests": MAX_WAITING_CALLS,
        "grpc.server.max_pending_requests_hard_limit": MAX_WAITING_CALLS,
        **dict(options),
    }
