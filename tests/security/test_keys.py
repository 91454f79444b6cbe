"""Keys: every method and route asks for one, but those that probes call."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http
from ovms_mp_protos import kserve
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from ovms_mp.frontend.grpc.routes import health_of, routes
from ovms_mp.frontend.http.app import NO_KEYS, STREAMS
from ovms_mp.frontend.http.app import Rest as RestApp
from ovms_mp.settings import SecuritySettings
from tests.wire import zoo
from tests.wire.calls import Stream, ask, floats, status_of
from tests.wire.rest import Answer, Rest
from tests.wire.servers import HOST, Process, Server, serving
from tests.wire.waiting import until

CLIENT, ADMIN = "client-key-1", "admin-key-1"

# What a probe asks, and whoever collects metrics.
OPEN = {
    *(kserve.SERVER_LIVE, kserve.SERVER_READY, kserve.MODEL_READY),
    *(kserve.HEALTH_CHECK, kserve.HEALTH_WATCH),
    *("/v2/health/live", "/v2/health/ready", "/metrics"),
    *("/v2/models/{name}/ready", "/v2/models/{name}/versions/{version}/ready"),
}
ADMINS = {"/v1/config/reload", "/v1/limits"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys")
    zoo.add_graph(folder, "echo", zoo.ECHO)
    zoo.write_config(folder, [], [{"name": "echo"}])
    (folder / "keys").write_text(f"an-older-key\n\n{CLIENT}\n")
    (folder / "admins").write_text(ADMIN)
    return folder


@pytest.fixture(scope="module", params=["core", "aio"])
def server(folder: Path, request: pytest.FixtureRequest) -> Iterator[Server]:
    security = SecuritySettings(folder / "keys", folder / "admins")
    config = folder / "config.json"
    with serving(config, security=security, grpc_transport=request.param) as server:
        yield server
        assert not any(key in line for line in server.log for key in (CLIENT, ADMIN))


@pytest.fixture
def channel(server: Server) -> Iterator[grpc.Channel]:
    with server.connect() as channel:
        yield channel


@pytest.fixture
def rest(server: Server) -> Rest:
    return Rest(server.app.rest_port)


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


def code_of(channel: grpc.Channel, path: str, *headers: tuple[str, str | bytes]) -> str:
    """With what a method ends that is asked nonsense, by a client that then stops."""
    call = channel.stream_stream(path)(
        iter([b"\xff"]), metadata=headers, timeout=10, wait_for_ready=True
    )
    try:
        for _ in call:
            call.cancel()
    except grpc.RpcError:
        pass
    return call.code().name


def methods(server: Server) -> list[str]:
    """Every one that there is."""
    catalog = server.app.catalog
    return [*routes(catalog, health_of(catalog), "", NO_KEYS)]


def http_routes(server: Server) -> list[tuple[str, str]]:
    app = RestApp(server.app.catalog, server.app.reload, "", page=bytes)
    try:
        # All that Starlette finds, of whatever kind it is.
        assert [*app.routes, *app.sockets] == app._app.routes
        return [
            (method, each.path)
            for each in app.routes
            for method in (each.methods or ())
            if method != "HEAD"
        ]
    finally:
        app.close()


def refused_socket(server: Server, path: str, **headers: str) -> int:
    """The code with which a WebSocket is refused; 0 if it is opened."""
    filled = path.replace("{name}", "echo").replace("{version}", "1")
    uri = f"ws://{HOST}:{server.app.rest_port}{filled}"
    try:
        with connect(uri, additional_headers=headers):
            return 0
    except InvalidStatus as refused:
        return refused.response.status_code


def ask_http(rest: Rest, method: str, path: str, **headers: str) -> Answer:
    filled = path.replace("{name}", "echo").replace("{version}", "1")
    return rest.ask(method, filled, b"{" if method == "POST" else b"", headers)


def test_every_method_wants_a_key_but_those_of_probes(
    server: Server, channel: grpc.Channel
) -> None:
    refused = ("UNAUTHENTICATED", "PERMISSION_DENIED")
    for path in methods(server):
        is_open = path in OPEN
        assert (code_of(channel, path) == "UNAUTHENTICATED") is not is_open, path
        wrong = code_of(channel, path, ("authorization", "Bearer no"))
        assert (wrong == "UNAUTHENTICATED") is not is_open, path
        for key in (CLIENT, "an-older-key", ADMIN):
            code = code_of(channel, path, ("authorization", f"Bearer {key}"))
            assert code not in refused, path


def test_every_route_wants_a_key_but_those_of_probes(
    server: Server, rest: Rest
) -> None:
    for method, path in http_routes(server):
        is_open = path in OPEN
        without = ask_http(rest, method, path)
        assert (without.code == 401) is not is_open, path
        if not is_open:
            assert without.headers["www-authenticate"] == "Bearer"
            assert "an API key is needed" in without.error
        wrong = ask_http(rest, method, path, **bearer("no"))
        assert (wrong.code == 401) is not is_open, path
        code = ask_http(rest, method, path, **bearer(CLIENT)).code
        assert (code == 403) is (path in ADMINS), path
        assert code != 401
        assert ask_http(rest, method, path, **bearer(ADMIN)).code not in (401, 403)


@pytest.mark.parametrize("path", STREAMS)
def test_every_websocket_wants_a_key(server: Server, path: str) -> None:
    for headers in ({}, bearer("no"), {"authorization": f"Basic {CLIENT}"}):
        assert refused_socket(server, path, **headers) == 401
    for key in (CLIENT, "an-older-key", ADMIN):
        assert refused_socket(server, path, **bearer(key)) == 0


@pytest.mark.parametrize(
    "headers",
    [
        [("authorization", CLIENT)],
        [("authorization", f"Basic {CLIENT}")],
        [("authorization", "Bearer ")],
        [("authorization", f"Bearer {CLIENT}x")],
        [("authorization", f"Bearer {CLIENT[:-1]}")],
        [("authorization", f"Bearer {CLIENT}"), ("authorization", "Bearer no")],
        [("x-api-key", CLIENT)],
        [("authorization-bin", f"Bearer {CLIENT}")],
    ],
)
def test_what_is_no_key_is_none(
    channel: grpc.Channel, headers: list[tuple[str, str]]
) -> None:
    sent = [
        (name, value.encode() if name.endswith("-bin") else value)
        for name, value in headers
    ]
    assert code_of(channel, kserve.MODEL_INFER, *sent) == "UNAUTHENTICATED"


def test_the_scheme_may_be_in_any_case(channel: grpc.Channel) -> None:
    header = ("authorization", f"bEARER {CLIENT}")
    assert code_of(channel, kserve.SERVER_METADATA, header) == "INVALID_ARGUMENT"


def test_a_stream_without_a_key_ends_before_its_first_message(
    server: Server, channel: grpc.Channel
) -> None:
    with Stream(channel, ask("echo", {"in": floats(1)})) as stream:
        assert stream.end() == (
            "UNAUTHENTICATED",
            "an API key is needed: authorization: Bearer KEY",
        )
    assert until(server.is_idle)


def test_who_has_no_key_is_refused_before_he_has_sent_anything(
    server: Server, channel: grpc.Channel
) -> None:
    """Or a stranger could make the server take in what he likes."""
    there_is_nothing = threading.Event()
    for path in methods(server):
        if path not in OPEN:
            call = channel.stream_stream(path)(
                (b"" for _ in iter(there_is_nothing.wait, True)), timeout=20
            )
            assert status_of(lambda call=call: list(call))[0] == "UNAUTHENTICATED", path
    there_is_nothing.set()


def test_tritons_clients_show_their_key(server: Server) -> None:
    url = f"{HOST}:{server.app.port}"
    grpc_input = tritonclient.grpc.InferInput("in", [1], "FP32")
    grpc_input.set_data_from_numpy(np.ones(1, np.float32))
    with tritonclient.grpc.InferenceServerClient(url) as client:
        assert client.is_server_ready()
        result = client.infer("echo", [grpc_input], headers=bearer(CLIENT))
        assert result is not None
        assert result.as_numpy("out") == [1]
        with pytest.raises(Exception, match="UNAUTHENTICATED"):
            client.infer("echo", [grpc_input])
    url = f"{HOST}:{server.app.rest_port}"
    http_input = tritonclient.http.InferInput("in", [1], "FP32")
    http_input.set_data_from_numpy(np.ones(1, np.float32))
    with tritonclient.http.InferenceServerClient(url) as http_client:
        answer = http_client.infer("echo", [http_input], headers=bearer(CLIENT))
        assert answer.as_numpy("out") == [1]
        with pytest.raises(Exception, match="401"):
            http_client.infer("echo", [http_input])


def test_keys_change_while_the_server_runs(tmp_path: Path, folder: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("old\n")
    method, config = kserve.SERVER_METADATA, folder / "config.json"
    with (
        serving(config, security=SecuritySettings(keys)) as server,
        server.connect() as channel,
    ):

        def is_good(key: str) -> bool:
            code = code_of(channel, method, ("authorization", f"Bearer {key}"))
            return code != "UNAUTHENTICATED"

        assert is_good("old")
        assert not is_good("new")
        keys.write_text("old\nnew\n")
        assert until(lambda: is_good("new"))
        assert is_good("old")
        keys.write_text("new\n")
        assert until(lambda: not is_good("old"))
        assert is_good("new")
        keys.write_text("\n")
        for said in ("expected a key a line", "keys cannot be read"):
            assert until(lambda said=said: is_good("new") and server.said(said, "stay"))
            keys.unlink(missing_ok=True)
        assert not is_good("")


def test_without_a_key_of_clients_only_administrators_are_asked(folder: Path) -> None:
    security = SecuritySettings(admin_api_key_file=folder / "admins")
    with serving(folder / "config.json", security=security) as server:
        rest = Rest(server.app.rest_port)
        assert rest.get("/v1/config").code == 200
        assert ask_http(rest, "POST", "/v1/config/reload").code == 401
        answer = rest.ask("POST", "/v1/config/reload", b"", bearer(ADMIN))
        assert answer.code in (200, 201)


def test_a_key_of_the_environment_is_one(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("API_KEY", CLIENT)
    config = folder / "config.json"
    with serving(config) as server, server.connect() as channel:
        assert code_of(channel, kserve.MODEL_INFER) == "UNAUTHENTICATED"
        header = ("authorization", f"Bearer {CLIENT}")
        assert code_of(channel, kserve.SERVER_METADATA, header) == "INVALID_ARGUMENT"


@pytest.mark.parametrize("content", [None, "", "\n \n", "two words\n", "kéy\n"])
def test_keys_that_are_none_are_no_start(
    tmp_path: Path, folder: Path, content: str | None
) -> None:
    keys = tmp_path / "keys"
    if content is not None:
        keys.write_text(content)
    flags = ("--config_path", str(folder / "config.json"), "--api_key_file", str(keys))
    with Process(tmp_path, *flags) as server:
        assert server.code() == 1
        assert f"{keys}: " in server.log
        assert "Traceback" not in server.log
