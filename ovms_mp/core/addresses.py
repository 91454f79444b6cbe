"""Where servers listen: host names become what sockets can be bound to."""

from __future__ import annotations

import socket
from typing import Final

UNIX: Final = "unix:"
"""What the address of a Unix socket begins with, as gRPC writes it."""


def text(host: str, port: int | str) -> str:
    """`host:port`, as gRPC and people write it; a Unix socket has no port."""
    if host.startswith(UNIX):
        return host
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def resolved(host: str) -> list[tuple[socket.AddressFamily, str]]:
    """The families and addresses of a name. Raises OSError naming the host."""
    try:
        found = socket.getaddrinfo(
            host, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except OSError as error:
        details = f"cannot listen on {host}: {error.strerror}"
        raise OSError(details) from error
    return [(family, str(address[0])) for family, _, _, _, address in found]


def bound(
    host: str,
    address: tuple[socket.AddressFamily, str],
    port: int,
    *,
    is_shared: bool = False,
) -> socket.socket:
    """A TCP socket at an address of `host`; port 0 is a free one. With `is_shared`,
    other processes may listen there, too, if they say so as well (SO_REUSEPORT).

    Raises OSError naming what cannot be bound.
    """
    family, ip = address
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        # What connections of a server before this one left in TIME_WAIT is no matter.
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            # So that `0.0.0.0,::` is two listeners, not a conflict.
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if is_shared:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        made.bind((ip, port))
    except OSError as error:
        made.close()
        raise _taken(host, port, error) from error
    return made


def listen(listener: socket.socket, host: str, port: int) -> None:
    """Listen. Raises OSError naming the address if somebody else does."""
    try:
        listener.listen()
    except OSError as error:
        raise _taken(host, port, error) from error


def _taken(host: str, port: int, error: OSError) -> OSError:
    details = f"cannot listen on {text(host, port)}: {error.strerror}"
    return OSError(details)
