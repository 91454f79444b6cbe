"""As much of HTTP/2 and of gRPC's framing as it takes to keep a server busy, and no more:
a client that shares two cores with what it measures must cost less than that.

Frames are written and counted by hand, messages are neither built nor parsed. What is
not expected (a reset, a stream that ends early) raises Broken.
"""

from __future__ import annotations

import socket
import struct
from collections import deque
from collections.abc import Iterator
from itertools import islice
from typing import Final

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
END_STREAM, ACK, END_HEADERS = 1, 1, 4
_PADDED: Final = 8

_HEADER: Final = struct.Struct(">BHBBL")
_SETTING: Final = struct.Struct(">HL")
_MAX_WINDOW: Final = 2**31 - 1
_FIRST_WINDOW: Final = 65_535
_TOP_UP: Final = 2**29
_CHUNK: Final = 1 << 20
_PREFIX: Final = 5
_RETURNS_AFTER: Final = struct.pack("ll", 5, 0)  # seconds, microseconds
_HEADER_TABLE_SIZE, _INITIAL_WINDOW_SIZE, _MAX_FRAME_SIZE = 1, 4, 5


class Broken(Exception):
    """The other side does not behave as a benchmark wants it to."""


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """A frame."""
    size = len(payload)
    return _HEADER.pack(size >> 16, size & 0xFFFF, kind, flags, stream) + payload


def prefixed(message: bytes) -> bytes:
    """A message as gRPC puts it into DATA."""
    return struct.pack(">BL", 0, len(message)) + message


def request_block(path: str, authority: str) -> bytes:
    """Header block of a gRPC call: literals without an index, so that it never changes."""
    return b"".join(
        (
            b"\x83\x86",  # :method POST, :scheme http
            b"\x04" + _text(path),
            b"\x01" + _text(authority),
            b"\x0f\x10" + _text("application/grpc"),
            b"\x00\x02te\x08trailers",
        )
    )


RESPONSE_BLOCK: Final = b"\x88" + b"\x0f\x10" + b"\x10application/grpc"
TRAILERS_BLOCK: Final = b"\x00" + b"\x0bgrpc-status" + b"\x010"


def _text(text: str) -> bytes:
    return bytes([len(text)]) + text.encode()


class Messages:
    """Counts the messages of one direction of a stream as their bytes come."""

    __slots__ = ("count", "left", "prefix", "size")

    def __init__(self) -> None:
        self.count = 0
        self.size = 0  # of the latest message
        self.left = 0
        self.prefix = b""

    def take(self, data: memoryview) -> int:
        """More bytes; returns how many messages are whole with them."""
        before, at, end = self.count, 0, len(data)
        while at < end:
            if not self.left:
                wanted = _PREFIX - len(self.prefix)
                self.prefix += data[at : at + wanted]
                at += wanted
                if len(self.prefix) < _PREFIX:
                    break
                self.left = self.size = int.from_bytes(self.prefix[1:], "big")
                self.prefix = b""
                if self.left:
                    continue
            taken = min(self.left, end - at)
            at += taken
            self.left -= taken
            self.count += not self.left
        return self.count - before


