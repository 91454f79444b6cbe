"""Browsers by the thousand, slow ones, and rude ones: what holds for streams of gRPC holds
for sockets, and for pages that look on.
"""

from __future__ import annotations

import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from ovms_mp.frontend.http.app import Rest as RestApp
from ovms_mp.frontend.http.looks import Looks
from ovms_mp.frontend.http.protocol import MAX_HEAD_BYTES, LimitedProtocol
from ovms_mp.frontend.http.seeing import Seeing
from ovms_mp.frontend.http.server import HttpServer
from ovms_mp.frontend.http.websocket import LimitedSocket
from ovms_mp.servable.status import Report
from ovms_mp.servable.watching import Watching
from ovms_mp.settings.limits import LimitSettings
from ovms_mp.settings.rest import RestSettings
from ovms_mp.telemetry.recent import Recent
from tests.fakes.catalog import EchoSession, FakeCatalog, servable
from tests.wire import zoo
from tests.wire.rest import Rest
from tests.wire.servers import HOST, Server, serving
from tests.wire.waiting import until
from tests.wire.web import SQUARE, WITHIN, answer, request, stream

COUNT = 2000
PLACES = 1500

_CROWD = """
import asyncio, resource, sys
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

_, most = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))

async def one(uri, asked, few):
    async with few:
        try:
            on = await connect(uri, compression=None, ping_interval=None, open_timeout=None)
        except InvalidStatus as error:
            return error.response.status_code
        await on.send(asked)
        await on.recv()
    open_.append(on)
    return 101

open_ = []

async def main(uri, asked, count):
    few = asyncio.Semaphore(50)
    codes = await asyncio.gather(*[one(uri, asked, few) for _ in range(count)])
    print(codes.count(101), codes.count(429), flush=True)
    await asyncio.sleep(600)

asyncio.run(main(sys.argv[1], open(sys.argv[2]).read(), int(sys.argv[3])))
"""


