"""The other end of the calibration: a server whose every answer is the same bytes. What a
client gets out of it is the most that this client can measure.

    python -m tests.bench.canned FILE

answers each message with the one in FILE; prints its port.
"""

from __future__ import annotations

import selectors
import socket
import sys
from pathlib import Path

from tests.bench.http2 import (
    END_STREAM,
    PREFACE,
    RESPONSE_BLOCK,
    TRAILERS_BLOCK,
    Broken,
    Connection,
    Messages,
    prefixed,
)


class Canned(Connection):
    """One connection: a stream is answered message by message, and ended when the
    client has ended it.
    """

    def __init__(self, sock: socket.socket, answer: bytes) -> None:
        while sock.recv(len(PREFACE), socket.MSG_PEEK) != PREFACE:
            pass
        sock.recv(len(PREFACE))
        super().__init__(sock)
        self._answer = prefixed(answer)
        self._streams: dict[int, Messages] = {}

    def on_headers(self, stream: int, flags: int) -> None:
        self._streams[stream] = Messages()
        self.send_headers(stream, RESPONSE_BLOCK)

    def on_data(self, stream: int, data: memoryview, flags: int) -> None:
        for _ in range(self._streams[stream].take(data)):
            self.send_data(stream, self._answer)
        if flags & END_STREAM:
            self.send_headers(stream, TRAILERS_BLOCK, END_STREAM)
            del self._streams[stream]
            self.forget(stream)


def main() -> None:
    """Serve until killed."""
    answer = Path(sys.argv[1]).read_bytes()
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    both = selectors.EVENT_READ | selectors.EVENT_WRITE
    with selectors.DefaultSelector() as selector:
        selector.register(listener, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is listener:
                    accepted = Canned(listener.accept()[0], answer)
                    selector.register(accepted, selectors.EVENT_READ)
                    continue
                connection = key.fileobj
                assert isinstance(connection, Canned)
                try:
                    is_open = connection.pump()
                except (Broken, OSError):
                    is_open = False
                if not is_open:
                    selector.unregister(connection)
                    connection.sock.close()
                    continue
                wanted = both if connection.wants_to_write else selectors.EVENT_READ
                if wanted != key.events:
                    selector.modify(connection, wanted)


if __name__ == "__main__":
    main()
