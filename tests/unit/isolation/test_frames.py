"""Frames between server and worker, small and shared."""

from __future__ import annotations

import contextlib
import fcntl
import gc
import json
import os
import socket
import threading
from pathlib import Path

import numpy as np
import pytest

from ovms_mp.isolation import frames
from ovms_mp.isolation.frames import FrameError


def test_a_frame_arrives_as_it_was_sent() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        large = np.arange(1 << 20, dtype=np.float32)
        header = {"call": "feed", "ä": [1, None, 0.5]}
        sender = threading.Thread(
            target=frames.send, args=(ours, header, [large, b"", b"ab"])
        )
        sender.start()
        found = frames.receive(theirs)
        sender.join()
    assert found.header == header
    assert [bytes(each) for each in found.buffers] == [large.tobytes(), b"", b"ab"]


@pytest.mark.parametrize(
    "header",
    [
        b"no json",
        b"[1]",
        b"[{}, [-1], false]",
        b"[[], [], false]",
        b'{"a": 1, "b": 2}',
        b'[{}, ["x"], false]',
        b"[{}, [1073741825], false]",
        b"[{}, [Infinity], false]",
        b"[{}, [100000], true]",
        b"[" * 5000,
        b"\xff\xff",
    ],
)
def test_nonsense_is_refused(header: bytes) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(len(header).to_bytes(4, "big") + header)
        with pytest.raises(FrameError):
            frames.receive(theirs)


def test_a_header_without_end_is_refused_before_it_is_read() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall((frames.MAX_HEADER + 1).to_bytes(4, "big"))
        with pytest.raises(FrameError):
            frames.receive(theirs)


@pytest.mark.parametrize("count", [0, 3, 6, 12])
def test_an_end_in_the_middle_is_an_end(count: int) -> None:
    header = json.dumps([{}, [5], False]).encode()
    data = len(header).to_bytes(4, "big") + header + b"12345"
    ours, theirs = socket.socketpair()
    with theirs:
        with ours:
            ours.sendall(data[:count])
        with pytest.raises(EOFError):
            frames.receive(theirs)


def test_large_buffers_are_shared_and_read_only_and_live_as_long_as_they_are_used() -> (
    None
):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        sent = [np.arange(1 << 18, dtype=np.float32), b"small", b""]
        frames.send(ours, {}, sent)  # nobody reads: it does not go through the socket
        large, small, empty = frames.receive(theirs).buffers
        assert large.readonly
        seen = np.frombuffer(large, np.float32)
        del large
        gc.collect()
        assert np.array_equal(seen, sent[0])
        assert (bytes(small), bytes(empty)) == (b"small", b"")
        del small, empty, seen
        gc.collect()
        assert not [each for each in _open_files() if "memfd:tensors" in each]


def _open_files() -> list[str]:
    names: list[str] = []
    for each in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # the listing's own
            names.append(str(each.readlink()))
    return names


def test_shared_memory_cannot_be_taken_away() -> None:
    """What a process maps must not end it."""
    ours, theirs = socket.socketpair()
    memory = os.memfd_create("tensors", os.MFD_ALLOW_SEALING)
    with ours, theirs:
        os.ftruncate(memory, 1 << 17)
        _send(ours, [1 << 17], memory)
        frames.receive(theirs)
        assert fcntl.fcntl(memory, fcntl.F_GET_SEALS) & fcntl.F_SEAL_SHRINK
        with pytest.raises(PermissionError):
            os.ftruncate(memory, 0)
    os.close(memory)


@pytest.mark.parametrize("flags", [0, os.MFD_ALLOW_SEALING])
def test_memory_that_is_too_small_or_could_shrink_is_refused(flags: int) -> None:
    ours, theirs = socket.socketpair()
    memory = os.memfd_create("tensors", flags)
    with ours, theirs:
        os.ftruncate(memory, 1 << 16)
        _send(ours, [1 << 17 if flags else 1 << 16], memory)
        with pytest.raises(FrameError, match="shared memory"):
            frames.receive(theirs)
    os.close(memory)


def test_a_file_is_no_shared_memory() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, Path(__file__).open() as file:
        _send(ours, [10], file.fileno())
        with pytest.raises(FrameError, match="is none"):
            frames.receive(theirs)


def _send(link: socket.socket, sizes: list[int], memory: int) -> None:
    header = json.dumps([{}, sizes, True]).encode()
    head = len(header).to_bytes(4, "big") + header
    socket.send_fds(link, [head], [memory])
