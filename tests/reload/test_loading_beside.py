"""A large model is loaded beside requests, not instead of them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import grpc
import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as op

from tests.unit.inference import tiny
from tests.wire import zoo
from tests.wire.calls import ask, infer
from tests.wire.servers import Server, serving
from tests.wire.waiting import until

# The machine that runs this may be busy with anything: what is to be seen is the seconds
# of a compilation that holds a lock, or a thread that answers.
ON_ANY_MACHINE = 0.05

ROUNDS = 5
APART = "model.xml was compiled apart"
# What a machine says that is too busy for it.
HERE = "model.xml is compiled in the server, not apart: it got next to nothing"

COMPILES = """
import sys
import openvino as ov
core = ov.Core()
model = core.read_model(sys.argv[1])
core.compile_model(model, "CPU").create_infer_request().infer()
"""
"""What a server does with a model, in a process that is nothing but busy."""


def convolutions(layers: int = 40, channels: int = 128) -> ov.Model:
    """Takes OpenVINO some seconds to compile."""
    x = y = tiny.parameter("x", (1, channels, 28, 28))
    random = np.random.default_rng(0)
    shape = (channels, channels, 3, 3)
    for _ in range(layers):
        weights = op.constant(random.standard_normal(shape).astype(np.float32))
        one, pad = [1, 1], [1, 1]
        y = op.relu(op.convolution(y, weights, one, pad, pad, one))
    return tiny.model([tiny.named(y, "y")], [x])


def asked_until(channel: grpc.Channel, is_over: Callable[[], bool]) -> list[float]:
    """Seconds that requests took, one after the other."""
    request = ask("small", {"x": np.zeros((1, 10), np.float32)}).SerializeToString()
    taken: list[float] = []
    while not is_over() or len(taken) < 100:
        begun = time.perf_counter()
        infer(channel, request)
        taken.append(time.perf_counter() - begun)
    return taken


def is_over_in(seconds: float) -> Callable[[], bool]:
    end = time.perf_counter() + seconds
    return lambda: time.perf_counter() > end


def p99(seconds: list[float]) -> float:
    return float(np.quantile(seconds, 0.99))


def ended(process: subprocess.Popen[bytes]) -> Callable[[], bool]:
    return lambda: process.poll() is not None


def available(server: Server, name: str) -> bool:
    return name in server.app.catalog.available()


@pytest.mark.timeout(300)
def test_requests_are_answered_in_their_time_while_a_large_model_is_compiled(
    tmp_path: Path,
) -> None:
    """Of the rounds the middle one counts, as others may use the machine, too."""
    zoo.add_model(tmp_path, "small", tiny.add_one((1, 10)))
    entries = [zoo.entry("small")]
    config = zoo.write_config(tmp_path, entries)
    found: list[tuple[float, float]] = []  # p99 before, and beside
    with (
        serving(config, file_system_poll_wait_seconds=0) as server,
        server.connect() as channel,
    ):
        for number in range(ROUNDS):
            name = f"large_{number}"
            zoo.add_model(tmp_path, name, convolutions())
            before = asked_until(channel, is_over_in(seconds=1))
            entries.append(zoo.entry(name))
            zoo.write_config(tmp_path, entries)
            server.app.request_reload()
            beside = asked_until(channel, partial(available, server, name))
            found.append((p99(before), p99(beside)))
    before, beside = np.median(found, axis=0).tolist()
    assert beside < max(2 * before, ON_ANY_MACHINE), found


@pytest.mark.timeout(300)
def test_a_model_that_is_compiled_costs_requests_no_more_than_a_stranger_s_work(
    tmp_path: Path,
) -> None:
    """Who waits for a processor waits. Nobody waits for the server beside that: what is
    compiled in it is as far away as in another process.
    """
    zoo.add_model(tmp_path, "small", tiny.add_one((1, 10)))
    entries = [zoo.entry("small")]
    config = zoo.write_config(tmp_path, entries)
    ratios: list[float] = []
    with (
        serving(config, file_system_poll_wait_seconds=0) as server,
        server.connect() as channel,
    ):
        for number in range(ROUNDS):
            name = f"large_{number}"
            home = zoo.add_model(tmp_path, name, convolutions())
            path = home / "1" / "model.xml"
            with subprocess.Popen([sys.executable, "-c", COMPILES, path]) as stranger:
                apart = asked_until(channel, ended(stranger))
            assert stranger.returncode == 0
            entries.append(zoo.entry(name))
            zoo.write_config(tmp_path, entries)
            server.app.request_reload()
            inside = asked_until(channel, partial(available, server, name))
            ratios.append(p99(inside) / p99(apart))
    assert float(np.median(ratios)) < 2, ratios


def compilers() -> dict[int, tuple[bool, int]]:
    """Processes that compile for this one: whether they leave all others the processors,
    and on how many they run.
    """
    found: dict[int, tuple[bool, int]] = {}
    for task in Path("/proc/self/task").iterdir():
        with suppress(OSError):  # it has ended
            for pid in map(int, (task / "children").read_text().split()):
                command = Path(f"/proc/{pid}/cmdline").read_bytes()
                if b"ovms_mp.inference.compiler" in command:
                    is_idle = os.sched_getscheduler(pid) == os.SCHED_IDLE
                    found[pid] = is_idle, len(os.sched_getaffinity(pid))
    return found


@pytest.mark.timeout(300)
def test_a_large_model_is_compiled_apart_once_something_is_served(
    tmp_path: Path,
) -> None:
    """Nobody is to be kept from anything before: at the start it is compiled at once. Nor
    is there a place beside who has one processor.
    """
    has_room = len(os.sched_getaffinity(0)) > 1
    zoo.add_model(tmp_path, "small", tiny.add_one((1, 10)))
    zoo.add_model(tmp_path, "first", convolutions())
    zoo.add_model(tmp_path, "large", convolutions())
    entries = [zoo.entry("small"), zoo.entry("first")]
    config = zoo.write_config(tmp_path, entries)
    seen: dict[int, tuple[bool, int]] = {}
    with (
        serving(config, file_system_poll_wait_seconds=0) as server,
        server.connect() as channel,
    ):
        assert available(server, "first")
        assert not server.said(APART)

        def is_there() -> bool:
            seen.update(compilers())
            return available(server, "large")

        zoo.write_config(tmp_path, [*entries, zoo.entry("large")])
        server.app.request_reload()
        asked_until(channel, is_there)
        x = np.ones((1, 128, 28, 28), np.float32)
        answers = [infer(channel, ask(name, {"x": x})) for name in ("first", "large")]
        assert (server.said(APART) or server.said(HERE)) == has_room
    assert list(seen.values()) == [(True, 1)] * has_room
    assert answers[0].raw_output_contents == answers[1].raw_output_contents


@pytest.mark.timeout(300)
def test_a_stop_does_not_wait_for_a_model_that_is_compiled_apart(
    tmp_path: Path,
) -> None:
    zoo.add_model(tmp_path, "small", tiny.add_one((1, 10)))
    zoo.add_model(tmp_path, "large", convolutions())
    config = zoo.write_config(tmp_path, [zoo.entry("small")])
    with serving(config, file_system_poll_wait_seconds=0) as server:
        zoo.write_config(tmp_path, [zoo.entry("small"), zoo.entry("large")])
        server.app.request_reload()
        assert until(lambda: compilers() or available(server, "large"), 60)
    assert until(lambda: not compilers())