class Connection:
    """One side of a connection. `pump` waits for bytes and calls `on_data` and
    `on_headers`; what is sent within goes out at its end, as flow control lets it.
    """

    def __init__(self, sock: socket.socket, hello: bytes = b"") -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _RETURNS_AFTER)
        self.sock = sock
        self._rest = b""
        self._out: deque[bytes | memoryview] = deque()
        self._uploads: deque[tuple[int, memoryview, int]] = deque()
        self._window = _FIRST_WINDOW
        self._first_window = _FIRST_WINDOW
        self._windows: dict[int, int] = {}
        self._frame_size = 16_384
        self._received = 0
        self._received_by: dict[int, int] = {}
        settings = ((_HEADER_TABLE_SIZE, 0), (_INITIAL_WINDOW_SIZE, _MAX_WINDOW))
        payload = b"".join(
            _SETTING.pack(*each) for each in (*settings, (_MAX_FRAME_SIZE, _CHUNK))
        )
        grown = struct.pack(">L", _MAX_WINDOW - _FIRST_WINDOW)
        self._out.append(
            hello + frame(SETTINGS, 0, 0, payload) + frame(WINDOW_UPDATE, 0, 0, grown)
        )
        self._flush()

    def fileno(self) -> int:
        """For selectors."""
        return self.sock.fileno()

    @property
    def wants_to_write(self) -> bool:
        """Bytes are left that the socket did not take."""
        return bool(self._out)

    def on_data(self, stream: int, data: memoryview, flags: int) -> None:
        """Data of a stream, valid within the call."""
        raise NotImplementedError

    def on_headers(self, stream: int, flags: int) -> None:
        """Headers or trailers of a stream."""
        raise NotImplementedError

    def send_headers(self, stream: int, block: bytes, flags: int = 0) -> None:
        """Open, answer or end a stream."""
        self._out.append(frame(HEADERS, END_HEADERS | flags, stream, block))

    def send_data(self, stream: int, data: bytes, flags: int = 0) -> None:
        """Data of a stream, in the order of calls."""
        size = len(data)
        window = self._windows.get(stream, self._first_window)
        if not self._uploads and size <= min(self._window, window, self._frame_size):
            self._window -= size
            self._windows[stream] = window - size
            self._out.append(frame(DATA, flags, stream, data))
        else:
            self._uploads.append((stream, memoryview(data), flags))
            self._upload()

    def forget(self, stream: int) -> None:
        """The stream is over."""
        self._windows.pop(stream, None)
        self._received_by.pop(stream, None)

    def pump(self) -> bool:
        """Take what has come, waiting for it unless there is something to write; False
        at the end of the connection.
        """
        if self._out:
            self._flush()
        try:
            data = self.sock.recv(_CHUNK, socket.MSG_DONTWAIT if self._out else 0)
        except BlockingIOError:
            return True
        if not data:
            return False
        if self._rest:
            data = self._rest + data
        self._rest = data[self._take(data) :]
        if self._out:
            self._flush()
        return True

    def _take(self, data: bytes) -> int:
        view, at, end = memoryview(data), 0, len(data)
        while end - at >= _HEADER.size:
            high, low, kind, flags, stream = _HEADER.unpack_from(data, at)
            begin = at + _HEADER.size
            until = begin + (high << 16 | low)
            if until > end:
                break
            at = until
            if kind == DATA:
                self._count(stream, until - begin)
                if flags & _PADDED:
                    until -= data[begin]
                    begin += 1
                self.on_data(stream, view[begin:until], flags)
            elif kind == HEADERS:
                self.on_headers(stream, flags)
            else:
                self._control(kind, flags, stream, data[begin:until])
        return at

    def _control(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == WINDOW_UPDATE:
            grown = int.from_bytes(payload, "big")
            if stream == 0:
                self._window += grown
            elif stream in self._windows or self._uploads:
                window = self._windows.get(stream, self._first_window)
                self._windows[stream] = window + grown
            self._upload()
        elif kind == PING and not flags & ACK:
            self._out.append(frame(PING, ACK, 0, payload))
        elif kind == SETTINGS and not flags & ACK:
            self._settings(payload)
        elif kind in (GOAWAY, RST_STREAM):
            raise Broken(f"frame {kind} on stream {stream}: {payload!r}")

    def _settings(self, payload: bytes) -> None:
        for name, value in _SETTING.iter_unpack(payload):
            if name == _INITIAL_WINDOW_SIZE:
                grown = value - self._first_window
                self._first_window = value
                for each in self._windows:
                    self._windows[each] += grown
            elif name == _MAX_FRAME_SIZE:
                self._frame_size = min(value, _CHUNK)
        self._out.append(frame(SETTINGS, ACK, 0))
        self._upload()

    def _count(self, stream: int, size: int) -> None:
        """Nobody is to wait for a window."""
        self._received += size
        if self._received > _TOP_UP:
            self._top_up(0, self._received)
            self._received = 0
        mine = self._received_by.get(stream, 0) + size
        if mine > _TOP_UP:
            self._top_up(stream, mine)
            mine = 0
        self._received_by[stream] = mine

    def _top_up(self, stream: int, size: int) -> None:
        self._out.append(frame(WINDOW_UPDATE, 0, stream, struct.pack(">L", size)))

    def _upload(self) -> None:
        """As much as the windows take; a stream whose window is shut blocks no other."""
        blocked: set[int] = set()
        for _ in range(len(self._uploads)):
            stream, data, flags = self._uploads.popleft()
            if stream in blocked:
                self._uploads.append((stream, data, flags))
                continue
            if not data:
                self._out.append(frame(DATA, flags, stream))
                continue
            window = self._windows.get(stream, self._first_window)
            for part in self._parts(data, min(window, self._window)):
                size = len(part)
                is_last = size == len(data)
                header = frame(DATA, flags if is_last else 0, stream)
                high_low = struct.pack(">BH", size >> 16, size & 0xFFFF)
                self._out.append(high_low + header[3:])
                self._out.append(part)
                self._window -= size
                window -= size
                data = data[size:]
            self._windows[stream] = window
            if data:
                blocked.add(stream)
                self._uploads.append((stream, data, flags))

    def _parts(self, data: memoryview, room: int) -> Iterator[memoryview]:
        for at in range(0, min(len(data), room), self._frame_size):
            yield data[at : min(at + self._frame_size, room)]

    def _flush(self) -> None:
        out = self._out
        while out:
            parts = list(islice(out, 64))
            try:
                sent = self.sock.sendmsg(parts, (), socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            for part in parts:
                if sent < len(part):
                    if sent:
                        out[0] = memoryview(part)[sent:]
                    break
                sent -= len(part)
                out.popleft()
