"""What a client may use up of a server ends at the limit that docs/limits.md tells, over
either port, and who keeps to it does not notice.
"""

from __future__ import annotations

import gc
import gzip
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import grpc
import numpy as np
import pytest
import trustme
from hyperframe.frame import GoAwayFrame, PingFrame, SettingsFrame
from ovms_mp_protos import kserve

from ovms_mp import app
from ovms_mp.frontend.grpc.quota import Quota
from ovms_mp.settings import LimitSettings, SecuritySettings, TlsPaths
from tests.wire import rest, web, zoo
from tests.wire.calls import OPTIONS, Stream, ask, floats, infer, refusal, status_of
from tests.wire.servers import HOST, Server, serving
from tests.wire.transport.rude import Rude
from tests.wire.waiting import until

MIB: Final = 1 << 20
FIVE: Final = floats(1, 2, 3, 4, 5)
LIMITS: Final = LimitSettings(
    max_response_size=MIB, max_streams=3, grpc_max_concurrent_streams=2
)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("limited")
    zoo.add_graph(folder, "echo", zoo.ECHO)
    return zoo.write_config(folder, [], [{"name": "echo"}])


@pytest.fixture(scope="module", params=["core", "aio"])
def usual(config: Path, request: pytest.FixtureRequest) -> Iterator[Server]:
    """As no flag says anything, but for the size of a message."""
    with serving(
        config, grpc_transport=request.param, grpc_max_message_size=MIB
    ) as server:
        yield server


@pytest.fixture(scope="module", params=["core", "aio"])
def strict(config: Path, request: pytest.FixtureRequest) -> Iterator[Server]:
    with serving(config, grpc_transport=request.param, limits=LIMITS) as server:
        yield server


def test_metadata_have_a_limit_that_is_no_matter_of_chance(usual: Server) -> None:
    fits, too_much = ((("x", "y" * size),) for size in (15_000, 17_000))
    with usual.connect() as channel:
        for _ in range(30):
            assert infer(channel, ask("echo", {"in": FIVE}), metadata=fits)
        for _ in range(10):
            said = status_of(
                lambda: infer(channel, ask("echo", {"in": FIVE}), metadata=too_much)
            )
            assert said[0] == "RESOURCE_EXHAUSTED"


def compressing(server: Server) -> grpc.Channel:
    return grpc.insecure_channel(
        server.address, OPTIONS, compression=grpc.Compression.Gzip
    )


def test_what_is_compressed_is_refused_unless_the_operator_wants_it(
    usual: Server,
) -> None:
    with compressing(usual) as channel:
        request = ask("echo", {"in": np.zeros(1000, np.float32)})
        assert refusal(channel, request)[0] == "UNIMPLEMENTED"


