"""Reserved methods are answered whatever the other handlers do."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

from ovms_mp.frontend.transport.core import HAS_RESERVED, CoreServer
from ovms_mp.frontend.transport.seam import Call, unary
from tests.wire.transport.world import Rpc, World, echo, unary_of, until

POLLERS = 2
PROBES = 40
ATTEMPTS = 5


@pytest.fixture
def world() -> Iterator[World]:
    """`aio` has one thread for all."""
    world = World(CoreServer)
    yield world
    world.close()


needs_registered_methods = pytest.mark.skipif(
    not HAS_RESERVED, reason="grpcio before 1.70 has no registered methods"
)


class Busy:
    """A handler that computes, without the GIL, until it is told to stop."""

    def __init__(self) -> None:
        self.inside = 0
        self.stop = threading.Event()
        self._lock = threading.Lock()

    def __call__(self, message: bytes, call: Call) -> bytes:
        with self._lock:
            self.inside += 1
        matrix = np.ones((400, 400), np.float32)
        while not self.stop.is_set():
            matrix = matrix @ matrix / 400
        return message


def latency(rpc: Rpc) -> float:
    """The median of some calls, in seconds."""
    times: list[float] = []
    for _ in range(PROBES):
        start = time.perf_counter()
        assert rpc(b"", timeout=30) == b""
        times.append(time.perf_counter() - start)
    return statistics.median(times)


@needs_registered_methods
def test_they_answer_promptly_while_every_handler_computes(world: World) -> None:
    ratios: list[float] = []
    for _ in range(ATTEMPTS):
        busy = Busy()
        world.serve(
            {"busy": busy, "health": unary(echo, is_reserved=True)}, pollers=POLLERS
        )
        health = unary_of(world.dial(), "health")
        idle = latency(health)
        calls = [
            unary_of(world.dial(), "busy").future(b"1") for _ in range(4 * POLLERS)
        ]
        assert until(lambda: busy.inside == POLLERS)  # noqa: B023 # called at once
        ratios.append(latency(health) / idle)
        assert busy.inside == POLLERS, "a reserved thread ran what is not reserved"
        busy.stop.set()
        assert all(call.result(30) == b"1" for call in calls)
        if ratios[-1] < 5:
            return
    raise AssertionError(f"a busy server's health takes so many times longer: {ratios}")


def test_several_are_called_at_once_and_do_not_mix(world: World) -> None:
    world.serve(
        {
            name: unary(lambda message, call: call.method.encode(), is_reserved=True)
            for name in "abc"
        }
    )
    channel = world.dial()
    futures = [(name, unary_of(channel, name).future(b"")) for name in "abc" * 100]
    for name, future in futures:
        assert future.result(30) == f"/test.Service/{name}".encode()


@pytest.mark.skipif(HAS_RESERVED, reason="grpcio has registered methods since 1.70")
def test_without_registered_methods_they_are_served_with_the_others_and_it_is_said(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.serve({"health": unary(echo, is_reserved=True)})
    assert world.unary("health")(b"1") == b"1"
    assert "health and metadata wait" in caplog.text
