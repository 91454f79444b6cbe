"""A server stops when it is told to: calls finish or are told, and nothing is left."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import grpc
import pytest

from ovms_mp.core.pending import Pending
from ovms_mp.frontend.transport.core import HAS_RESERVED, CoreServer
from ovms_mp.frontend.transport.seam import Call, SendQueueFull, StreamCall, unary
from tests.wire.transport.world import (
    Echo,
    Later,
    Made,
    World,
    echo,
    refusal,
    stream_of,
    unary_of,
    until,
)


def test_calls_in_flight_may_finish_and_new_ones_are_refused(world: World) -> None:
    later = Later()
    server = world.serve({"u": later, "s": Echo})
    channel, go_on = world.dial(), threading.Event()

    def feed() -> Iterator[bytes]:
        yield b"1"
        go_on.wait(20)
        yield b"2"

    future = unary_of(channel, "u").future(b"")
    answers = stream_of(channel, "s")(feed())
    assert next(answers) == b"1"
    assert until(lambda: later.answers)
    stopped: list[bool] = []
    stopping = threading.Thread(target=lambda: stopped.append(server.stop(30)))
    stopping.start()

    def is_refused() -> bool:
        newcomer = world.dial(f"127.0.0.1:{server.ports[0]}")
        error = refusal(unary_of(newcomer, "u"), b"", timeout=1)
        world.hang_up(newcomer)
        return error.code() == grpc.StatusCode.UNAVAILABLE

    assert until(is_refused)
    assert server.calls_in_flight >= 2
    later.answers[0].complete(b"answer")
    assert future.result() == b"answer"
    go_on.set()
    assert list(answers) == [b"2"]
    for late in later.answers[1:]:
        late.complete(b"")
    stopping.join(10)
    world.servers.remove(server)
    assert stopped == [True]


WAITING = 100
"""More than the core hands over at once."""


@pytest.mark.parametrize("kind", ["unary", "stream"])
def test_calls_that_nobody_has_taken_up_hear_that_the_server_goes(kind: str) -> None:
    """By itself gRPC's core says that somebody has cancelled them, which no client takes
    for a reason to ask another server.
    """
    world = World(CoreServer)
    inside = threading.Event()

    def busy(message: bytes, call: Call) -> bytes:
        inside.set()
        # Who waits has a second to be taken up: no other thread may be waited for in it.
        assert until(lambda: isinstance(server, CoreServer) and server._stopping)
        return message

    there = unary(echo, is_reserved=True)
    server = world.serve({"busy": busy, "u": echo, "s": Echo, "there": there})
    assert isinstance(server, CoreServer)
    channel = world.dial()
    taken_up = unary_of(channel, "busy").future(b"1")
    assert inside.wait(20)
    if kind == "unary":
        waiting = [unary_of(channel, "u").future(b"") for _ in range(WAITING)]
    else:
        waiting = [stream_of(channel, "s")(iter([b""])) for _ in range(WAITING)]
    if HAS_RESERVED:
        # Calls of a connection come in order; this one has a thread of its own.
        assert unary_of(channel, "there")(b"2", timeout=20) == b"2"
    stopping = threading.Thread(target=server.stop, args=(30,))
    stopping.start()
    assert taken_up.result() == b"1"
    heard = {each.code().name: each.details() for each in waiting}
    assert heard == {"UNAVAILABLE": "the server is shutting down"}
    stopping.join(20)
    assert not stopping.is_alive()
    world.servers.remove(server)
    world.close()


ASKERS = """
import sys, threading, grpc

options = [("grpc.use_local_subchannel_pool", 1)]
channels = [grpc.insecure_channel(sys.argv[1], options) for _ in range(4)]
heard = set()

def ask(method):
    while True:
        try:
            method(b"1", timeout=20)
        except grpc.RpcError as error:
            heard.add(error.code().name)
            if "connect" in error.details():
                return

methods = [channels[n % 4].unary_unary("/test.Service/u") for n in range(16)]
for each in methods:
    each(b"1", timeout=20)
print("all are there", flush=True)
clients = [threading.Thread(target=ask, args=(each,)) for each in methods]
for each in clients:
    each.start()
for each in clients:
    each.join()
