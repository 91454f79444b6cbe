"""Who asks for a WebSocket in a way that cannot be is told so at once, in the log as well,
and one who offers another protocol is answered in this one.
"""

from __future__ import annotations

import json
import logging
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from websockets.exceptions import InvalidStatus

from ovms_mp.settings import RestSettings
from tests.wire import zoo
from tests.wire.rest import Rest
from tests.wire.servers import HOST, Server, serving
from tests.wire.web import WITHIN, answer, end, request, stream

PATH = "/v2/models/echo/infer_stream"
UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
}
# As Java's client and curl's do, unless they are told otherwise.
OFFER = {
    "Connection": "Upgrade, HTTP2-Settings",
    "Upgrade": "h2c",
    "HTTP2-Settings": "AAMAAABkAAQAAP__",
}


def head(method: str, path: str, headers: dict[str, str]) -> bytes:
    lines = (f"{name}: {value}\r\n" for name, value in headers.items())
    return f"{method} {path} HTTP/1.1\r\nHost: {HOST}\r\n{''.join(lines)}\r\n".encode()


@contextmanager
def talking(server: Server) -> Iterator[socket.socket]:
    with socket.create_connection((HOST, server.app.rest_port or 0)) as raw:
        raw.settimeout(WITHIN)
        yield raw


def rest_of(raw: socket.socket) -> bytes:
    said = b""
    while piece := raw.recv(1 << 16):
        said += piece
    return said


def codes(said: bytes) -> list[int]:
    return [int(each) for each in re.findall(rb"HTTP/1\.1 (\d{3}) ", said)]


@pytest.mark.parametrize(
    ("method", "path", "more", "code"),
    [
        ("GET", PATH, {"X-Long": "x" * 10_000}, 431),
        ("GET", PATH, {f"X-{number}": "x" for number in range(200)}, 431),
        ("GET", f"{PATH}?{'x' * 10_000}", {}, 431),
        ("GET", PATH, {"Content-Length": "2"}, 400),
        ("GET", PATH, {"Transfer-Encoding": "chunked"}, 400),
        ("POST", PATH, {}, 405),
        ("GET", PATH, {"Sec-WebSocket-Version": "8"}, 400),
    ],
    ids=["line", "lines", "path", "body", "chunks", "method", "version"],
)
def test_a_handshake_that_cannot_be_is_refused_and_hung_up_on(
    server: Server, method: str, path: str, more: dict[str, str], code: int
) -> None:
    """The client would wait for ever, and its connection count."""
    with talking(server) as raw:
        raw.sendall(head(method, path, {**UPGRADE, **more}))
        assert codes(rest_of(raw)) == [code]
    assert server.said("REST", f"failed: {code}: ")


@pytest.mark.parametrize("path", ["echo/infer", "echo/versions"])
def test_a_path_without_sockets_is_no_url(server: Server, path: str) -> None:
    with talking(server) as raw:
        raw.sendall(head("GET", f"/v2/models/{path}", UPGRADE))
        said = rest_of(raw)
    assert codes(said) == [400]
    assert said.endswith(b'{"error":"Invalid request URL"}')
    assert server.said(f"WebSocket /v2/models/{path}", "400: Invalid request URL")


def test_what_clients_do_wrong_is_no_error_of_the_servers(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        with pytest.raises(InvalidStatus), stream(server, "%ff"):
            pass
        with stream(server, "echo") as on:
            on.send(b"\xff", text=True)
            closed = end(on)
            assert closed.rcvd is not None
            assert closed.rcvd.code == 1007
    assert not caplog.records


def test_an_origin_that_is_no_url_is_a_strange_one(tmp_path: Path) -> None:
    zoo.add_graph(tmp_path, "echo", zoo.ECHO)
    config = zoo.write_config(tmp_path, [], [{"name": "echo"}])
    rest = RestSettings(allowed_origins="https://one.example")
    with serving(config, rest=rest) as server:
        with (
            pytest.raises(InvalidStatus) as refused,
            stream(server, "echo", origin="http://["),
        ):
            pass
        assert refused.value.response.status_code == 403
        asking = Rest(server.app.rest_port)
        for method, path in (("GET", "/v1/live"), ("POST", "/v1/trace?seconds=0.1")):
            said = asking.ask(method, path, headers={"origin": "http://["})
            assert said.code == 403


@pytest.mark.parametrize("is_chunked", [False, True])
def test_the_body_behind_an_offer_of_another_protocol_is_read(
    server: Server, is_chunked: bool
) -> None:
    body = request("in").encode()
    said = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body) if is_chunked else body
    framing = (
        {"Transfer-Encoding": "chunked"}
        if is_chunked
        else {"Content-Length": str(len(body))}
    )
    asked = head("POST", "/v2/models/echo/infer", {**OFFER, **framing})
    last = head("GET", "/v2", {"Connection": "close"})
    with talking(server) as raw:
        raw.sendall(asked + said)  # at once, and with what follows
        raw.sendall(asked)
        raw.sendall(said[:9])
        raw.sendall(said[9:] + head("GET", "/v2/health/live", OFFER) + last)
        heard = rest_of(raw)
    assert codes(heard) == [200, 200, 200, 200]
    assert heard.count(b'"model_name":"echo"') == 2
    assert json.loads(heard.rpartition(b"\r\n\r\n")[2])["version"]


def test_many_offers_at_once_are_passed_over(server: Server) -> None:
    offer = {"Connection": "upgrade", "Upgrade": "x"}
    count = 2000
    with talking(server) as raw:
        raw.sendall(head("GET", "/v2/health/live", offer) * count)
        raw.sendall(head("GET", "/v2", {"Connection": "close"}))
        assert codes(rest_of(raw)) == [200] * (count + 1)


def test_a_socket_still_opens_behind_other_requests(server: Server) -> None:
    with talking(server) as raw:
        raw.sendall(head("GET", "/v2/health/live", OFFER))
        assert b" 200 " in raw.recv(1 << 16)
        raw.sendall(head("GET", PATH, UPGRADE))
        assert b" 101 " in raw.recv(1 << 16)
    with stream(server, "echo") as on:
        on.send(request("in"))
        assert answer(on)["outputs"]
