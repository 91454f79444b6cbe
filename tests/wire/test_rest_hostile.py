"""A client of REST that does not play by the rules harms itself only."""

from __future__ import annotations

import gzip
import json
import re
import select
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import numpy as np
import pytest

from ovms_mp.frontend.http.app import Rest as RestApp
from ovms_mp.frontend.http.inference import Limits
from ovms_mp.frontend.http.protocol import MAX_HEAD_BYTES, LimitedProtocol
from ovms_mp.frontend.http.server import HttpServer
from ovms_mp.servable.status import Report
from tests.fakes.catalog import FakeCatalog, servable
from tests.wire.calls import ask, infer
from tests.wire.rest import HEADER, Rest, answer, inputs, tensor
from tests.wire.servers import HOST, Server
from tests.wire.waiting import until

MIB = 1 << 20
INFER = "/v2/models/echo/infer"
TEN = np.arange(10, dtype=np.float32)


class Few(LimitedProtocol):
    max_connections = 20


class Impatient(Few):
    head_seconds = 0.3
    write_seconds = 0.5


@pytest.fixture
def rest(server: Server) -> Rest:
    return Rest(server.app.rest_port)


@contextmanager
def serving(limits: Limits, protocol: type[Few] = Few) -> Iterator[Rest]:
    """A server with one servable, `echo`."""
    app = RestApp(FakeCatalog({"echo": servable("echo")}), Report, "1", limits=limits)
    server = HttpServer(app, [HOST], 0, protocol=protocol)
    server.start()
    try:
        rest = Rest(server.port)
        yield rest
        assert rest.get("/v2/health/live").code == 200
    finally:
        server.stop()
        app.close()


NARROW = Limits(body=MIB, json=1000, held=3 * MIB)


@pytest.fixture
def strict() -> Iterator[Rest]:
    """Where there is little room."""
    with serving(NARROW) as rest:
        yield rest


@pytest.fixture
def impatient() -> Iterator[Rest]:
    """Where nobody is waited for, either."""
    with serving(NARROW._replace(seconds=0.3), Impatient) as rest:
        yield rest


def talk(rest: Rest, *parts: bytes, seconds: float = 20) -> bytes:
    """What comes back until the server hangs up."""
    with socket.create_connection((HOST, rest.port), timeout=seconds) as connection:
        for part in parts:
            connection.sendall(part)
        heard = bytearray()
        while chunk := connection.recv(1 << 16):
            heard += chunk
        return bytes(heard)


def code(heard: bytes) -> int:
    found = re.match(rb"HTTP/1\.1 (\d{3}) ", heard)
    assert found, heard
    return int(found[1])


def test_a_body_that_is_too_large_is_refused_before_it_is_sent(strict: Rest) -> None:
    head = f"POST {INFER} HTTP/1.1\r\nhost: x\r\ncontent-length: {MIB + 1}\r\n\r\n"
    heard = talk(strict, head.encode())
    assert code(heard) == 413
    assert heard.endswith(
        b'{"error":"The request is too large - at most 1048576 bytes"}'
    )
    assert b"connection: close" in heard.lower()


def test_who_sends_it_all_the_same_reads_why_not(strict: Rest) -> None:
    connection = strict.connect()
    connection.request("POST", INFER, bytes(5 * MIB))
    assert answer(connection.getresponse()).code == 413
    connection.close()


def test_who_asks_before_he_sends_is_told_not_to(strict: Rest) -> None:
    head = (
        f"POST {INFER} HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\n"
        f"content-length: {MIB + 1}\r\n\r\n"
    )
    assert code(talk(strict, head.encode())) == 413


def test_chunks_without_end_are_read_up_to_the_limit(strict: Rest) -> None:
    head = f"POST {INFER} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
    chunk = b"%x\r\n%s\r\n" % (1 << 16, bytes(1 << 16))
    assert code(talk(strict, head.encode(), *[chunk] * 40)) == 413


def test_much_json_is_refused_where_much_binary_is_not(strict: Rest) -> None:
    many = np.zeros(1000, np.uint8)
    assert strict.infer("echo", inputs(tensor("in", many, "UINT8"))).code == 413
    given = {"name": "in", "shape": [1000], "datatype": "UINT8"}
    assert strict.infer("echo", inputs(given), many.tobytes()).code == 200


