"""The REST port, spoken to by a real client."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from itertools import cycle

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ovms_mp.frontend.access import Access, Realm
from ovms_mp.frontend.http.app import Rest
from ovms_mp.frontend.http.endpoint import Endpoint
from ovms_mp.frontend.http.server import HttpServer
from ovms_mp.frontend.pace import BURST, RATE, Pace
from ovms_mp.frontend.transport.seam import Abort, Code
from ovms_mp.servable.status import Report
from ovms_mp.telemetry.metrics import Metrics
from tests.fakes.catalog import FakeCatalog


def rest(page: Callable[[], bytes] | None = None) -> Rest:
    return Rest(FakeCatalog(), Report, "1.0", page=page)


class Client:
    """One request per connection."""

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self._address = (host, port)

    def ask(self, method: str, path: str) -> tuple[int, str, bytes]:
        """Status, content type and body."""
        connection = HTTPConnection(*self._address, timeout=10)
        try:
            connection.request(method, path)
            response = connection.getresponse()
            kind = response.getheader("content-type") or ""
            return response.status, kind, response.read()
        finally:
            connection.close()


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def client(metrics: Metrics) -> Iterator[Client]:
    server = HttpServer(rest(metrics.render), ["127.0.0.1"], 0)
    server.start()
    try:
        yield Client(server.port)
    finally:
        server.stop()


def test_the_metrics_page_is_prometheus_text(client: Client, metrics: Metrics) -> None:
    metrics.graph_opened("g")
    status, kind, body = client.ask("GET", "/metrics")
    assert status == 200
    assert kind == "text/plain; version=0.0.4; charset=utf-8"
    assert body == metrics.render()
    assert b'ovms_current_graphs{name="g"} 1\n' in body


@pytest.mark.parametrize(
    ("method", "path", "status", "text"),
    [
        ("GET", "/", 400, "Invalid request URL"),
        ("GET", "/metrics/", 400, "Invalid request URL"),
        ("GET", "/metrics/x", 400, "Invalid request URL"),
        ("GET", "/..%2fmetrics", 400, "Invalid request URL"),
        ("POST", "/v2/models/m/predict", 400, "Invalid request URL"),
        ("GET", "/v2/models/m/versions/one/ready", 400, "Invalid request URL"),
        ("GET", "/v2/models/m/versions/%31%5f/ready", 400, "Invalid request URL"),
        ("GET", "/v2/models/%ff/ready", 400, "Invalid request URL"),
        ("GET", "/v2/models//ready", 400, "Invalid request URL"),
        ("GET", "/v2/models/m/infer", 406, "Unsupported method"),
        ("POST", "/v2/health/live", 406, "Unsupported method"),
        ("HEAD", "/v2/health/live", 406, ""),
        ("POST", "/metrics", 406, "Unsupported method"),
        ("DELETE", "/metrics", 406, "Unsupported method"),
        ("PUT", "/nowhere", 406, "Unsupported method"),
    ],
)
def test_what_is_no_route_is_refused_as_ovms_does(
    client: Client, method: str, path: str, status: int, text: str
) -> None:
    code, kind, body = client.ask(method, path)
    assert (code, kind) == (status, "application/json")
    assert method == "HEAD" or json.loads(body) == {"error": text}


def test_without_metrics_there_is_no_such_page() -> None:
    server = HttpServer(rest(), ["127.0.0.1"], 0)
    server.start()
    try:
        code, _, body = Client(server.port).ask("GET", "/metrics")
    finally:
        server.stop()
    assert (code, json.loads(body)) == (400, {"error": "Invalid request URL"})


def test_a_failing_route_says_nothing_of_its_reason() -> None:
    async def fail(_: Request) -> Response:
        raise RuntimeError("secret")

    app = Starlette(routes=[Route("/fail", Endpoint(fail, Access(), Realm.OPEN))])
    server = HttpServer(app, ["127.0.0.1"], 0)
    server.start()
    try:
        code, _, body = Client(server.port).ask("GET", "/fail")
    finally:
        server.stop()
    assert code == 500
    assert re.fullmatch(
        r"Internal server error - incident [0-9a-f]{12}", json.loads(body)["error"]
    )


def test_who_finds_no_room_and_asks_again_at_once_hears_it_at_the_pace_of_all() -> None:
    async def refuse(_: Request) -> Response:
        raise Abort(Code.RESOURCE_EXHAUSTED, "no room")

    pace, paths, crowd = Pace(), ("/one", "/other"), 30
    routes = [
        Route(path, Endpoint(refuse, Access(), Realm.OPEN, pace=pace)) for path in paths
    ]
    server = HttpServer(Starlette(routes=routes), ["127.0.0.1"], 0)
    server.start()
    begun = time.monotonic()
    try:
        client = Client(server.port)
        for _, path in zip(range(BURST + crowd), cycle(paths), strict=False):
            code, _, body = client.ask("GET", path)
            assert (code, json.loads(body)) == (429, {"error": "no room"})
    finally:
        server.stop()
    # The first of them came a moment after the clock was looked at.
    assert time.monotonic() - begun >= (crowd - 1) / RATE


def test_port_0_is_a_free_port_on_every_host() -> None:
    server = HttpServer(rest(Metrics().render), ["127.0.0.1", "127.0.0.2"], 0)
    server.start()
    try:
        assert server.port != 0
        for host in ("127.0.0.1", "127.0.0.2"):
            assert Client(server.port, host).ask("GET", "/metrics")[0] == 200
    finally:
        server.stop()


def test_a_taken_port_is_told_with_its_address_and_nothing_is_kept() -> None:
    with socket.create_server(("127.0.0.2", 0)) as taken:
        port = taken.getsockname()[1]
        server = HttpServer(rest(Metrics().render), ["127.0.0.1", "127.0.0.2"], port)
        expected = f"cannot listen on 127.0.0.2:{port}: Address already in use"
        with pytest.raises(OSError, match=expected):
            server.start()
        # The first address, which was free, is so again.
        socket.create_server(("127.0.0.1", port)).close()
    server.stop()


def test_a_host_without_an_address_is_told() -> None:
    server = HttpServer(rest(Metrics().render), ["no-such-host.invalid"], 0)
    with pytest.raises(OSError, match=r"cannot listen on no-such-host\.invalid: "):
        server.start()


def test_stopping_releases_thread_and_port() -> None:
    before = set(threading.enumerate())  # of which some may end meanwhile
    server = HttpServer(rest(Metrics().render), ["127.0.0.1"], 0)
    server.start()
    assert len(set(threading.enumerate()) - before) == 1
    idle = socket.create_connection(("127.0.0.1", server.port), timeout=10)
    server.stop()
    server.stop()
    assert set(threading.enumerate()) <= before
    with idle:
        assert idle.recv(1) == b""
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", server.port), timeout=10)


def test_a_request_being_answered_survives_the_stop() -> None:
    has_begun, may_end = threading.Event(), threading.Event()

    def slow(_: Request) -> Response:
        has_begun.set()
        may_end.wait(10)
        return Response("done")

    app = Starlette(routes=[Route("/slow", slow)])
    server = HttpServer(app, ["127.0.0.1"], 0)
    server.start()
    idle = socket.create_connection(("127.0.0.1", server.port), timeout=10)
    answers: list[tuple[int, str, bytes]] = []
    asking = threading.Thread(
        target=lambda: answers.append(Client(server.port).ask("GET", "/slow"))
    )
    asking.start()
    assert has_begun.wait(10)
    stopping = threading.Thread(target=server.stop)
    stopping.start()
    with idle:
        # Stopping begins by hanging up on who has asked nothing.
        assert idle.recv(1) == b""
    may_end.set()
    stopping.join(10)
    asking.join(10)
    assert [(status, body) for status, _, body in answers] == [(200, b"done")]
