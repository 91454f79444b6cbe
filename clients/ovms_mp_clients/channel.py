"""How a connection behaves, as gRPC's channel arguments; reasons are with the numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

Arguments: TypeAlias = "list[tuple[str, str | int]]"


@dataclass(frozen=True, slots=True)
class Keepalive:
    """How a peer that vanished without a word (no power, no network) is noticed.

    A ping goes out after `time` seconds in which a call was open and nothing came. When
    it, or anything else that was sent, is not acknowledged within `timeout` seconds,
    the connection and its streams are lost.

    A gRPC server as it comes takes more than one ping in five minutes without an answer
    of its own in between for an attack: the third ends the connection and every stream
    on it, however healthy. Hence the default `time`, which is also below the 350 seconds
    after which some load balancers forget a silent connection.
    Take less where the server allows it (`grpc.http2.min_ping_interval_without_data_ms`)
    or where answers never pause for long.

    `timeout` must outlast a stall of the network, and of a peer that is busy or paused;
    a stream lost for nothing has lost its state.
    """

    time: float = 330.0
    timeout: float = 20.0


KEEPALIVE: Final = Keepalive()

# While a server is away, gRPC pauses longer and longer between attempts to connect, up
# to two minutes. Whoever waits for it wants to know sooner.
_RECONNECT_MS: Final = {
    "grpc.initial_reconnect_backoff_ms": 200,
    "grpc.max_reconnect_backoff_ms": 5_000,
}


def arguments(
    keepalive: Keepalive | None, options: Mapping[str, str | int] | None
) -> Arguments:
    """The arguments of a channel; `options` override what is chosen here."""
    chosen: dict[str, str | int] = {
        # Frames and tensors are larger than gRPC's 4 MiB; the server has its own limit.
        "grpc.max_receive_message_length": -1,
        "grpc.max_send_message_length": -1,
        # A client is one connection: balancers spread connections, and what ends one
        # must not end another's streams.
        "grpc.use_local_subchannel_pool": 1,
        **_RECONNECT_MS,
    }
    if keepalive is not None:
        chosen["grpc.keepalive_time_ms"] = round(keepalive.time * 1000)
        chosen["grpc.keepalive_timeout_ms"] = round(keepalive.timeout * 1000)
        # Without this a peer whose kernel is alive has a minute, whatever is said above.
        chosen["grpc.http2.ping_timeout_ms"] = round(keepalive.timeout * 1000)
        # Else pings stop while the client has nothing to send.
        chosen["grpc.http2.max_pings_without_data"] = 0
    return [*(chosen | dict(options or {})).items()]