def test_a_bomb_is_not_inflated(strict: Rest, rest: Rest) -> None:
    bomb = gzip.compress(bytes(70 * MIB))
    headers = {"content-encoding": "gzip"}
    assert len(bomb) < MIB
    assert strict.ask("POST", INFER, bomb, headers).code == 413
    # Inflated it is no JSON: nobody gets as far as to parse it all.
    assert rest.ask("POST", INFER, bomb, headers).code == 413


def test_a_head_that_does_not_end_is_not_waited_for(impatient: Rest) -> None:
    assert code(talk(impatient, b"GET /v2 HTTP/1.1\r\nhost: x\r\n")) == 408
    assert talk(impatient) == b""
    assert talk(impatient, b"\r\n") == b""


def test_a_second_head_is_not_waited_for_either(impatient: Rest) -> None:
    whole = b"GET /v2/health/live HTTP/1.1\r\nhost: x\r\n\r\n"
    heard = talk(impatient, whole + b"GET /v2 HT")
    assert re.findall(rb"HTTP/1\.1 (\d{3})", heard) == [b"200", b"408"]


def test_a_head_without_end_is_refused(impatient: Rest) -> None:
    for head in (
        b"GET /" + b"x" * 8 * MAX_HEAD_BYTES,
        b"GET /v2 HTTP/1.1\r\nx: " + b"x" * 8 * MAX_HEAD_BYTES,
        b"GET /v2 HTTP/1.1\r\n" + b"x: y\r\n" * 8 * MAX_HEAD_BYTES,
    ):
        with socket.create_connection((HOST, impatient.port), timeout=20) as connection:
            try:
                connection.sendall(head)
                heard = connection.recv(1 << 16)
            except (ConnectionResetError, BrokenPipeError):
                continue  # it was hung up on while it sent
        assert code(heard) in {431, 408}


def test_a_body_that_does_not_come_is_not_waited_for(impatient: Rest) -> None:
    head = f"POST {INFER} HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n"
    assert code(talk(impatient, head.encode(), b"{")) == 408


def test_a_body_that_nobody_reads_is_not_waited_for(impatient: Rest) -> None:
    head = "POST /nowhere HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n"
    assert code(talk(impatient, head.encode(), b"{")) == 400


def test_bodies_that_are_held_have_a_limit_together() -> None:
    head = f"POST {INFER} HTTP/1.1\r\nhost: x\r\ncontent-length: 10000\r\n\r\n"
    with serving(Limits(held=30_000)) as rest, ExitStack() as stack:
        waiting = [
            stack.enter_context(socket.create_connection((HOST, rest.port), timeout=20))
            for _ in range(5)
        ]
        for each in waiting:
            each.sendall(head.encode() + bytes(9999))

        def answered() -> list[socket.socket]:
            return select.select(waiting, (), (), 0)[0]

        assert until(lambda: len(answered()) == 2)
        refused = answered()
        assert [code(each.recv(1 << 16)) for each in refused] == [503, 503]
        # The others have what they need, though it is no JSON what they send.
        for each in waiting:
            if each not in refused:
                each.sendall(b"\0")
                assert code(each.recv(1 << 16)) == 400


def test_who_does_not_read_is_hung_up_on(impatient: Rest) -> None:
    given = {"name": "in", "shape": [MIB - 300], "datatype": "UINT8"}
    asked = inputs(given, parameters={"binary_data_output": True})
    text = json.dumps(asked).encode()
    head = (
        f"POST {INFER} HTTP/1.1\r\nhost: x\r\n{HEADER}: {len(text)}\r\n"
        f"content-length: {len(text) + MIB - 300}\r\n\r\n"
    ).encode()
    # Answers that nobody reads fill what lies between, whatever its size.
    with socket.create_connection((HOST, impatient.port), timeout=20) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        many = (head + text + bytes(MIB - 300)) * 30
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            connection.sendall(many)


def test_connections_have_a_limit(strict: Rest) -> None:
    idle = [socket.create_connection((HOST, strict.port)) for _ in range(25)]
    assert strict.get("/v2").code == 503
    assert strict.get("/v2").error == "The server has too many requests"
    for each in idle:
        each.close()
    assert until(lambda: strict.get("/v2").code == 200)


