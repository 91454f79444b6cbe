"""What an operator reads of requests: why one failed, a line for each if that is wanted,
and nothing that a client has written as if it were the server's.
"""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import grpc
import pytest
from ovms_mp_protos import kserve

from tests.unit.inference import tiny
from tests.wire import calls, rest, zoo
from tests.wire.calls import Stream, ask, floats, infer, refusal, status_of
from tests.wire.servers import HOST, Process
from tests.wire.waiting import until

FIVE: Final = floats(1, 2, 3, 4, 5)
KEY: Final = "a-secret-key-of-thirty-characters"
BEARER: Final = (("authorization", f"Bearer {KEY}"),)
HEADERS: Final = {"authorization": f"Bearer {KEY}"}
LINE: Final = re.compile(
    r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}\]\[[\w-]+\]\[[a-z]+\] .*"
)
FORGED: Final = "[2026-11-22 21:14:55.123][serving][info] all is well"
WICKED: Final = (
    f"x\n{FORGED}",
    f"x\r\n{FORGED}",
    "\x1b[2J\x1b[31mred\x07",
    "a\x00b\x7f\x85\u2028\u202egnp",
    '" OK 0.1 ms',
    "n" * 100_000,
)


class Logged:
    """A server process, and what it prints."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.address = process.ready()
        found = re.search(r"REST server listening on [^ ]*:(\d+)", process.log)
        assert found is not None
        self.rest = rest.Rest(int(found[1]))

    def connect(self) -> grpc.Channel:
        return calls.connect(self.address)

    def lines(self) -> list[str]:
        # Not splitlines, which would break a line where a terminal would, too. What
        # follows the last end of a line is none yet.
        return self.process.log.split("\n")[:-1]

    def said(self, *words: str) -> bool:
        return any(all(word in line for word in words) for line in self.lines())


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("logged")
    (folder / "keys").write_text(f"{KEY}\n")
    zoo.add_model(folder, "add_one", tiny.add_one((1, 5)))
    zoo.add_graph(folder, "echo", zoo.ECHO)
    return zoo.write_config(folder, [zoo.entry("add_one")], [{"name": "echo"}])


def started(config: Path, folder: Path, *flags: str) -> Process:
    everything = ("--config_path", str(config), "--rest_port", "auto")
    keys = ("--api_key_file", str(config.parent / "keys"))
    return Process(folder, *everything, *keys, *flags)


@pytest.fixture(scope="module")
def text(config: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Logged]:
    folder = tmp_path_factory.mktemp("text")
    with started(config, folder, "--access_log") as process:
        yield Logged(process)


@pytest.fixture(scope="module")
def in_json(config: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Logged]:
    folder = tmp_path_factory.mktemp("json")
    flags = ("--access_log", "--log_format", "json")
    with started(config, folder, *flags) as process:
        yield Logged(process)


@pytest.fixture(scope="module")
def plain(config: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Logged]:
    with started(config, tmp_path_factory.mktemp("plain")) as process:
        yield Logged(process)


def ask_wickedly(server: Logged, name: str) -> None:
    """By every way that a name has into the server."""
    with server.connect() as channel:
        request = ask(name, {name[:500]: FIVE})
        for each in (request, ask("add_one", {name[:500]: FIVE})):
            with pytest.raises(grpc.RpcError):
                infer(channel, each, metadata=BEARER)
        method: Any = channel.unary_unary(kserve.MODEL_METADATA)
        message = kserve.ModelMetadataRequest(name=name).SerializeToString()
        assert status_of(lambda: method(message, metadata=BEARER))[0] == "NOT_FOUND"
        nowhere: Any = channel.unary_unary("/" + quote(name[:5000], safe=""))
        assert status_of(lambda: nowhere(b""))[0] == "UNIMPLEMENTED"
        stream: Any = channel.stream_stream(kserve.MODEL_STREAM_INFER)
        messages = iter([request.SerializeToString()])
        said = status_of(lambda: list(stream(messages, metadata=BEARER)))
        assert said[0] == "NOT_FOUND"
    path = quote(name[:5000], safe="")
    inputs = rest.inputs(rest.tensor(name[:500], FIVE))
    assert server.rest.infer(path, inputs, headers=HEADERS).code == 404
    assert server.rest.infer("add_one", inputs, headers=HEADERS).code == 400
    assert server.rest.ask("GET", f"/v2/models/{path}?x={KEY}", headers=HEADERS).code


@pytest.mark.parametrize("name", WICKED, ids=range(len(WICKED)))
def test_no_name_writes_a_line_of_its_own_or_drives_a_terminal(
    text: Logged, in_json: Logged, name: str
) -> None:
    for server in (text, in_json):
        ask_wickedly(server, name)
    lines = [*text.lines(), *in_json.lines()]
    for line in lines:
        assert not line.startswith(FORGED)
        assert line.isprintable(), repr(line)
        assert len(line) < 3000
    assert all(map(LINE.fullmatch, text.lines()))
    for line in in_json.lines():
        assert line.isascii()
        assert {"time", "level", "logger", "message"} <= json.loads(line).keys()


def test_no_secret_is_in_a_log(text: Logged, in_json: Logged) -> None:
    for server in (text, in_json):
        ask_wickedly(server, "y")
        with server.connect() as channel:
            wrong = (("authorization", "Bearer another-key-that-nobody-has"),)
            with pytest.raises(grpc.RpcError):
                infer(channel, ask("add_one", {"x": FIVE}), metadata=wrong)
        assert until(lambda s=server: s.said("UNAUTHENTICATED"))
        log = server.process.log
        assert KEY not in log
        assert "another-key" not in log


def test_why_a_request_failed_is_said_without_being_asked_for(plain: Logged) -> None:
    with plain.connect() as channel:
        with pytest.raises(grpc.RpcError):
            infer(channel, ask("nobody", {"x": FIVE}), metadata=BEARER)
        with pytest.raises(grpc.RpcError):
            infer(channel, ask("add_one", {"y": FIVE}), metadata=BEARER)
        assert refusal(channel, ask("add_one", {"x": FIVE}))[0] == "UNAUTHENTICATED"
    inputs = rest.inputs(rest.tensor("y", FIVE))
    assert plain.rest.infer("echo", inputs, headers=HEADERS).code == 400
    for words in (
        (
            'gRPC ModelInfer "nobody" failed: NOT_FOUND: ',
            "is not found",
        ),
        ('gRPC ModelInfer "add_one" failed: INVALID_ARGUMENT: ', "input: x"),
        ("gRPC ModelInfer failed: UNAUTHENTICATED: ",),
        ('REST POST /v2/models/{name}/infer "echo" failed: 400: ', "y is unexpected"),
    ):
        assert until(lambda w=words: plain.said("][info] ", *w)), words


def test_why_rest_refused_what_has_no_route_is_said_too(plain: Logged) -> None:
    assert plain.rest.get("/nowhere%0aelse?x=y").code == 400
    assert plain.rest.ask("DELETE", "/v2").code == 406
    assert plain.rest.ask("POST", "/v2", headers=HEADERS).code == 406
    assert plain.rest.get("/v1/config").code == 401
    with socket.create_connection((HOST, plain.rest.port), timeout=20) as connection:
        connection.sendall(b"no http at all\r\n\r\n")
        assert b" 400 " in connection.recv(1 << 12)
    for line in (
        "REST GET /nowhere%0aelse failed: 400: Invalid request URL",
        "REST DELETE /v2 failed: 406: Unsupported method",
        "REST POST /v2 failed: 406: Unsupported method",
        "REST GET /v1/config failed: 401: an API key is needed",
        "REST request failed: 400: ",
    ):
        assert until(lambda x=line: plain.said("][info] ", x)), line


def test_a_request_that_a_stream_survives_is_said_too(plain: Logged) -> None:
    message = ask("echo", {"no": FIVE}).SerializeToString()
    with plain.connect() as channel:
        stream: Any = channel.stream_stream(kserve.MODEL_STREAM_INFER)
        answers = list(stream(iter([message]), metadata=BEARER))
    assert len(answers) == 1
    said = 'gRPC ModelStreamInfer "echo" failed: INVALID_ARGUMENT: Unexpected input'
    assert until(lambda: plain.said(said))


def test_a_flood_of_failures_is_no_flood_of_lines(plain: Logged) -> None:
    count = 300
    before = len(plain.lines())
    with plain.connect() as channel:
        for _ in range(count):
            with pytest.raises(grpc.RpcError):
                infer(channel, ask("flood", {"x": FIVE}), metadata=BEARER)

    def told() -> int:
        lines = plain.lines()[before:]
        shown = sum('"flood" failed: NOT_FOUND' in line for line in lines)
        counted = [re.search(r"gRPC NOT_FOUND: (\d+) more", line) for line in lines]
        return shown + sum(int(each[1]) for each in counted if each)

    assert until(lambda: told() == count)
    shown = [line for line in plain.lines()[before:] if '"flood" failed' in line]
    assert 0 < len(shown) < count / 2


def test_an_access_log_has_a_line_for_each_request(
    text: Logged, in_json: Logged
) -> None:
    for server in (text, in_json):
        with server.connect() as channel:
            infer(channel, ask("add_one", {"x": FIVE}), metadata=BEARER)
            stream: Any = channel.stream_stream(kserve.MODEL_STREAM_INFER)
            messages = [ask("echo", {"in": FIVE}).SerializeToString()] * 3
            assert len(list(stream(iter(messages), metadata=BEARER))) == 3
            with Stream(channel, ask("echo", {"in": FIVE})) as refused:
                assert refused.end()[0] == "UNAUTHENTICATED"
            # At once, as what a graph answers, and as what ends a stream.
            infer(channel, ask("echo", {"in": FIVE}), metadata=BEARER)
            for name, tensor in (("add_one", "y"), ("echo", "no")):
                bad = ask(name, {tensor: FIVE})
                with pytest.raises(grpc.RpcError):
                    infer(channel, bad, metadata=BEARER)
            nobody = iter([ask("nobody", {"in": FIVE}).SerializeToString()])
            assert (
                status_of(lambda s=stream, n=nobody: [*s(n, metadata=BEARER)])[0]
                == "NOT_FOUND"
            )
        inputs = rest.inputs(rest.tensor("x", FIVE))
        assert server.rest.infer("add_one", inputs, headers=HEADERS).code == 200
        assert server.rest.get("/nowhere").code == 400
    for line in (
        r'gRPC ModelInfer "add_one" OK [\d.]+ ms',
        r'gRPC ModelInfer "echo" OK [\d.]+ ms',
        r'gRPC ModelInfer "add_one" INVALID_ARGUMENT [\d.]+ ms',
        r'gRPC ModelInfer "echo" INVALID_ARGUMENT [\d.]+ ms',
        r'gRPC ModelStreamInfer "echo" OK [\d.]+ ms',
        r'gRPC ModelStreamInfer "nobody" NOT_FOUND [\d.]+ ms',
        r"gRPC ModelStreamInfer UNAUTHENTICATED [\d.]+ ms",
        r'REST POST /v2/models/add_one/infer "add_one" 200 [\d.]+ ms',
        r"REST GET /nowhere 400 [\d.]+ ms",
    ):
        assert until(lambda x=line: re.search(rf"\[info\] {x}\n", text.process.log)), (
            line
        )
    wanted = {"interface": "gRPC", "method": "ModelInfer", "code": "OK"}

    def found() -> list[Any]:
        said = [json.loads(each) for each in in_json.lines()]
        return [each for each in said if wanted.items() <= each.items()]

    assert until(found)
    first = found()[0]
    assert first["servable"] == "add_one" and 0 < first["ms"] < 60_000
    assert first["logger"] == "ovms_mp.access" and first["level"] == "info"


def test_without_access_log_who_succeeds_leaves_no_line(plain: Logged) -> None:
    before = len(plain.lines())
    with plain.connect() as channel:
        infer(channel, ask("add_one", {"x": FIVE}), metadata=BEARER)

        def is_told() -> bool:
            """One may be left out, right after a flood of them."""
            with pytest.raises(grpc.RpcError):
                infer(channel, ask("the last", {"x": FIVE}), metadata=BEARER)
            return plain.said('"the last" failed')

        assert until(is_told)
    assert not any('"add_one" OK' in line for line in plain.lines()[before:])