@pytest.fixture
def many_files() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[1], before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.timeout(240)
@pytest.mark.usefixtures("many_files")
def test_sockets_by_the_thousand_are_served_and_freed(tmp_path: Path) -> None:
    """Those beyond the places are refused, and when their client dies nothing is left."""
    zoo.add_graph(tmp_path, "echo", zoo.ECHO)
    config = zoo.write_config(tmp_path, [], [{"name": "echo"}])
    file = tmp_path / "request.json"
    file.write_text(request("in"))
    limits = LimitSettings(max_streams=PLACES)
    with serving(config, limits=limits) as server:
        uri = f"ws://{HOST}:{server.app.rest_port}/v2/models/echo/infer_stream"
        command = [sys.executable, "-c", _CROWD, uri, str(file), str(COUNT)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as crowd:
            assert crowd.stdout is not None
            said = crowd.stdout.readline().split()
            assert said == [str(PLACES), str(COUNT - PLACES)]
            assert server.open_graphs() == PLACES
            assert Rest(server.app.rest_port).get("/v2/health/ready").code == 200
            crowd.send_signal(signal.SIGKILL)
        assert until(server.is_idle, within=WITHIN)
        with stream(server, "echo") as on:
            on.send(request("in"))
            assert answer(on)["outputs"]


@pytest.mark.parametrize("is_socket", [True, False])
def test_a_head_without_end_opens_nothing(server: Server, is_socket: bool) -> None:
    upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\n" if is_socket else ""
    head = f"GET /v2/models/echo/infer_stream HTTP/1.1\r\nHost: x\r\n{upgrade}X: "
    with socket.create_connection((HOST, server.app.rest_port or 0)) as raw:
        raw.settimeout(WITHIN)
        with suppress(ConnectionError):  # it may be hung up on while it sends
            raw.sendall(head.encode() + b"x" * (2 * MAX_HEAD_BYTES))
        assert raw.recv(4096).startswith(b"HTTP/1.1 431 ")


class Impatient(LimitedProtocol):
    head_seconds = 0.3
    write_seconds = 0.5


def test_a_socket_that_is_silent_for_long_stays_open() -> None:
    """The patience with heads is none with streams."""
    catalog = FakeCatalog({"echo": servable("echo")})
    app = RestApp(catalog, Report, "1")
    server = HttpServer(app, [HOST], 0, protocol=Impatient)
    server.start()
    uri = f"ws://{HOST}:{server.port}/v2/models/echo/infer_stream"
    try:
        with connect(uri) as on:
            with pytest.raises(TimeoutError):
                on.recv(4 * Impatient.head_seconds)
            on.send(request("in"))
            assert on.recv(WITHIN)
    finally:
        server.stop()
        app.close()


def test_a_browser_that_does_not_read_is_hung_up_on() -> None:
    """And nobody watches for it any more."""
    names = [f"a servable with a long name {'x' * 1000} {n}" for n in range(1000)]
    catalog = FakeCatalog({name: servable(name) for name in names})
    looks = Looks(catalog, Watching(), Recent())
    seeing = Seeing(catalog, looks, has_page=True)
    app = RestApp(catalog, Report, "1", seeing=seeing)
    server = HttpServer(app, [HOST], 0, protocol=Impatient)
    server.start()
    try:
        with socket.socket() as raw:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            raw.connect((HOST, server.port))
            raw.sendall(b"GET /v1/live HTTP/1.1\r\nhost: x\r\n\r\n")
            raw.settimeout(WITHIN)
            assert raw.recv(12) == b"HTTP/1.1 200"  # so one looks on, or did
            assert until(lambda: seeing._viewers == 0, WITHIN)
    finally:
        app.stop()
        server.stop()
        app.close()


class ImpatientSocket(LimitedSocket):
    write_seconds = 0.5
    max_connections = 2


@pytest.fixture
def impatient() -> Iterator[tuple[str, FakeCatalog]]:
    """Where an echo is streamed to, by its catalog."""
    catalog = FakeCatalog({"echo": servable("echo")})
    app = RestApp(catalog, Report, "1")
    server = HttpServer(app, [HOST], 0, web_socket=ImpatientSocket)
    server.start()
    yield f"ws://{HOST}:{server.port}/v2/models/echo/infer_stream", catalog
    server.stop()
    app.close()


def test_a_socket_whose_client_does_not_read_is_hung_up_on(
    impatient: tuple[str, FakeCatalog],
) -> None:
    """And its stream ends; one that reads is answered meanwhile."""
    uri, catalog = impatient
    with socket.socket() as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        raw.connect((HOST, urlsplit(uri).port))
        with (
            connect(uri, sock=raw, max_queue=1, max_size=None) as deaf,
            connect(uri) as other,
        ):
            for _ in range(8):
                deaf.send(request("in", SQUARE))
            assert until(lambda: catalog.sessions)  # what is large is read beside
            its = catalog.sessions[0]
            assert isinstance(its, EchoSession)
            assert until(lambda: "cancel" in its.calls, WITHIN)
            other.send(request("in"))
            assert other.recv(WITHIN)


def test_there_are_no_more_sockets_than_connections_may_be(
    impatient: tuple[str, FakeCatalog],
) -> None:
    uri, _ = impatient
    with connect(uri) as one, connect(uri) as other:
        with pytest.raises(InvalidStatus) as refused, connect(uri):
            pass
        assert refused.value.response.status_code == 503
        for each in (one, other):
            each.send(request("in"))
            assert each.recv(WITHIN)


def test_pages_of_others_cost_nothing_where_origins_are_named(tmp_path: Path) -> None:
    zoo.add_graph(tmp_path, "echo", zoo.ECHO)
    config = zoo.write_config(tmp_path, [], [{"name": "echo"}])
    rest = RestSettings(allowed_origins="https://one.example")
    with serving(config, rest=rest) as server:
        asking = Rest(server.app.rest_port)
        for method, path in (("GET", "/v1/live"), ("POST", "/v1/trace?seconds=0.1")):
            other = asking.ask(method, path, headers={"origin": "https://two.example"})
            assert other.code == 403
        own = {
            "origin": f"http://{HOST}:{server.app.rest_port}",
            "host": f"{HOST}:{server.app.rest_port}",
        }
        assert asking.ask("POST", "/v1/trace?seconds=0.1", headers=own).code == 200
