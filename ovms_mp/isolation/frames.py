"""Two processes speak in frames: a JSON header and raw buffers, nothing that could run
code on either side.

Large buffers do not go through the socket: they lie in one anonymous piece of shared
memory, whose descriptor goes with the header. Whoever gets it maps it for reading, after
the kernel has promised that it will not shrink.
"""

from __future__ import annotations

import array
import contextlib
import fcntl
import json
import mmap
import os
import select
import socket
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_HEADER: Final = 64 << 20
MAX_BUFFERS: Final = 1 << 30

SHARED_FROM: Final = 1 << 16
"""Bytes of buffers from which on they are shared: below, two copies through the socket
cost less than a mapping."""

_ALIGNMENT: Final = 64
_PREFIX: Final = 4
_DESCRIPTOR: Final = socket.CMSG_SPACE(array.array("i", [0]).itemsize)


class Frame(NamedTuple):
    """One message. Buffers are bytearrays, or read-only views of shared memory."""

    header: dict[str, Any]
    buffers: list[Any]


class FrameError(Exception):
    """The other side does not speak this protocol."""


def send(link: socket.socket, header: dict[str, Any], buffers: Sequence[Any]) -> None:
    """Raises OSError when the other side is gone, TimeoutError when it does not read and
    the socket has a time limit.
    """
    views = [memoryview(each).cast("B") for each in buffers]
    sizes = [len(view) for view in views]
    is_shared = sum(sizes) >= SHARED_FROM
    data = json.dumps([header, sizes, is_shared]).encode()
    head = len(data).to_bytes(_PREFIX, "big") + data
    if not is_shared:
        _send(link, b"".join((head, *views)))
        return
    descriptor = _filled(views, sizes)
    try:
        count = socket.send_fds(link, [head], [descriptor])
    finally:
        os.close(descriptor)
    _send(link, memoryview(head)[count:])


def _send(link: socket.socket, data: bytes | memoryview) -> None:
    if data:
        link.sendall(data)


def _filled(views: Sequence[memoryview], sizes: Sequence[int]) -> int:
    flags = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
    descriptor = os.memfd_create("tensors", flags)
    try:
        offsets, total = _places(sizes)
        os.ftruncate(descriptor, total)
        for view, offset in zip(views, offsets, strict=True):
            rest, at = view, offset
            while rest:
                count = os.pwrite(descriptor, rest, at)
                rest, at = rest[count:], at + count
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _places(sizes: Sequence[int]) -> tuple[list[int], int]:
    offsets: list[int] = []
    end = 0
    for size in sizes:
        offsets.append(end)
        end += -(-size // _ALIGNMENT) * _ALIGNMENT
    return offsets, end


def is_waiting(link: socket.socket) -> bool:
    """Whether there is something to receive, or the end. Not by `select`, which knows no
    descriptor above 1023: a server has thousands.
    """
    poll = select.poll()
    poll.register(link, select.POLLIN)
    return bool(poll.poll(0))


def receive(link: socket.socket) -> Frame:
    """Raises EOFError when the other side is gone, FrameError for what is no frame."""
    first, descriptors, _, _ = socket.recv_fds(link, _PREFIX, 1)
    try:
        if not first:
            raise EOFError
        prefix = first + _exactly(link, _PREFIX - len(first))
        size = int.from_bytes(prefix, "big")
        if size > MAX_HEADER:
            raise FrameError("the header is too long")
        header, sizes, is_shared = _read(_exactly(link, size))
        if not is_shared:
            return Frame(header, [_exactly(link, each) for each in sizes])
        if not descriptors:
            raise FrameError("the shared memory is missing")
        return Frame(header, _mapped(descriptors[0], sizes))
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def _read(data: bytearray) -> tuple[dict[str, Any], list[int], bool]:
    try:
        header, sizes, is_shared = json.loads(data)
        sizes = [int(each) for each in sizes]
        is_sound = isinstance(header, dict) and min(sizes, default=0) >= 0
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise FrameError("the header cannot be read") from error
    if not is_sound or sum(sizes) > MAX_BUFFERS:
        raise FrameError("the header is wrong")
    return cast("dict[str, Any]", header), sizes, bool(is_shared)


def _mapped(descriptor: int, sizes: list[int]) -> list[Any]:
    offsets, total = _places(sizes)
    if not _cannot_shrink(descriptor):
        raise FrameError("the shared memory is none, or may shrink")
    if not 0 < total <= os.fstat(descriptor).st_size:
        raise FrameError("the shared memory is too small")
    flags = mmap.MAP_SHARED | mmap.MAP_POPULATE
    whole = memoryview(mmap.mmap(descriptor, total, flags, mmap.PROT_READ))
    return [whole[at : at + size] for at, size in zip(offsets, sizes, strict=True)]


def _cannot_shrink(descriptor: int) -> bool:
    """Memory that the other side could take away would end this process."""
    with contextlib.suppress(OSError):
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
    try:
        return bool(fcntl.fcntl(descriptor, fcntl.F_GET_SEALS) & fcntl.F_SEAL_SHRINK)
    except OSError:  # not every file has seals
        return False


def _exactly(link: socket.socket, size: int) -> bytearray:
    data = bytearray(size)
    view = memoryview(data)
    while view:
        count = link.recv_into(view)
        if not count:
            raise EOFError
        view = view[count:]
    return data
