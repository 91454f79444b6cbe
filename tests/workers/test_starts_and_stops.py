"""A server of workers starts, and does not, and stops as one of a single process does."""

from __future__ import annotations

import os
import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.wire import zoo
from tests.wire.calls import Stream, ask, floats, refusal, text
from tests.wire.servers import HOST
from tests.wire.waiting import until
from tests.workers.servers import Workers, becomes, is_running, pid_in, who

pytestmark = pytest.mark.timeout(240)


def errors(server: Workers) -> list[str]:
    return server.lines("][error]")


def test_calls_in_flight_are_finished_on_every_worker(
    server: Workers, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    pids = server.pids()
    with ExitStack() as stack:
        channels = server.channels(stack, per_worker=2)
        pool = stack.enter_context(ThreadPoolExecutor(2))
        unary = {
            pid: pool.submit(who, each[0], f"until {go}")
            for pid, each in channels.items()
        }
        streams = {
            pid: stack.enter_context(Stream(each[1], ask("who", {"word": text("")})))
            for pid, each in channels.items()
        }
        for pid, stream in streams.items():
            assert pid_in(stream.answer()) == pid
            assert until(tmp_path.joinpath(f"go.{pid}").exists, within=30)
        late = stack.enter_context(server.connect())
        server.ask_to_stop()
        assert until(
            lambda: (
                refusal(late, ask("add_one", {"x": floats(1, 2, 3, 4, 5)}))[0]
                == "UNAVAILABLE"
            )
        )
        go.touch()
        for pid, stream in streams.items():
            stream.send(ask("who", {"word": text("")}))
            assert pid_in(stream.answer()) == pid
            stream.half_close()
            assert stream.end() == ("OK", "")
            assert unary[pid].result(30) == pid
    assert server.code() == 0
    assert not any(map(is_running, pids))
    assert errors(server) == []


def test_who_asks_twice_does_not_wait(server: Workers, tmp_path: Path) -> None:
    pids = server.pids()
    with ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(1))
        channel = stack.enter_context(server.connect())
        waiting = pool.submit(who, channel, f"until {tmp_path / 'never'}")
        assert until(lambda: [*tmp_path.glob("never.*")], within=30)
        server.ask_to_stop(signal.SIGINT)
        assert until(lambda: len(server.lines("] stopping")) == 3)
        server.ask_to_stop(signal.SIGINT)
        assert server.code() == 1
        assert waiting.exception(30) is not None
    assert not any(map(is_running, pids))


def test_a_server_that_is_stopped_while_it_starts_stops(
    config: Path, tmp_path: Path
) -> None:
    with Workers(tmp_path, "--config_path", str(config)) as server:
        assert becomes(server.pids)
        server.ask_to_stop()
        assert server.code() == 0
        assert errors(server) == []


@pytest.mark.parametrize("shares", [False, True])
def test_a_port_that_is_taken_is_1_with_the_address(
    config: Path, tmp_path: Path, shares: bool
) -> None:
    with socket.socket() as other:
        # Another server of workers would share its port with anybody.
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, int(shares))
        other.bind((HOST, 0))
        other.listen()
        port = str(other.getsockname()[1])
        with Workers(tmp_path, "--config_path", str(config), port=port) as server:
            assert server.code() == 1
            (line,) = errors(server)
            assert f"cannot listen on {HOST}:{port}" in line


def test_a_broken_config_is_1_and_said_once(tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text('{"model_config_list": [}')
    with Workers(tmp_path, "--config_path", str(config)) as server:
        assert server.code() == 1
        (line,) = errors(server)
        assert "The file is not valid json - " in line
        assert "[worker 1]" in line
        assert "Traceback" not in server.log


def test_a_single_servable_that_cannot_be_loaded_is_1_and_said_once(
    tmp_path: Path,
) -> None:
    home = zoo.add_graph(tmp_path, "broken", zoo.words("missing.py"))
    flags = ("--model_name", "broken", "--model_path", str(home))
    with Workers(tmp_path, *flags) as server:
        assert server.code() == 1
        (line,) = errors(server)
        assert "The Python Node file path does not exist" in line


def test_a_crash_at_the_first_load_ends_the_server(
    config: Path, tmp_path: Path
) -> None:
    (config.with_name("who") / "poison").touch()
    with Workers(tmp_path, "--config_path", str(config)) as server:
        assert server.code() == 3


def test_wrong_usage_is_64_with_a_line(tmp_path: Path) -> None:
    with Workers(tmp_path, "--config_path", "x", "--model_name", "y") as server:
        assert server.code() == 64
        assert server.log.count("\n") == 1


def test_a_worker_that_is_asked_to_stop_drains_and_is_replaced(
    server: Workers, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    with ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(1))
        channels = server.channels(stack, per_worker=1)
        leaving, staying = channels
        waiting = pool.submit(who, channels[leaving][0], f"until {go}")
        assert until(tmp_path.joinpath(f"go.{leaving}").exists, within=30)
        os.kill(leaving, signal.SIGTERM)
        assert until(lambda: server.lines("[worker", "] stopping"))
        go.touch()
        assert waiting.result(30) == leaving
        assert becomes(lambda: server.times_ready() == 2)
        assert staying in server.pids() and leaving not in server.pids()
