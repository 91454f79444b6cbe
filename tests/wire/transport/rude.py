"""A client of HTTP/2 that says what it likes, frame by frame."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Self

from hpack import Encoder
from hyperframe.frame import (
    DataFrame,
    Frame,
    HeadersFrame,
    RstStreamFrame,
    SettingsFrame,
)

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEADERS = {
    ":method": "POST",
    ":scheme": "http",
    ":path": "/test.Service/u",
    ":authority": "localhost",
    "content-type": "application/grpc",
    "te": "trailers",
}

HEADER_BYTES = 9


def message(body: bytes, flag: int = 0, length: int | None = None) -> bytes:
    """gRPC's frame of a message, which may lie."""
    size = len(body) if length is None else length
    return struct.pack(">BI", flag, size) + body


def headers(
    stream_id: int = 1,
    *flags: str,
    without: Iterable[str] = (),
    **changed: str,
) -> HeadersFrame:
    """A call's first frame; an underscore in a changed name is a hyphen, `p_` a colon."""
    fields = {name: HEADERS[name] for name in HEADERS if name not in without}
    for name, value in changed.items():
        fields[name.replace("p_", ":").replace("_", "-")] = value
    # Literals without indexing: no state that frames would depend on.
    block = Encoder()
    block.header_table_size = 0
    data = block.encode(list(fields.items()), huffman=False)
    return HeadersFrame(stream_id, data, flags=flags or ("END_HEADERS",))


def data(stream_id: int, payload: bytes, *flags: str) -> DataFrame:
    return DataFrame(stream_id, payload, flags=flags)


def call(stream_id: int, payload: bytes, **changed: str) -> list[Frame]:
    """A whole call with `payload` as its body."""
    return [headers(stream_id, **changed), data(stream_id, payload, "END_STREAM")]


def reset(stream_id: int) -> RstStreamFrame:
    return RstStreamFrame(stream_id, error_code=8)


class Rude:
    """One connection, for a `with`."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=5)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def hello(self, **settings: int) -> None:
        """What a client begins with."""
        frame = SettingsFrame(0)
        frame.settings = {
            getattr(SettingsFrame, name): value for name, value in settings.items()
        }
        self.send(PREFACE, frame)

    def send(self, *parts: bytes | Frame) -> None:
        """Send these, if the server still takes them."""
        raw = b"".join(
            part.serialize() if isinstance(part, Frame) else part for part in parts
        )
        with suppress(OSError):
            self._socket.sendall(raw)

    def frames(self) -> Iterator[Frame]:
        """What the server sends, until it hangs up or says nothing for a while."""
        with suppress(OSError, EOFError):
            while True:
                head = self._read(HEADER_BYTES)
                frame, length = Frame.parse_frame_header(memoryview(head))
                frame.parse_body(memoryview(self._read(length)))
                yield frame

    def hears(self, kind: type[Frame], stream_id: int = 0) -> bool:
        """Whether the server sends such a frame before it hangs up."""
        return any(
            isinstance(frame, kind) and frame.stream_id == stream_id
            for frame in self.frames()
        )

    def hears_the_end(self, stream_id: int = 1) -> bool:
        """Whether the server ends this stream, or the connection."""
        for frame in self.frames():
            if frame.stream_id == stream_id and (
                isinstance(frame, RstStreamFrame) or "END_STREAM" in frame.flags
            ):
                return True
        return self.is_over

    @property
    def is_over(self) -> bool:
        """Whether the server has hung up."""
        try:
            return self._socket.recv(1) == b""
        except TimeoutError:
            return False
        except OSError:
            return True

    def _read(self, count: int) -> bytes:
        parts = b""
        while len(parts) < count:
            part = self._socket.recv(count - len(parts))
            if not part:
                raise EOFError
            parts += part
        return parts
