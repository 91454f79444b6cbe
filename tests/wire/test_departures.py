"""Whoever goes, and however, leaves nothing in the server."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from math import inf
from typing import Any, Final

import grpc
import numpy as np
import pytest
from ovms_mp_protos import kserve

from tests.wire.calls import Stream, ask, floats, infer, status_of, text
from tests.wire.servers import Server
from tests.wire.waiting import least, until

AT_ONCE: Final = 1.0  # seconds
SQUARE: Final = np.zeros((512, 512), np.float32)

# Opens a stream on a graph, sends requests for as long as the window lets it, tells that
# there is an answer if there is one, and stays.
CLIENT: Final = """
import sys, threading
import numpy as np
from ovms_mp_clients import Client

address, graph, name, count, word = sys.argv[1:]
if word:
    array = np.frombuffer(word.encode(), np.uint8)
else:
    array = np.zeros((512, 512), np.float32)
with Client(address) as client, client.stream(graph, window=100) as stream:
    for _ in range(int(count)):
        stream.send({name: array})
    print("sent", flush=True)
    next(stream)
    print("answered", flush=True)
    threading.Event().wait()
"""


@contextmanager
def client(
    server: Server, graph: str, name: str, *, count: int = 1, word: str = ""
) -> Iterator[subprocess.Popen[str]]:
    """A client in a process of its own."""
    command = [sys.executable, "-c", CLIENT, server.address, graph, name]
    with subprocess.Popen(
        [*command, str(count), word], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def expect(process: subprocess.Popen[str], word: str) -> None:
    assert process.stdout is not None
    assert process.stdout.readline().strip() == word


def kill(process: subprocess.Popen[str], server: Server) -> float:
    """SIGKILL; how long the server then takes to be idle, in seconds."""
    process.send_signal(signal.SIGKILL)
    process.wait()
    gone = time.monotonic()
    assert until(server.is_idle)
    return time.monotonic() - gone


def test_a_client_killed_between_two_requests_frees_its_graph(server: Server) -> None:
    def killed() -> float:
        with client(server, "echo", "in") as process:
            expect(process, "sent")
            expect(process, "answered")
            assert server.open_graphs() == 1
            return kill(process, server)

    assert least(killed, AT_ONCE) < AT_ONCE


def test_a_client_killed_during_an_inference_frees_graph_and_slot(
    server: Server,
) -> None:
    def killed() -> float:
        with client(server, "slow", "in", count=4) as process:
            expect(process, "sent")
            assert until(lambda: server.busy_slots() >= 1)
            return kill(process, server)

    assert least(killed, AT_ONCE) < AT_ONCE
    compiled = server.compiled("sluggish")
    assert (compiled.busy, compiled.waiting) == (0, 0)


def test_a_client_killed_while_a_handler_sleeps_frees_its_graph(
    server: Server,
) -> None:
    def killed() -> float:
        with client(server, "words", "word", count=40, word="sleep 0.3") as process:
            expect(process, "sent")
            expect(process, "answered")
            # 39 times 0.3 s of sleep are still asked for.
            return kill(process, server)

    assert least(killed, AT_ONCE) < AT_ONCE


def freed(server: Server, since: float) -> float:
    """How long after that moment of time.monotonic() the server is idle, in seconds."""
    assert until(server.is_idle)
    return time.monotonic() - since


@pytest.mark.parametrize(("name", "port"), [("sluggish", "x"), ("slow", "in")])
def test_a_unary_call_that_is_cancelled_frees_its_slot(
    server: Server, channel: grpc.Channel, name: str, port: str
) -> None:
    method: Any = channel.unary_unary(kserve.MODEL_INFER)

    def cancelled() -> float:
        call = method.future(ask(name, {port: SQUARE}).SerializeToString())
        assert until(lambda: server.busy_slots() == 1 or call.done())
        if call.done():  # before anybody has looked
            return inf
        gone = time.monotonic()
        call.cancel()
        return freed(server, gone)

    assert least(cancelled, AT_ONCE) < AT_ONCE


def test_a_deadline_that_passes_frees_the_slot(
    server: Server, channel: grpc.Channel
) -> None:
    request = ask("slow", {"in": SQUARE})

    def late() -> float:
        code, _ = status_of(lambda: infer(channel, request, timeout=0.1))
        assert code == "DEADLINE_EXCEEDED"
        return freed(server, time.monotonic())

    assert least(late, AT_ONCE) < AT_ONCE


def test_a_hundred_clients_that_leave_at_any_moment_leave_nothing(
    server: Server,
) -> None:
    choose = random.Random(2)
    kinds = (
        ask("echo", {"in": floats(1)}),
        ask("add", {"in": floats(*range(10))}),
        ask("fan", {"in": floats(*range(10))}),
        ask("join", {"a": np.array([[1, 2]])}),
        ask("slow", {"in": SQUARE}),
        ask("words", {"word": text("word")}),
        ask("words", {"word": text("sleep 0.02")}),
        ask("words", {"word": text("raise")}),
        ask("burst", {"in": floats(20)}),
        ask("limited", {"in": floats(1)}),
        ask("nothing", {"in": floats(1)}),
    )
    before = len(server.log)

    def all_left() -> float:
        channels = [server.connect() for _ in range(5)]
        streams: list[Stream] = []
        for number in range(100):
            request = choose.choice(kinds)
            asked = [request] * choose.randint(0, 4)
            streams.append(Stream(channels[number % 5], *asked))
            if choose.random() < 0.3:
                streams[-1].half_close()
            # A few go at once, most when some others have come.
            for leaver in [each for each in streams if choose.random() < 0.15]:
                streams.remove(leaver)
                leaver.cancel()
            time.sleep(choose.choice((0, 0, 0.001, 0.01)))
        # The last go all at a time, some with the connection.
        gone = time.monotonic()
        for channel in channels:
            channel.close()
        taken = freed(server, gone)
        for stream in streams:
            stream.cancel()
        return taken

    assert least(all_left, below=2) < 2
    assert not [each for each in server.log[before:] if "incident" in each]
    with server.connect() as channel:
        assert infer(channel, kinds[1])


def test_a_departure_is_no_matter_for_the_log(
    server: Server, channel: grpc.Channel, caplog: pytest.LogCaptureFixture
) -> None:
    before = len(server.log)
    for request in (ask("echo", {"in": floats(1)}), ask("slow", {"in": SQUARE})):
        with Stream(channel, request):
            assert until(lambda: server.open_graphs() == 1)
        assert until(server.is_idle)
    assert server.log[before:] == []
    assert [each for each in caplog.records if each.levelname == "ERROR"] == []
