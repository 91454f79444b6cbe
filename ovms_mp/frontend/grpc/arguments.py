"""gRPC's channel arguments of a server whose clients are strangers; those that the operator
gives come after them, and win.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

HANDSHAKE_MS: Final = 10_000
"""For TLS, and for the first frame of HTTP/2: gRPC by itself waits for two minutes."""
PING_MS: Final = 10_000
"""Between two pings of a silent connection. gRPC's default takes a client that asks more
often than every five minutes for an attacker; it only wants to know if we are alive."""
LOOKAHEAD_BYTES: Final = 3 << 20
"""gRPC reads ahead of us what it thinks is under way, for each stream. Its estimate grows
with a busy machine's delays: 76 MiB were kept for a client that did not read its answers.
3 MiB let a client 100 ms away send 30 MiB/s."""

_IDENTITY, _ALL = 0b001, 0b111


def arguments(
    *,
    max_metadata_bytes: int,
    max_concurrent_streams: int = 0,
    allows_compression: bool = False,
) -> Sequence[tuple[str, int]]:
    """For each connection. 0 streams are as many as it likes.

    Without compression nothing is inflated: 0.9 MB can become as much as a message may
    have, and 3 GB while it does.
    """
    algorithms = _ALL if allows_compression else _IDENTITY
    return (
        ("grpc.compression_enabled_algorithms_bitset", algorithms),
        # Both: between them gRPC refuses by chance, the more often the more there are.
        ("grpc.max_metadata_size", max_metadata_bytes),
        ("grpc.absolute_max_metadata_size", max_metadata_bytes),
        ("grpc.server_handshake_timeout_ms", HANDSHAKE_MS),
        ("grpc.http2.min_ping_interval_without_data_ms", PING_MS),
        ("grpc.http2.bdp_probe", 0),
        ("grpc.http2.lookahead_bytes", LOOKAHEAD_BYTES),
        *(
            [("grpc.max_concurrent_streams", max_concurrent_streams)]
            if max_concurrent_streams
            else ()
        ),
    )
