"""A worker that ends, however it does, costs its own calls and nothing else."""

from __future__ import annotations

import os
import re
import signal
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import grpc
import pytest
from ovms_mp_protos import kserve

from tests.wire.calls import Stream, ask, floats, infer, refusal, text
from tests.wire.servers import sample
from tests.wire.waiting import until
from tests.workers.servers import Workers, becomes, is_ready, is_running, pid_in, who

pytestmark = pytest.mark.timeout(300)

FIVE: Final = floats(1, 2, 3, 4, 5)
SERVING: Final = kserve.HealthCheckResponse.SERVING
NOT_SERVING: Final = kserve.HealthCheckResponse.NOT_SERVING


class Caller(threading.Thread):
    """Calls one after the other on one connection, and what came of them."""

    def __init__(self, channel: grpc.Channel, enough: threading.Event) -> None:
        super().__init__(daemon=True)
        self._channel = channel
        self._enough = enough
        self.answered = 0
        self.failures: list[str] = []

    def run(self) -> None:
        while not self._enough.is_set():
            code, _ = refusal(self._channel, ask("add_one", {"x": FIVE}))
            if code == "OK":
                self.answered += 1
            else:
                self.failures.append(code)


def test_a_worker_that_is_killed_under_load_costs_its_own_calls(
    server: Workers,
) -> None:
    with ExitStack() as stack:
        channels = server.channels(stack, per_worker=6)
        victim, survivor = channels
        # A worker is told that all serve a moment before or after the log is.
        assert until(lambda: is_ready(channels[survivor][0]))
        watch: Any = channels[survivor][0].unary_stream(
            kserve.HEALTH_WATCH, None, kserve.HealthCheckResponse.FromString
        )
        states = watch(b"", timeout=200)
        assert next(states).status == SERVING
        enough = threading.Event()
        stack.callback(enough.set)
        callers = {
            pid: [Caller(channel, enough) for channel in each]
            for pid, each in channels.items()
        }
        everyone = [*callers[victim], *callers[survivor]]
        for each in everyone:
            each.start()
        assert until(lambda: all(each.answered > 5 for each in everyone), within=60)

        os.kill(victim, signal.SIGKILL)
        assert next(states).status == NOT_SERVING
        assert next(states).status == SERVING
        seen = [each.answered for each in everyone]
        assert until(
            lambda: all(
                each.answered > before + 5
                for each, before in zip(everyone, seen, strict=True)
            ),
            within=60,
        )
        enough.set()
        for each in everyone:
            each.join()
        states.cancel()

        assert [each.failures for each in callers[survivor] if each.failures] == []
        failures = {code for each in callers[victim] for code in each.failures}
        assert failures == {"UNAVAILABLE"}
        assert victim not in server.pids()
        assert survivor in server.pids() and len(server.pids()) == 2
        assert {who(channel) for channel in channels[survivor]} == {survivor}
        assert server.lines("[error]", "was ended by SIGKILL", "is started now")
        # The new one gets connections as well.
        server.channels(stack, per_worker=1)


def test_streams_of_others_go_on(server: Workers) -> None:
    with ExitStack() as stack:
        channels = server.channels(stack, per_worker=2)
        streams = {
            pid: [stack.enter_context(Stream(each)) for each in of_worker]
            for pid, of_worker in channels.items()
        }
        for pid, of_worker in streams.items():
            for each in of_worker:
                each.send(ask("who", {"word": text("")}))
                assert pid_in(each.answer()) == pid
        victim, survivor = streams
        os.kill(victim, signal.SIGKILL)
        for each in streams[victim]:
            assert each.end()[0] == "UNAVAILABLE"
        for each in streams[survivor]:
            each.send(ask("who", {"word": text("")}))
            assert pid_in(each.answer()) == survivor


def test_what_a_worker_counted_is_counted_after_its_death(server: Workers) -> None:
    labels = {"api": "KServe", "interface": "gRPC", "method": "ModelInfer"}
    labels |= {"name": "add_one", "version": "1"}

    def counted() -> float | None:
        return sample(server.page(), "ovms_requests_success", labels)

    with ExitStack() as stack:
        channels = server.channels(stack, per_worker=1)
        victim, told = channels
        for channel, *_ in channels.values():
            for _ in range(5):
                infer(channel, ask("add_one", {"x": FIVE}))
        assert counted() == 10
        os.kill(victim, signal.SIGKILL)
        assert until(lambda: server.shows("ovms_mp_worker_restarts 1"))
        assert counted() == 10
        assert becomes(lambda: server.shows("ovms_mp_workers 2"))
        # One that is asked to stop loses nothing, even if nobody looked.
        infer(channels[told][0], ask("add_one", {"x": FIVE}))
        os.kill(told, signal.SIGTERM)
        assert becomes(lambda: server.shows("ovms_mp_worker_restarts 2"))
        assert counted() == 11


def test_a_crash_loop_is_told_and_does_not_spin(server: Workers, config: Path) -> None:
    poison = config.with_name("who") / "poison"
    with ExitStack() as stack:
        channels = server.channels(stack, per_worker=1)
        victim, survivor = channels
        (channel, *_) = channels[survivor]
        poison.touch()
        os.kill(victim, signal.SIGKILL)
        assert becomes(lambda: len(server.lines("is started in")) >= 3)
        assert not is_ready(channel)
        assert who(channel) == survivor
        poison.unlink()
        assert becomes(lambda: is_ready(channel))
        delays = re.findall(
            r"ended with exit code 3, (\d+) times in a row: .* started in (\S+) s",
            server.log,
        )
        assert delays[:3] == [("2", "0.5"), ("3", "1"), ("4", "2")]


def test_a_worker_that_talks_nonsense_is_replaced(server: Workers) -> None:
    with ExitStack() as stack:
        channels = server.channels(stack, per_worker=1)
        victim, survivor = channels
        refusal(channels[victim][0], ask("who", {"word": text("babble")}))
        assert until(lambda: server.lines("talks nonsense"), within=30)
        assert becomes(lambda: server.times_ready() == 2)
        assert not is_running(victim)
        assert who(channels[survivor][0]) == survivor


def test_a_worker_whose_poller_fails_ends_loudly_and_is_replaced(
    server: Workers,
) -> None:
    with ExitStack() as stack:
        channels = server.channels(stack, per_worker=1)
        victim, survivor = channels
        (channel, *_) = channels[victim]
        fail = ask("who", {"word": text(f"fail the pollers of {victim}")})
        # Where it strikes is chance; a call alone may have to bear it.
        assert becomes(lambda: refusal(channel, fail) and not is_running(victim))
        assert becomes(lambda: server.times_ready() == 2)
        assert who(channels[survivor][0]) == survivor
        assert server.lines("[critical][worker", "failed: the process ends")
        assert server.lines("ended with exit code 70", "is started now")


def test_workers_do_not_outlive_their_supervisor(server: Workers) -> None:
    pids = server.pids()
    with server.connect() as channel:
        assert who(channel) in pids
        server.process.kill()
        assert until(lambda: not any(map(is_running, pids)), within=30)
        assert refusal(channel, ask("add_one", {"x": FIVE}))[0] == "UNAVAILABLE"
