"""Whoever is refused before a servable has heard of him, or after it has answered, is in
the log and on the page of metrics, as everybody is who fails.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import Any, Final

import grpc
import numpy as np
import pytest

from tests.wire import rest, zoo
from tests.wire.calls import Stream, ask, floats, infer, refusal, status_of
from tests.wire.servers import HOST, Process, sample
from tests.wire.waiting import until

FIVE: Final = floats(1, 2, 3, 4, 5)
LIMITS: Final = {
    "grpc_max_message_size": 100_000,
    "rest_max_body_size": 90_000,
    "max_response_size": 5000,
    "max_streams": 1,
}


class Refusing(Process):
    """A server with narrow limits."""

    def rest_port(self) -> rest.Rest:
        line = next(each for each in self.log.splitlines() if "REST server" in each)
        return rest.Rest(int(line.rpartition(":")[2]))

    def says(self, line: str) -> bool:
        return until(lambda: f"][info] {line}" in self.log)

    def failures(self, interface: str, code: str) -> float:
        page = self.rest_port().get("/metrics").body.decode()
        labels = {"interface": interface, "code": code}
        return sample(page, "ovms_mp_failures", labels) or 0


@pytest.fixture(scope="module", params=["core", "aio"])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Refusing]:
    folder = tmp_path_factory.mktemp("refusing")
    zoo.add_graph(folder, "echo", zoo.ECHO)
    config = zoo.write_config(folder, [], [{"name": "echo"}])
    limits = (f"--{name}={value}" for name, value in LIMITS.items())
    flags = ("--metrics_enable", "--rest_port", "auto", "--config_path", str(config))
    with Refusing(folder, *flags, *limits, f"--grpc_transport={request.param}") as made:
        made.ready()
        yield made


@pytest.fixture
def channel(server: Refusing) -> Iterator[grpc.Channel]:
    options = (("grpc.use_local_subchannel_pool", 1),)
    with grpc.insecure_channel(server.ready(), options) as channel:
        yield channel


def too_large_a_request(channel: grpc.Channel) -> None:
    large = np.zeros(LIMITS["grpc_max_message_size"], np.uint8)
    assert refusal(channel, ask("echo", {"in": large}))[0] == "RESOURCE_EXHAUSTED"


def too_large_an_answer(channel: grpc.Channel) -> None:
    large = np.zeros(LIMITS["max_response_size"], np.uint8)
    assert refusal(channel, ask("echo", {"in": large}))[0] == "RESOURCE_EXHAUSTED"


def too_large_an_answer_of_a_stream(channel: grpc.Channel) -> None:
    large = np.zeros(LIMITS["max_response_size"], np.uint8)
    with Stream(channel, ask("echo", {"in": large})) as stream:
        assert stream.end()[0] == "RESOURCE_EXHAUSTED"


def one_stream_too_many(channel: grpc.Channel) -> None:
    with Stream(channel, ask("echo", {"in": FIVE})) as first:
        assert first.answer()
        with Stream(channel, ask("echo", {"in": FIVE})) as second:
            assert second.end()[0] == "RESOURCE_EXHAUSTED"


def no_such_method(channel: grpc.Channel) -> None:
    method: Any = channel.unary_unary("/inference.GRPCInferenceService/Nothing")
    assert status_of(lambda: method(b"", timeout=20))[0] == "UNIMPLEMENTED"


@pytest.mark.parametrize(
    ("provoke", "code", "line"),
    [
        (too_large_a_request, "NO_MESSAGE", "ModelInfer failed: NO_MESSAGE: none was"),
        (
            too_large_an_answer,
            "RESOURCE_EXHAUSTED",
            "ModelInfer failed: RESOURCE_EXHAUSTED: a response has ",
        ),
        (
            too_large_an_answer_of_a_stream,
            "RESOURCE_EXHAUSTED",
            "ModelStreamInfer failed: RESOURCE_EXHAUSTED: a response has ",
        ),
        (
            one_stream_too_many,
            "RESOURCE_EXHAUSTED",
            "ModelStreamInfer failed: RESOURCE_EXHAUSTED: Resource exhausted - the"
            " server has 1 streams open",
        ),
        (
            no_such_method,
            "UNIMPLEMENTED",
            'call "/inference.GRPCInferenceService/Nothing" failed: UNIMPLEMENTED: ',
        ),
    ],
)
def test_who_is_refused_by_the_port_of_grpc_is_told_of(
    server: Refusing,
    channel: grpc.Channel,
    provoke: Callable[[grpc.Channel], None],
    code: str,
    line: str,
) -> None:
    before = server.failures("gRPC", code)
    provoke(channel)
    assert server.says(f"gRPC {line}"), server.log
    assert until(lambda: server.failures("gRPC", code) == before + 1)


def test_who_is_refused_by_the_port_of_rest_is_told_of(server: Refusing) -> None:
    asking = server.rest_port()
    large = bytes(LIMITS["rest_max_body_size"] + 1)
    path = "/v2/models/echo/infer"
    codes = ("400", "406", "413")
    before = {code: server.failures("REST", code) for code in codes}
    assert asking.ask("POST", path, large).code == 413
    assert asking.ask("POST", path, b"{").code == 400
    assert asking.get("/nowhere").code == 400
    assert asking.ask("DELETE", "/v2").code == 406
    with socket.create_connection((HOST, asking.port), timeout=20) as connection:
        connection.sendall(b"no http at all\r\n\r\n")
        assert b" 400 " in connection.recv(1 << 12)
    for line in (
        'POST /v2/models/{name}/infer "echo" failed: 413: The request is too large',
        'POST /v2/models/{name}/infer "echo" failed: 400: The file is not valid json',
        "GET /nowhere failed: 400: ",
        "DELETE /v2 failed: 406: ",
        "request failed: 400: ",
    ):
        assert server.says(f"REST {line}"), line
    more = {code: server.failures("REST", code) - before[code] for code in codes}
    assert more == {"400": 3, "406": 1, "413": 1}


def test_who_is_served_is_no_failure(server: Refusing, channel: grpc.Channel) -> None:
    page = server.rest_port().get("/metrics").body.decode()
    before = [each for each in page.splitlines() if "ovms_mp_failures{" in each]
    assert infer(channel, ask("echo", {"in": FIVE}))
    asked = rest.inputs(rest.tensor("in", FIVE))
    assert server.rest_port().infer("echo", asked).code == 200
    page = server.rest_port().get("/metrics").body.decode()
    assert before == [each for each in page.splitlines() if "ovms_mp_failures{" in each]


def test_limits_are_on_the_page_as_they_are_told(server: Refusing) -> None:
    asking = server.rest_port()
    page = asking.get("/metrics").body.decode()
    told = asking.get("/v1/limits").json
    assert told.items() >= LIMITS.items()
    for name, value in told.items():
        assert sample(page, "ovms_mp_limit", {"limit": name}) == float(value)
