"""Frames between server and worker, small and shared."""

from __future__ import annotations

import json
import socket
import threading

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
        b"[{}, [-1]]",
        b"[[], []]",
        b'{"a": 1, "b": 2}',
        b'[{}, ["x"]]',
        b"[{}, [1073741825]]",
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
    header = json.dumps([{}, [5]]).encode()
    data = len(header).to_bytes(4, "big") + header + b"12345"
    ours, theirs = socket.socketpair()
    with theirs:
        with ours:
            ours.sendall(data[:count])
        with pytest.raises(EOFError):
            frames.receive(theirs)