@pytest.mark.parametrize(
    "wire",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /v2 HTTP/1.1\nhost x\n\n",
        b"GET /v2 HTTP/1.1\r\nhost: x\r\nco ntent: 1\r\n\r\n",
        b"GET /v2 HTTP/1.1\r\nhost: x\r\nx: \0\r\n\r\n",
        b"POST /v2 HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n",
        b"POST /v2 HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\n"
        b"content-length: 2\r\n\r\n",
        b"POST /v2 HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n"
        b"transfer-encoding: chunked\r\n\r\n",
        b"POST /v2 HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"\0" * 100,
    ],
)
def test_what_is_no_http_is_refused_in_json(impatient: Rest, wire: bytes) -> None:
    heard = talk(impatient, wire)
    assert code(heard) in {400, 406, 408}
    assert b'{"error":' in heard


def test_names_do_not_reach_the_headers_of_an_answer(rest: Rest) -> None:
    for name in ("a%0d%0aset-cookie:%20x", "a%00", "a%0aHTTP%2f1.1%20200", "%e2%80%a8"):
        for path in (f"/v2/models/{name}/ready", f"/v1/models/{name}"):
            refused = rest.get(path)
            assert refused.code == 404
            assert "set-cookie" not in refused.headers
            assert "\n" not in refused.error
    port = {**tensor("in\r\nx: y\0", TEN), "datatype": "\r\n"}
    refused = rest.infer("echo", inputs(port, id="\r\nx: y"))
    assert refused.code == 400
    assert "x" not in refused.headers
    assert b"\n" not in refused.body


@pytest.mark.parametrize(
    "path",
    ["../../etc/passwd", "%2e%2e%2fetc", "..%2f..%2fetc%2fpasswd", "a%2f..%2fb", ".."],
)
def test_a_name_is_no_path(rest: Rest, path: str) -> None:
    for refused in (rest.get(f"/v2/models/{path}"), rest.get(f"/v1/models/{path}")):
        assert refused.code == 400
        assert "etc" not in refused.error


def test_a_client_that_leaves_stops_what_it_asked_for(
    server: Server, rest: Rest
) -> None:
    size = np.ones((1, 1), np.float32)
    (port,) = rest.get("/v2/models/sluggish").json["inputs"]
    shape = [max(each, 1) for each in port["shape"]]
    body = json.dumps(
        inputs(tensor(port["name"], np.broadcast_to(size, shape)))
    ).encode()
    head = "POST /v2/models/sluggish/infer HTTP/1.1\r\nhost: x\r\n"
    with socket.create_connection((HOST, rest.port)) as connection:
        connection.sendall(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
        assert until(lambda: server.busy_slots() == 1)
    begun = time.monotonic()
    assert until(lambda: server.busy_slots() == 0)
    assert time.monotonic() - begun < 5


def test_large_json_holds_up_nobody_who_asks_if_the_server_lives(rest: Rest) -> None:
    body = json.dumps(inputs(tensor("in", np.zeros(300_000)))).encode()
    results: list[int] = []

    def ask() -> None:
        results.append(rest.ask("POST", INFER, body).code)

    crowd = [threading.Thread(target=ask) for _ in range(5)]
    for each in crowd:
        each.start()
    while any(each.is_alive() for each in crowd):
        assert rest.get("/v2/health/live").code == 200
    assert results == [200] * 5


VALUES = 1_500_000
"""Of an array that takes most of a second to be read and written."""
ATTEMPTS = 3


def test_large_json_holds_up_no_client_of_grpc(server: Server, rest: Rest) -> None:
    """Read or written at once, it had the interpreter to itself for most of that time."""
    body = json.dumps(inputs(tensor("in", np.zeros(VALUES)))).encode()

    def longest_wait() -> float:
        """For an answer, as a share of the time that the JSON takes."""
        begun = last = time.perf_counter()
        took: list[float] = []

        def post() -> None:
            assert rest.ask("POST", INFER, body).code == 200
            took.append(time.perf_counter() - begun)

        poster = threading.Thread(target=post)
        waits: list[float] = []
        with server.connect() as channel:
            assert infer(channel, ask("echo", {"in": TEN}))
            begun = last = time.perf_counter()
            poster.start()
            while poster.is_alive():
                assert infer(channel, ask("echo", {"in": TEN}))
                now = time.perf_counter()
                waits.append(now - last)
                last = now
        poster.join()
        return max(waits) / took[0]

    shares: list[float] = []
    while len(shares) < ATTEMPTS and min(shares, default=1.0) > 0.25:
        shares.append(longest_wait())
    assert min(shares) <= 0.25, shares
