"""A client that does not read costs the server a bounded memory and nobody else's time."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from typing import Final

import grpc
import pytest

from tests.wire import calls, zoo
from tests.wire.calls import Stream, ask, floats, infer
from tests.wire.deaf import FRAME, FRAMES, Deaf
from tests.wire.servers import Process

MIB: Final = 1 << 20


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """In a process of its own, whose memory is nobody else's."""
    folder = tmp_path_factory.mktemp("slow")
    for name in ("image", "echo"):
        zoo.add_graph(folder, name, zoo.GRAPHS[name])
    config = zoo.write_config(folder, [], [{"name": "image"}, {"name": "echo"}])
    with Process(folder, "--config_path", str(config)) as server:
        server.ready()
        yield server


def test_a_client_that_does_not_read_is_not_read(server: Process) -> None:
    address = server.ready()
    with calls.connect(address) as channel, calls.connect(address) as other:
        assert infer(channel, ask("image", {"in": FRAME}))
        before = server.memory()
        deaf = Deaf(channel)
        assert deaf.is_stuck()
        # What gRPC keeps on both sides is a matter of a few frames.
        assert deaf.sent < FRAMES / 4
        assert server.memory() - before < 64 * MIB
        # A neighbour has the server for itself.
        with Stream(other) as neighbour:
            for number in range(50):
                neighbour.send(ask("echo", {"in": floats(number)}))
                assert calls.timestamp(neighbour.answer()) == number
        # Who reads at last gets everything, in order, still in bounded memory.
        for number, answer in enumerate(deaf.answers):
            assert calls.timestamp(answer.infer_response) == number
            if number == FRAMES // 2:
                assert server.memory() - before < 64 * MIB
        assert deaf.sent == FRAMES


def median_latency(channel: grpc.Channel, messages: int = 60) -> float:
    """Seconds from a request to its answer, one at a time on a stream of its own."""
    found: list[float] = []
    with Stream(channel) as stream:
        for number in range(messages):
            begun = time.perf_counter()
            stream.send(ask("echo", {"in": floats(number)}))
            stream.answer()
            found.append(time.perf_counter() - begun)
    return statistics.median(found)


def test_beside_a_client_that_does_not_read_a_stream_is_as_fast_as_alone(
    server: Process,
) -> None:
    """Twice as slow in the best of three rounds would be a server that works for
    nobody; usually there is no difference.
    """
    address = server.ready()
    ratios: list[float] = []
    with calls.connect(address) as other:
        for _ in range(3):
            alone = median_latency(other)
            with calls.connect(address) as channel:
                assert Deaf(channel).is_stuck()
                ratios.append(median_latency(other) / alone)
    assert min(ratios) <= 2, ratios


def test_many_clients_that_do_not_read_are_held_each(server: Process) -> None:
    address = server.ready()
    before = server.memory()
    channels = [calls.connect(address) for _ in range(4)]
    clients = [Deaf(channel) for channel in channels]
    assert all(each.is_stuck() for each in clients)
    assert server.memory() - before < 4 * 32 * MIB
    for channel in channels:
        channel.close()
    with calls.connect(address) as channel:
        assert infer(channel, ask("image", {"in": FRAME}))
