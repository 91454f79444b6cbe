"""`python -m ovms_mp` from its first line to its exit code."""

from __future__ import annotations

import re
import signal
import socket
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
from ovms_mp_protos import kserve

from tests.unit.inference import tiny
from tests.wire import calls, zoo
from tests.wire.calls import Answer, Stream, ask, floats, infer, refusal
from tests.wire.servers import HOST, Process, sample
from tests.wire.waiting import until

FIVE: Final = floats(1, 2, 3, 4, 5)
SQUARE: Final = np.zeros((512, 512), np.float32)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("served")
    zoo.add_model(folder, "add_one", tiny.add_one((1, 5)))
    zoo.add_model(folder, "sluggish", tiny.slow(steps=100))
    zoo.add_graph(folder, "echo", zoo.ECHO)
    zoo.add_graph(folder, "words", zoo.words(), speaker=zoo.HANDLER)
    models = [zoo.entry("add_one"), zoo.entry("sluggish")]
    return zoo.write_config(folder, models, [{"name": "echo"}, {"name": "words"}])


def errors(process: Process) -> list[str]:
    """Lines of the log that say what went wrong."""
    return [each for each in process.log.splitlines() if "][error]" in each]


# Starting


def test_a_server_tells_its_ports_and_what_it_serves_and_stops_when_told(
    config: Path, tmp_path: Path
) -> None:
    flags = ("--config_path", str(config), "--rest_port", "auto", "--metrics_enable")
    with Process(tmp_path, *flags) as server:
        address = server.ready()
        assert server.served() == ["add_one", "sluggish", "echo", "words"]
        with calls.connect(address) as channel:
            assert infer(channel, ask("add_one", {"x": FIVE}))
        assert 'ovms_current_graphs{name="echo"} 0' in page_of(server)
        server.ask_to_stop(signal.SIGINT)
        assert server.code() == 0
        assert errors(server) == []


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (("--config_path", "x", "--model_name", "y"), "Use either config_path or "),
        (("--model_name", "x"), "Use config_path or model_path with model_name"),
        (("--nonsense",), "error parsing options: "),
    ],
)
def test_wrong_usage_is_64_with_a_line(
    tmp_path: Path, flags: tuple[str, ...], complaint: str
) -> None:
    with Process(tmp_path, *flags) as server:
        assert server.code() == 64
        assert server.log.startswith(complaint)
        assert server.log.count("\n") == 1


def test_a_broken_config_is_1_with_one_clear_line(tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text('{"model_config_list": [}')
    with Process(tmp_path, "--config_path", str(config)) as server:
        assert server.code() == 1
        (line,) = server.log.splitlines()[-1:]
        assert [line] == errors(server)
        assert "The file is not valid json - " in line
        assert "config.json" in line
        assert "Traceback" not in server.log


def test_a_single_servable_that_cannot_be_loaded_is_1(tmp_path: Path) -> None:
    home = zoo.add_graph(tmp_path, "broken", zoo.words("missing.py"))
    flags = ("--model_name", "broken", "--model_path", str(home))
    with Process(tmp_path, *flags) as server:
        assert server.code() == 1
        (line,) = errors(server)
        assert "The Python Node file path does not exist" in line


def test_a_port_that_is_taken_is_1_with_the_address(
    config: Path, tmp_path: Path
) -> None:
    with socket.socket() as other:
        other.bind((HOST, 0))
        other.listen()
        port = str(other.getsockname()[1])
        flags = ("--config_path", str(config))
        with Process(tmp_path, *flags, port=port) as server:
            assert server.code() == 1
            (line,) = errors(server)
            assert f"cannot listen on {HOST}:{port}" in line


# Stopping


@pytest.fixture
def running(config: Path, tmp_path: Path) -> Iterator[Process]:
    flags = ("--config_path", str(config), "--rest_port", "auto", "--metrics_enable")
    with Process(tmp_path, *flags) as server:
        server.ready()
        yield server


def graphs(server: Process, name: str) -> float | None:
    """How many runs of it there are."""
    return sample(page_of(server), "ovms_current_graphs", {"name": name})


def page_of(server: Process) -> str:
    """The metrics."""
    rest = re.search(rf"REST server listening on {HOST}:(\d+)", server.log)
    assert rest
    url = f"http://{HOST}:{rest[1]}/metrics"
    with urllib.request.urlopen(url, timeout=10) as page:
        return page.read().decode()


def test_calls_in_flight_are_finished_and_new_ones_refused(
    running: Process, tmp_path: Path
) -> None:
    release = tmp_path / "go"
    until_released = calls.text(f"until {release}")
    with (
        calls.connect(running.ready()) as channel,
        calls.connect(running.ready()) as later,
        Stream(channel, *(ask("echo", {"in": FIVE}) for _ in range(3))) as stream,
        Stream(channel, ask("words", {"word": until_released})) as waiting,
    ):
        assert calls.timestamp(stream.answer()) == 0
        method: Any = channel.unary_unary(kserve.MODEL_INFER)
        request = ask("sluggish", {"x": SQUARE}).SerializeToString()
        slow = method.future(request, timeout=30)
        words = ask("words", {"word": until_released}).SerializeToString()
        unary = method.future(words, timeout=30)
        assert infer(later, ask("add_one", {"x": FIVE}))
        # What is not taken up yet would be refused; this came last on its connection.
        assert until(lambda: graphs(running, "words") == 2)
        running.ask_to_stop()
        assert until(lambda: "] stopping" in running.log)
        assert until(
            lambda: refusal(later, ask("add_one", {"x": FIVE}))[0] == "UNAVAILABLE"
        )
        # The old ones go on: one of them even with a new request.
        stream.send(ask("echo", {"in": FIVE}))
        stream.half_close()
        assert [calls.timestamp(each) for each in stream.rest()] == [1, 2, 3]
        release.touch()
        assert waiting.answer()
        waiting.half_close()
        assert waiting.end() == ("OK", "")
        assert Answer.FromString(unary.result()).model_name == "words"
        assert Answer.FromString(slow.result()).model_name == "sluggish"
    assert running.code() == 0
    assert errors(running) == []


def test_who_asks_twice_does_not_wait(running: Process) -> None:
    with (
        calls.connect(running.ready()) as channel,
        Stream(channel, ask("echo", {"in": FIVE})) as stream,
    ):
        stream.answer()
        running.ask_to_stop()
        assert until(lambda: "] stopping" in running.log)
        running.ask_to_stop()
        assert running.code() == 1
        assert stream.end()[0] == "UNAVAILABLE"


def test_a_handler_that_does_not_return_does_not_keep_a_server(tmp_path: Path) -> None:
    handler = """
import pathlib
import time


class OvmsPythonModel:
    def execute(self, inputs):
        pathlib.Path(__file__).with_name("running").touch()
        time.sleep(600)
"""
    home = zoo.add_graph(tmp_path, "words", zoo.words(), speaker=handler)
    flags = ("--model_name", "words", "--model_path", str(home))
    with Process(tmp_path, *flags) as server:
        with calls.connect(server.ready()) as channel:
            message = ask("words", {"word": calls.text("x")}).SerializeToString()
            asked: Any = channel.unary_unary(kserve.MODEL_INFER).future(message)
            assert until((home / "running").exists, within=30)
            server.ask_to_stop()
            assert server.code() == 0
            assert asked.exception() is not None
        assert "does not return: it is left behind" in server.log
