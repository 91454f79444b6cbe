"""What becomes of who speaks no TLS to a server that does."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import trustme
from starlette.responses import Response

from ovms_mp.frontend.http.handshakes import HandshakeLoop
from ovms_mp.frontend.http.server import HttpServer
from ovms_mp.telemetry.requests import FAILED
from tests.wire.servers import HOST
from tests.wire.waiting import until

AUTHORITY = trustme.CA()


class Impatient(HandshakeLoop):
    handshake_seconds = 0.2


@contextmanager
def serving(loop: type[HandshakeLoop] = HandshakeLoop) -> Iterator[int]:
    """A server that wants its clients' certificates, and its port."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    AUTHORITY.issue_cert("localhost").configure_cert(context)
    AUTHORITY.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    server = HttpServer(Response(b"well"), (HOST,), 0, loop=loop, tls=context)
    server.start()
    try:
        yield server.port
    finally:
        server.stop()


def connect(port: int) -> socket.socket:
    return socket.create_connection((HOST, port), timeout=20)


def test_who_begins_no_handshake_is_not_waited_for() -> None:
    with serving(Impatient) as port, connect(port) as client:
        assert client.recv(1) == b""


@pytest.mark.parametrize(
    ("authority", "said"),
    [
        (None, "http request"),
        (trustme.CA(), "certificate verify failed: "),
        (AUTHORITY, ""),
    ],
    ids=["http", "stranger", "friend"],
)
def test_a_handshake_that_fails_is_told_with_its_reason(
    authority: trustme.CA | None, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    request = b"GET / HTTP/1.0\r\n\r\n"
    with caplog.at_level("INFO", FAILED), serving() as port, connect(port) as client:
        if authority is None:
            client.sendall(request)
        else:
            context = ssl.create_default_context()
            AUTHORITY.configure_trust(context)
            authority.issue_cert("me").configure_cert(context)
            with context.wrap_socket(client, server_hostname="localhost") as wrapped:
                if not said:
                    wrapped.sendall(request)
                    assert b" 200 " in wrapped.recv(1 << 12)
        if said:
            line = f"REST handshake failed: TLS: {said}"
            assert until(lambda: line in caplog.text)
    assert ("failed" in caplog.text) is bool(said)