print(*heard)
"""


ROUNDS = 3
"""Who is not given the processor for 50 ms has not asked at once; without the rule 22 of
24 rounds heard of a cancel."""


@pytest.mark.parametrize("turn", range(4))
def test_who_asks_again_at_once_hears_of_no_cancel(world: World, turn: int) -> None:
    """He is told that the server goes when his connection knows it: who asked once more
    while it says goodbye would hear from gRPC's core that somebody has cancelled.
    """
    heard: list[list[str]] = []
    for _ in range(ROUNDS):
        heard.append(heard_while_it_goes(world, 0.05 * turn))
        if heard[-1] == ["UNAVAILABLE"]:
            return
    raise AssertionError(heard)


def heard_while_it_goes(world: World, seconds: float) -> list[str]:
    """What those hear who ask a server that is stopped after so long."""
    server = world.serve({"u": echo, "s": Echo})
    command = [sys.executable, "-c", ASKERS, f"127.0.0.1:{server.ports[0]}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as askers:
        assert askers.stdout is not None
        assert askers.stdout.readline() == "all are there\n"
        time.sleep(seconds)
        assert world.stop(server, grace=30)
        return askers.stdout.read().split()


@pytest.mark.parametrize("turn", range(10))
def test_calls_that_do_not_finish_in_time_are_cancelled(
    world: World, turn: int
) -> None:
    later, made = Later(), Made(Echo)
    server = world.serve({"u": later, "s": made})
    channel, over = world.dial(), threading.Event()

    def feed() -> Iterator[bytes]:
        yield b"1"
        over.wait(20)

    future = unary_of(channel, "u").future(b"")
    streams = [stream_of(channel, "s")(feed()) for _ in range(4)]
    assert [next(answers) for answers in streams] == [b"1"] * 4
    assert until(lambda: later.answers)
    start = time.monotonic()
    assert world.stop(server, grace=0.1)
    assert time.monotonic() - start > 0.09
    # By the time that stop returns, everybody has been told.
    assert later.cancels == 1
    assert [session.cancels for session in made.sessions] == [1] * 4
    assert [session.half_closes for session in made.sessions] == [0] * 4
    assert server.calls_in_flight == 0
    assert later.answers[0].complete(b"x") is False
    assert later.calls[0].is_cancelled
    assert refusal(future.result)
    assert all(refusal(list, answers) for answers in streams)
    over.set()


def test_threads_may_answer_while_the_server_goes(world: World) -> None:
    chance = random.Random(4)

    def handler(message: bytes, call: Call) -> Pending[bytes]:
        answer = Pending[bytes]()
        delay = chance.random() * 0.02
        threading.Timer(delay, answer.complete, [bytes(1000)]).start()
        return answer

    class Noise(Echo):
        def on_open(self, call: StreamCall) -> None:
            super().on_open(call)
            threading.Thread(target=self.shout).start()

        def shout(self) -> None:
            is_open = True
            while is_open:
                try:
                    is_open = self.call.write(b"x")
                except SendQueueFull:
                    time.sleep(0.0005)

    for _ in range(10):
        server = world.serve({"u": handler, "s": Noise})
        channel = world.dial()
        futures = [unary_of(channel, "u").future(b"") for _ in range(30)]
        streams = [stream_of(channel, "s")(iter([b""])) for _ in range(5)]
        time.sleep(chance.random() * 0.02)
        assert world.stop(server, grace=chance.random() * 0.01)
        for future in futures:
            future.exception()
        assert streams
        world.hang_up(channel)


def test_a_port_is_free_again_when_its_server_has_stopped(world: World) -> None:
    server = world.serve({"u": echo})
    port = server.ports[0]
    for _ in range(3):
        assert world.unary("u")(b"1") == b"1"
        assert world.stop(world.servers[-1])
        world.serve({"u": echo}, [f"127.0.0.1:{port}"])


def test_stopping_twice_is_stopping_once(world: World) -> None:
    server = world.serve({"u": echo})
    assert server.stop()
    assert server.stop(1)


def test_a_server_that_never_started_frees_its_port_too(world: World) -> None:
    server = world.transport({"/test.Service/u": unary(echo)}, ["127.0.0.1:0"])
    assert server.stop()
    world.serve({"u": echo}, [f"127.0.0.1:{server.ports[0]}"])
    assert world.unary("u")(b"1") == b"1"


def test_whoever_stops_a_stopping_server_waits_for_the_same_end(world: World) -> None:
    later = Later()
    server = world.serve({"u": later})
    future = world.unary("u").future(b"")
    assert until(lambda: later.answers)
    stopped: list[bool] = []
    stoppers = [
        threading.Thread(target=lambda: stopped.append(server.stop(30)))
        for _ in range(4)
    ]
    for stopper in stoppers:
        stopper.start()
    assert until(lambda: all(stopper.is_alive() for stopper in stoppers))
    later.answers[0].complete(b"answer")
    assert future.result() == b"answer"
    for stopper in stoppers:
        stopper.join(10)
    world.servers.remove(server)
    assert stopped == [True] * 4


def test_a_callback_that_does_not_return_is_reported(world: World) -> None:
    inside, go_on = threading.Event(), threading.Event()

    def handler(message: bytes, call: Call) -> bytes:
        inside.set()
        go_on.wait(20)
        return b""

    server = world.serve({"u": handler})
    future = world.unary("u").future(b"")
    assert inside.wait(5)
    assert server.stop(0, patience=0.2) is False
    go_on.set()
    assert world.stop(server)
    future.cancel()


def test_a_callback_cannot_stop_its_own_server(world: World) -> None:
    errors: list[RuntimeError] = []

    def handler(message: bytes, call: Call) -> bytes:
        try:
            server.stop()
        except RuntimeError as error:
            errors.append(error)
        return b"on"

    server = world.serve({"u": handler})
    assert world.unary("u")(b"") == b"on"
    assert len(errors) == 1
