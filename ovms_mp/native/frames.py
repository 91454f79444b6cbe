"""Server and worker speak in frames: a JSON header and raw buffers, nothing that could
run code on either side.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence

MAX_HEADER: Final = 64 << 20
MAX_BUFFERS: Final = 1 << 30


class Item(NamedTuple):
    """A payload on its way: what it is, its JSON half, its buffers."""

    kind: str
    meta: Any
    buffers: Sequence[Any] = ()


class Frame(NamedTuple):
    """One request or one answer."""

    header: dict[str, Any]
    buffers: list[bytearray]


class FrameError(Exception):
    """The other side does not speak this protocol."""


def send(link: socket.socket, header: dict[str, Any], buffers: Sequence[Any]) -> None:
    """Raises OSError when the other side is gone."""
    views = [memoryview(each).cast("B") for each in buffers]
    data = json.dumps([header, [len(view) for view in views]]).encode()
    link.sendall(len(data).to_bytes(4, "big") + data)
    for view in views:
        link.sendall(view)


def receive(link: socket.socket) -> Frame:
    """Raises EOFError when the other side is gone, FrameError for what is no frame."""
    size = int.from_bytes(_exactly(link, 4), "big")
    if size > MAX_HEADER:
        raise FrameError("the header is too long")
    try:
        header, sizes = json.loads(_exactly(link, size))
        sizes = [int(each) for each in sizes]
        is_sound = isinstance(header, dict) and min(sizes, default=0) >= 0
    except (TypeError, ValueError, RecursionError) as error:
        raise FrameError("the header cannot be read") from error
    if not is_sound or sum(sizes) > MAX_BUFFERS:
        raise FrameError("the header is wrong")
    return Frame(header, [_exactly(link, each) for each in sizes])


def _exactly(link: socket.socket, size: int) -> bytearray:
    data = bytearray(size)
    view = memoryview(data)
    while view:
        count = link.recv_into(view)
        if not count:
            raise EOFError
        view = view[count:]
    return data
