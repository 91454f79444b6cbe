"""What the page is told is so, costs nothing while nobody asks, and is for those who may."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPResponse
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ovms_mp.frontend.http import page
from ovms_mp.frontend.http.seeing import MAX_VIEWERS
from ovms_mp.settings.rest import RestSettings
from ovms_mp.settings.security import SecuritySettings
from tests.wire import zoo
from tests.wire.calls import Stream, ask, floats, refusal
from tests.wire.rest import Rest
from tests.wire.servers import HOST, Process, Server, serving
from tests.wire.waiting import until
from tests.wire.web import ROW, SQUARE


@pytest.fixture
def rest(server: Server) -> Rest:
    return Rest(server.app.rest_port)


@contextmanager
def looking(rest: Rest, graph: str = "", key: str = "") -> Iterator[Iterator[Any]]:
    """What is told, event by event."""
    connection = rest.connect()
    headers = {"authorization": f"Bearer {key}"} if key else {}
    query = f"?graph={graph}" if graph else ""
    connection.request("GET", f"/v1/live{query}", headers=headers)
    answer = connection.getresponse()
    assert answer.status == 200, answer.read()
    try:
        yield _events(answer)
    finally:
        answer.close()
        connection.close()


def _events(answer: HTTPResponse) -> Iterator[Any]:
    while line := answer.readline():
        if line.startswith(b"data: "):
            yield json.loads(line.removeprefix(b"data: "))


def port_of(server: Process) -> int:
    """Of REST."""
    port = re.search(r"REST server listening on [^ ]*:(\d+)", server.log)
    assert port is not None
    return int(port[1])


def seen(events: Iterator[Any], law: Any) -> Any:
    """The first event of which the law is true."""
    return next(each for each in events if law(each))


def test_everything_that_is_configured_is_told_with_its_state(
    server: Server, rest: Rest
) -> None:
    with looking(rest) as events:
        told = {each["name"]: each for each in next(events)["servables"]}
    assert told.keys() >= {*zoo.models(), *zoo.GRAPHS}
    assert told["echo"]["kind"] == "graph"
    assert told["add_one"]["versions"] == [
        {"version": 1, "state": "AVAILABLE", "failed": False, "reason": ""}
    ]


def test_what_could_not_be_loaded_is_told_with_the_reason(tmp_path: Path) -> None:
    zoo.add_graph(tmp_path, "broken", zoo.ECHO.replace("PassThrough", "Nobodys"))
    config = zoo.write_config(tmp_path, [], [{"name": "broken"}])
    with serving(config) as server, looking(Rest(server.app.rest_port)) as events:
        (told,) = next(events)["servables"]
        (version,) = told["versions"]
        assert "Nobodys" in version["reason"]
        assert version["failed"]
        assert str(tmp_path) not in json.dumps(told)


def test_open_streams_have_an_age_and_a_lag(server: Server, rest: Rest) -> None:
    with (
        server.connect() as channel,
        Stream(channel) as stream,
        looking(rest) as events,
    ):
        assert next(events)["open"] == 0
        for number in range(30):
            stream.send(ask("slow", {"in": SQUARE}, at=number))
        late = seen(events, lambda each: each["open"] and each["streams"][0]["lag"] > 0)
        (told,) = late["streams"]
        assert told["servable"] == "slow"
        assert told["age"] >= told["lag"] > 0
        assert told["under_way"] > 0
        stream.cancel()
        assert seen(events, lambda each: each["open"] == 0)["streams"] == []


def test_a_stream_on_a_model_is_told_too(server: Server, rest: Rest) -> None:
    with server.connect() as channel, looking(rest) as events:
        request = ask("add_one", {"x": floats(*range(10))})
        with Stream(channel, request) as stream:
            stream.answer()
            told = seen(events, lambda each: each["open"])["streams"]
            assert [each["servable"] for each in told] == ["add_one"]
            assert told[0]["lag"] == 0
        seen(events, lambda each: not each["open"])


def is_answered(event: Any) -> bool:
    """Whether requests came, and more answers than these."""
    return event["graph"]["answers"] > event["graph"]["requests"] > 0


def test_what_a_graph_does_is_told_of_streams_that_were_open(
    server: Server, rest: Rest
) -> None:
    request = ask("fan", {"in": ROW})
    with server.connect() as channel, Stream(channel, request) as stream:
        for _ in ("same", "more"):
            stream.answer()
        with looking(rest, "fan") as events:
            next(events)
            for _ in range(10):
                stream.send(request)
                for _ in ("same", "more"):
                    stream.answer()
            # A look may come between a request and its answers; another has the rest.
            graph = seen(events, is_answered)["graph"]
        assert graph["answers"] > graph["requests"]
        assert graph["latency"] > 0
        assert graph["streams"].keys() == {"in", "same", "more"}
        busy = [node for node in graph["nodes"] if node["rate"] > 0]
        assert len(busy) == 2
        assert all(0 < node["busy"] <= node["latency"] for node in busy)


def test_what_waits_in_a_graph_is_told(server: Server, rest: Rest) -> None:
    with (
        server.connect() as channel,
        Stream(channel) as stream,
        looking(rest, "join") as events,
    ):
        zero = np.zeros((1, 4), np.float32)
        for number in range(3):
            stream.send(ask("join", {"a": zero}, at=number))
        told = seen(
            events, lambda each: each["graph"] and each["graph"]["waiting"].get("a")
        )
        assert told["graph"]["waiting"]["a"] >= 1
        assert sum(each["waiting"] for each in told["graph"]["nodes"]) >= 1


def test_with_no_page_open_nobody_watches(server: Server, rest: Rest) -> None:
    watching = server.app.observing.watching
    assert until(lambda: watching.sink("fan") is None)  # who looked before has left
    with looking(rest, "fan") as events:
        next(events)
        assert watching.sink("fan") is not None
        assert watching.sink("echo") is None
    assert until(lambda: watching.sink("fan") is None)


def test_a_page_that_vanishes_is_noticed(server: Server, rest: Rest) -> None:
    connection = socket.create_connection((HOST, rest.port))
    connection.sendall(b"GET /v1/live?graph=fan HTTP/1.1\r\nhost: x\r\n\r\n")
    watching = server.app.observing.watching
    assert until(lambda: watching.sink("fan") is not None)
    connection.close()
    assert until(lambda: watching.sink("fan") is None)


def test_who_looks_from_another_process_is_forgotten_when_he_asks_no_more(
    server: Server,
) -> None:
    looks, watching = server.app.looks, server.app.observing.watching
    assert looks.seen_from_afar("2.1", "")["servables"]
    assert not watching.is_watched("fan")
    assert looks.seen_from_afar("2.1", "fan")["graph"] is None
    assert watching.is_watched("fan")
    looks.seen_from_afar("2.1", "echo")  # the same page shows something else
    assert not watching.is_watched("fan")
    assert watching.is_watched("echo")
    assert until(lambda: not watching.is_watched("echo"), 30)
    looks.seen_from_afar("2.1", "echo")  # and again
    assert until(lambda: not watching.is_watched("echo"), 30)


def test_so_many_pages_may_be_open(server: Server, rest: Rest) -> None:
    assert until(lambda: viewers(server) == 0)
    with ExitStack() as open_:
        for _ in range(MAX_VIEWERS):
            next(open_.enter_context(looking(rest)))
        refused = rest.get("/v1/live")
        assert refused.code == 503
        assert "pages are open" in refused.error
        assert rest.get("/v2/health/live").code == 200
    assert until(lambda: viewers(server) == 0)


def viewers(server: Server) -> int:
    return server.app._rest._seeing._viewers  # pyright: ignore[reportOptionalMemberAccess]


def test_failures_are_told_as_their_clients_were(server: Server, rest: Rest) -> None:
    with server.connect() as channel:
        _, text = refusal(channel, ask("fan", {"stranger <b>": floats(1)}))
    with looking(rest) as events:
        latest = next(events)["errors"][0]
    assert text in latest["text"]
    assert latest["time"] > 1e9


def test_a_graph_has_a_picture_without_files_and_options(
    server: Server, rest: Rest
) -> None:
    told = rest.get("/v1/graphs/fan").json
    keys = {each["key"].split(":")[-1] for each in told["items"]}
    assert {"in", "same", "more", "OpenVINOInferenceCalculator"} <= keys
    assert told["pictures"] == {"inputs": [], "outputs": []}
    assert all(line["way"].startswith("M") for line in told["lines"])
    assert "graph.pbtxt" not in json.dumps(told)
    image = rest.get("/v1/graphs/image").json
    assert image["pictures"] == {"inputs": ["in"], "outputs": ["out"]}


@pytest.mark.parametrize("path", ["/v1/graphs/{}", "/v1/live?graph={}"])
@pytest.mark.parametrize("name", ["nobody", "add_one", "..%2F..%2Fetc%2Fpasswd"])
def test_what_is_no_graph_has_none(rest: Rest, path: str, name: str) -> None:
    assert rest.get(path.format(name)).code in {400, 404}


def test_files_of_the_page_may_load_nothing_from_elsewhere(rest: Rest) -> None:
    for path in page.REALMS:
        answer = rest.get(path)
        assert answer.code == 200
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "http" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
    for path in ("/ui/", "/ui/..%2Fapp.py", "/ui/app.py", "/ui/nothing.js"):
        assert rest.get(path).code == 400


def test_a_flag_switches_the_page_off(tmp_path: Path) -> None:
    zoo.add_graph(tmp_path, "echo", zoo.ECHO)
    config = zoo.write_config(tmp_path, [], [{"name": "echo"}])
    with serving(config, rest=RestSettings(ui=False)) as server:
        rest = Rest(server.app.rest_port)
        for path in ("/ui", "/ui/app.js", "/v1/live", "/v1/graphs/echo"):
            assert rest.get(path).code == 400


def test_the_page_is_for_everybody_and_what_it_shows_for_those_with_a_key(
    tmp_path: Path,
) -> None:
    zoo.add_graph(tmp_path, "echo", zoo.ECHO)
    config = zoo.write_config(tmp_path, [], [{"name": "echo"}])
    (tmp_path / "keys").write_text("client")
    with serving(config, security=SecuritySettings(tmp_path / "keys")) as server:
        rest = Rest(server.app.rest_port)
        assert rest.get("/ui").code == 200
        assert rest.get("/v1/live").code == 401
        assert rest.get("/v1/graphs/echo").code == 401
        with looking(rest, key="client") as events:
            assert next(events)["servables"]


def test_a_server_that_stops_ends_what_a_page_is_told(tmp_path: Path) -> None:
    """Else it would wait for the page to be closed, and cut it off in the end."""
    zoo.add_graph(tmp_path, "echo", zoo.ECHO)
    config = zoo.write_config(tmp_path, [], [{"name": "echo"}])
    with Process(
        tmp_path, "--config_path", str(config), "--rest_port", "auto"
    ) as server:
        server.ready()
        with looking(Rest(port_of(server))) as events:
            next(events)
            server.ask_to_stop()
            assert all(each["servables"] for each in events)  # no IncompleteRead
        assert server.code() == 0