@pytest.mark.parametrize("transport", ["core", "aio"])
def test_where_it_is_wanted_the_limit_is_on_what_it_is_inflated(
    config: Path, transport: str
) -> None:
    limits = LimitSettings(grpc_compression=True)
    fits = np.zeros(MIB // 8, np.float32)
    bomb = np.zeros(16 * MIB, np.float32)
    request = ask("echo", {"in": bomb})
    assert len(gzip.compress(request.SerializeToString())) < MIB
    with (
        serving(
            config,
            grpc_transport=transport,
            grpc_max_message_size=MIB,
            limits=limits,
        ) as server,
        compressing(server) as channel,
    ):
        assert infer(channel, ask("echo", {"in": fits}))
        assert refusal(channel, request)[0] == "RESOURCE_EXHAUSTED"
        assert infer(channel, ask("echo", {"in": fits}))


def test_an_answer_has_a_limit_over_every_way(strict: Server) -> None:
    fits, large = np.zeros(MIB - 1000, np.uint8), np.zeros(MIB + 1, np.uint8)
    said = "and at most 1048576 may be sent"
    with strict.connect() as channel:
        assert infer(channel, ask("echo", {"in": fits}))
        code, text = refusal(channel, ask("echo", {"in": large}))
        assert (code, said in text) == ("RESOURCE_EXHAUSTED", True)
        with Stream(channel, ask("echo", {"in": fits})) as stream:
            assert stream.answer()
            stream.send(ask("echo", {"in": large}))
            code, text = stream.end()
            assert (code, said in text) == ("RESOURCE_EXHAUSTED", True)
    client = rest.Rest(strict.app.rest_port)
    given: dict[str, Any] = {"name": "in", "datatype": "UINT8"}
    wanted = {"binary_data_output": True}
    for array, code in ((fits, 200), (large, 429)):
        document = rest.inputs({**given, "shape": [len(array)]}, parameters=wanted)
        answer = client.infer("echo", document, array.tobytes())
        assert answer.code == code
    assert said in answer.error
    assert until(strict.is_idle)


def test_a_process_has_so_many_streams_and_each_that_ends_makes_room(
    strict: Server,
) -> None:
    """However it ends: by its client's half-close, its departure, or a refusal."""
    for _ in range(4):
        with ExitStack() as stack:

            def opened(stack: ExitStack = stack) -> Stream:
                # Connections of their own: another limit is on those.
                channel = stack.enter_context(strict.connect())
                return stack.enter_context(Stream(channel, ask("echo", {"in": FIVE})))

            streams = [opened() for _ in range(3)]
            for each in streams:
                assert each.answer()
            assert opened().end() == (
                "RESOURCE_EXHAUSTED",
                "Resource exhausted - the server has 3 streams open (--max_streams)",
            )
            streams[0].half_close()
            assert streams[0].end() == ("OK", "")
            assert opened().answer()
            streams[1].send(b"\xff" * 10, ask("other", {"in": FIVE}))
        assert until(strict.is_idle)
        with strict.connect() as channel, Stream(channel, ask("no", {})) as refused:
            assert refused.end()[0] == "NOT_FOUND"


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """Bytes that requests have in use: those of one are for a moment after its answer."""
    made: list[Quota] = []

    def make(limit: int) -> Quota:
        made.append(Quota(limit))
        return made[-1]

    def held() -> int:
        gc.collect()
        return made[-1].held

    monkeypatch.setattr(app, "Quota", make)
    return held


@pytest.mark.parametrize("transport", ["core", "aio"])
def test_what_requests_have_in_use_has_a_limit_together(
    tmp_path: Path, transport: str, held: Callable[[], int]
) -> None:
    both = zoo.graph(["A:a", "B:b"], ["A:c", "B:d"], zoo.passing("a c", "b d"))
    zoo.add_graph(tmp_path, "both", both)
    zoo.add_graph(tmp_path, "echo", zoo.ECHO)
    config = zoo.write_config(tmp_path, [], [{"name": "both"}, {"name": "echo"}])
    limits = LimitSettings(grpc_memory_quota=3 * MIB + 1000)
    large, said = np.zeros(MIB, np.uint8), "requests have 3"
    with (
        serving(config, limits=limits, grpc_transport=transport) as server,
        server.connect() as channel,
        server.connect() as another,
    ):

        def code() -> str:
            return refusal(another, ask("echo", {"in": large}))[0]

        # What is at one input of the graph waits there for the other.
        with Stream(
            channel, *(ask("both", {"a": large}, at=n) for n in range(4))
        ) as on:
            refused = on.refusal()
            assert "--grpc_memory_quota" in refused
            assert said in refused
            assert code() == "RESOURCE_EXHAUSTED"
            assert infer(another, ask("echo", {"in": FIVE}))
            on.send(ask("both", {"b": FIVE}, at=0))
            assert on.answer()
            assert until(lambda: code() == "OK")
            assert until(lambda: held() < 3 * MIB)
            on.send(ask("both", {"a": large}, at=3))
            # Of two that come at a time the other one may be first, and this one refused.
            assert until(lambda: held() > 3 * MIB)
            assert code() == "RESOURCE_EXHAUSTED"
        # The client has gone, and what it had in the graph.
        assert until(server.is_idle)
        assert until(lambda: code() == "OK")
        assert until(lambda: held() == 0)
        three = (ask("both", {"a": large}, at=n) for n in range(3))
        with Stream(channel, *three, ask("both", {"b": FIVE}, at=0)) as on:
            assert on.answer()


@pytest.mark.parametrize("is_json", [True, False], ids=["JSON", "binary"])
def test_what_websockets_have_in_use_counts_as_well(
    tmp_path: Path, is_json: bool, held: Callable[[], int]
) -> None:
    """Together with what came by gRPC; what came in JSON counts as the numbers that it
    says.
    """
    both = zoo.graph(["A:a", "B:b"], ["A:c", "B:d"], zoo.passing("a c", "b d"))
    zoo.add_graph(tmp_path, "both", both)
    zoo.add_graph(tmp_path, "echo", zoo.ECHO)
    config = zoo.write_config(tmp_path, [], [{"name": "both"}, {"name": "echo"}])
    limits = LimitSettings(grpc_memory_quota=4 * MIB)
    large = np.zeros(MIB // 4, np.float32)

    def message(name: str, array: np.ndarray) -> str | bytes:
        if is_json:
            return web.request(name, array)
        head = {"name": name, "shape": [*array.shape], "datatype": "FP32"}
        return web.binary(rest.inputs(head), array.tobytes())

    with serving(config, limits=limits) as server, server.connect() as channel:

        def code() -> str:
            return refusal(channel, ask("echo", {"in": np.zeros(MIB, np.uint8)}))[0]

        assert code() == "OK"
        assert until(lambda: held() == 0)
        with web.stream(server, "both") as on:
            # What is at one input of the graph waits there for the other.
            for _ in range(4):
                on.send(message("a", large))
            said = web.answer(on)
            assert said["error_code"] == "RESOURCE_EXHAUSTED"
            assert "--grpc_memory_quota" in said["error"]
            assert code() == "RESOURCE_EXHAUSTED"
            on.send(message("b", large[:1]))
            assert on.recv(30) and on.recv(30)
            assert until(lambda: code() == "OK")
        assert until(server.is_idle)
        assert until(lambda: code() == "OK")


def test_calls_of_a_connection_wait_beyond_its_limit(strict: Server) -> None:
    with Rude(strict.app.port) as client:
        client.hello()
        (told,) = [
            frame.settings
            for frame, _ in zip(client.frames(), range(1), strict=False)
            if isinstance(frame, SettingsFrame)
        ]
    assert told[SettingsFrame.MAX_CONCURRENT_STREAMS] == 2
    with strict.connect() as channel:
        first, second = (Stream(channel, ask("echo", {"in": FIVE})) for _ in range(2))
        with first, second:
            assert first.answer() and second.answer()
            late = status_of(
                lambda: infer(channel, ask("echo", {"in": FIVE}), timeout=0.5)
            )
            assert late[0] == "DEADLINE_EXCEEDED"
            first.half_close()
            assert first.end() == ("OK", "")
            assert infer(channel, ask("echo", {"in": FIVE}))


def test_a_client_that_pings_without_end_is_sent_away(usual: Server) -> None:
    with Rude(usual.app.port) as client:
        client.hello()
        client.send(*[PingFrame(0, opaque_data=b"12345678") for _ in range(50)])
        goodbyes = [f for f in client.frames() if isinstance(f, GoAwayFrame)]
    assert goodbyes and goodbyes[-1].error_code == 11  # ENHANCE_YOUR_CALM
    with usual.connect() as channel:
        assert infer(channel, ask("echo", {"in": FIVE}))


HALF_OPEN: Final = 100


@pytest.mark.timeout(180)
@pytest.mark.parametrize("transport", ["core", "aio"])
def test_who_begins_a_handshake_and_goes_no_further_is_hung_up_on(
    config: Path, tmp_path: Path, transport: str
) -> None:
    """On both ports, while others are served. gRPC by itself would wait two minutes."""
    authority = trustme.CA()
    identity = authority.issue_cert("localhost")
    paths = TlsPaths(tmp_path / "chain", tmp_path / "key", None)
    paths.certificate.write_bytes(identity.cert_chain_pems[0].bytes())
    identity.private_key_pem.write_to_path(paths.key)
    security = SecuritySettings(grpc_tls=paths, rest_tls=paths)
    with serving(config, security=security, grpc_transport=transport) as server:
        ports = server.app.port, server.app.rest_port or 0
        begun = time.monotonic()
        waiting = [
            socket.create_connection((HOST, port), timeout=60)
            for port in ports
            for _ in range(HALF_OPEN)
        ]
        for number, each in enumerate(waiting):
            if number % 2:
                each.sendall(b"\x16\x03\x01\x02\x00\x01")  # the first of a ClientHello
        trust = grpc.ssl_channel_credentials(authority.cert_pem.bytes())
        with grpc.secure_channel(f"localhost:{ports[0]}", trust) as channel:
            live: Any = channel.unary_unary(kserve.SERVER_LIVE)
            assert live(b"", timeout=20)
        context = ssl.create_default_context(cadata=authority.cert_pem.bytes().decode())
        with (
            socket.create_connection((HOST, ports[1]), timeout=20) as connection,
            context.wrap_socket(connection, server_hostname="localhost") as wrapped,
        ):
            wrapped.sendall(b"GET /v2/health/live HTTP/1.1\r\nhost: x\r\n\r\n")
            assert wrapped.recv(12) == b"HTTP/1.1 200"
        for each in waiting:
            try:
                while each.recv(1 << 12):
                    pass
            except ConnectionResetError:
                pass
            each.close()
        assert time.monotonic() - begun < 100


@pytest.mark.timeout(120)
def test_who_says_nothing_on_an_open_port_is_hung_up_on(usual: Server) -> None:
    # After 10 s; gRPC by itself takes a minute.
    with socket.create_connection((HOST, usual.app.port), timeout=40) as silent:
        while silent.recv(1 << 12):
            pass  # the server's own settings


def test_limits_are_told_by_the_names_of_their_flags(strict: Server) -> None:
    assert rest.Rest(strict.app.rest_port).get("/v1/limits").json == {
        "grpc_max_message_size": 1 << 30,
        "rest_max_body_size": 1 << 30,
        "rest_max_json_size": 64 * MIB,
        "max_response_size": MIB,
        "max_streams": 3,
        "grpc_memory_quota": 2 << 30,
        "grpc_max_concurrent_streams": 2,
        "grpc_max_metadata_size": 16 << 10,
        "grpc_compression": False,
    }
