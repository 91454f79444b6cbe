"""What a server leaves behind that has stopped."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any, Final

import grpc
import pytest
from ovms_mp_protos import kserve

from tests.unit.inference import tiny
from tests.wire import zoo
from tests.wire.calls import Stream, ask, floats, infer, refusal, text
from tests.wire.servers import HOST, serving
from tests.wire.waiting import until

FIVE: Final = floats(1, 2, 3, 4, 5)
HANDLER: Final = """
import pathlib

from pyovms import Tensor


class OvmsPythonModel:
    def initialize(self, kwargs):
        self.home = pathlib.Path(kwargs["base_path"])

    def execute(self, inputs):
        return [Tensor("said", b"x")]

    def finalize(self):
        (self.home / "finalized").touch()
"""


OURS: Final = {
    *("compute", "http", "inference", "loading", "reload"),
    *("grpc-poll", "grpc-poll-reserved"),
}


def kind(thread: threading.Thread) -> str:
    """The name without a number."""
    return thread.name.rstrip("_-0123456789")


def test_threads_end_and_handlers_are_told(tmp_path: Path) -> None:
    home = zoo.add_graph(tmp_path, "words", zoo.words(), speaker=HANDLER)
    zoo.add_model(tmp_path, "add_one", tiny.add_one((-1, 5)))  # in a thread
    config = zoo.write_config(tmp_path, [zoo.entry("add_one")], [{"name": "words"}])
    before = set(threading.enumerate())
    with serving(config) as server:
        with server.connect() as channel:
            assert infer(channel, ask("words", {"word": text("x")}))
            assert infer(channel, ask("add_one", {"x": FIVE}))
        started = {
            each
            for each in set(threading.enumerate()) - before
            if kind(each) in OURS  # grpcio has some of its own, which stay
        }
        assert {kind(each) for each in started} == OURS
        assert not (home / "finalized").exists()
        server.app.stop()
        assert (home / "finalized").exists()
        # Some are told to end, and not waited for.
        assert until(lambda: not any(each.is_alive() for each in started)), started


def test_a_stream_that_does_not_end_is_cancelled_after_the_grace(
    tmp_path: Path,
) -> None:
    zoo.add_graph(tmp_path, "echo", zoo.ECHO)
    config = zoo.write_config(tmp_path, [], [{"name": "echo"}])
    with serving(config) as server, server.connect() as channel:
        with Stream(channel, ask("echo", {"in": FIVE})) as stream:
            stream.answer()
            server.app.stop(grace=0.1)
            assert stream.end()[0] == "UNAVAILABLE"
        assert server.is_idle()
        assert refusal(channel, ask("echo", {"in": FIVE}))[0] == "UNAVAILABLE"


def test_the_port_is_free_again(tmp_path: Path) -> None:
    zoo.add_graph(tmp_path, "echo", zoo.ECHO)
    config = zoo.write_config(tmp_path, [], [{"name": "echo"}])
    with serving(config) as server:
        port, rest_port = server.app.port, server.app.rest_port
    with serving(config, port=port, rest_port=rest_port) as server:
        assert (server.app.port, server.app.rest_port) == (port, rest_port)
        with server.connect() as channel:
            assert infer(channel, ask("echo", {"in": FIVE}))


def test_a_unix_socket_answers_beside_a_host_and_is_gone_at_the_end(
    tmp_path: Path,
) -> None:
    zoo.add_graph(tmp_path, "echo", zoo.ECHO)
    config = zoo.write_config(tmp_path, [], [{"name": "echo"}])
    path = tmp_path / "socket"
    with serving(config, bind_addresses=(HOST, f"unix:{path}")) as server:
        for target in (f"{HOST}:{server.app.port}", f"unix:{path}"):
            with grpc.insecure_channel(target) as channel:
                assert infer(channel, ask("echo", {"in": FIVE}))
            assert server.said("gRPC server listening on", target)
    assert not path.exists()


def test_who_watches_its_health_does_not_keep_a_server(tmp_path: Path) -> None:
    zoo.add_graph(tmp_path, "echo", zoo.ECHO)
    config = zoo.write_config(tmp_path, [], [{"name": "echo"}])
    with serving(config) as server, server.connect() as channel:
        watch: Any = channel.unary_stream(kserve.HEALTH_WATCH)
        states = watch(kserve.HealthCheckRequest().SerializeToString(), timeout=20)
        assert next(states)
        begun = time.monotonic()
        server.app.stop(grace=15)
        assert time.monotonic() - begun < 10
        last = kserve.HealthCheckResponse.FromString(next(states))
        assert last.status == kserve.HealthCheckResponse.NOT_SERVING
        with pytest.raises(grpc.RpcError):
            next(states)
