"""What is mounted anew is served by all workers, and nobody notices the change."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import grpc
import pytest
from ovms_mp_protos import kserve

from tests.unit.inference import tiny
from tests.wire import zoo
from tests.wire.calls import ask, floats, infer, refusal
from tests.wire.waiting import until
from tests.workers.servers import Workers, becomes, is_ready

pytestmark = pytest.mark.timeout(240)

FIVE: Final = floats(1, 2, 3, 4, 5)


def config_with(config: Path, *models: str) -> None:
    """Write it anew."""
    for name in models:
        if not (config.parent / name).exists():
            zoo.add_model(config.parent, name, tiny.add_one((1, 5)))
    entries = [zoo.entry(name) for name in ("add_one", *models)]
    zoo.write_config(config.parent, entries, [{"name": "who"}])


def is_called_ready(channel: Any, name: str, version: str = "") -> bool:
    method: Any = channel.unary_unary(
        kserve.MODEL_READY, None, kserve.ModelReadyResponse.FromString
    )
    request = kserve.ModelReadyRequest(name=name, version=version)
    return method(request.SerializeToString(), timeout=60).ready


def is_served(channel: Any, name: str) -> bool:
    is_answered = refusal(channel, ask(name, {"x": FIVE}))[0] == "OK"
    return is_answered and is_called_ready(channel, name)


def test_a_signal_reloads_one_worker_after_the_other(
    config: Path, tmp_path: Path
) -> None:
    flags = ("--config_path", str(config), "--file_system_poll_wait_seconds", "0")
    with Workers(tmp_path, *flags) as server, ExitStack() as stack:
        server.ready()
        channels = [each[0] for each in server.channels(stack, per_worker=1).values()]
        enough, failures = threading.Event(), list[str]()

        def call(channel: Any) -> None:
            while not enough.is_set():
                code, _ = refusal(channel, ask("add_one", {"x": FIVE}))
                if code != "OK":
                    failures.append(code)

        callers = [threading.Thread(target=call, args=(each,)) for each in channels]
        for each in callers:
            each.start()
        stack.callback(enough.set)

        config_with(config, "more")
        server.ask_to_stop(signal.SIGHUP)
        assert becomes(lambda: server.lines("reload: all that is mounted is served"))
        assert all(is_served(each, "more") for each in channels)
        lines = server.lines("model more version 1 is available")
        assert ["[worker 1]" in lines[0], "[worker 2]" in lines[1]] == [True, True]

        # A config that cannot be read changes nothing, and is told as one thing.
        config.write_text("{")
        server.ask_to_stop(signal.SIGHUP)
        assert becomes(lambda: server.lines("[error]", "reload: ", "(worker 1, 2)"))
        (line,) = server.lines("[error]", "reload: ", "(worker 1, 2)")
        assert "The file is not valid json" in line
        assert all(infer(each, ask("more", {"x": FIVE})) for each in channels)
        enough.set()
        for each in callers:
            each.join()
        assert failures == []
        server.ask_to_stop()
        assert server.code() == 0


class Caller(threading.Thread):
    """Asks without a version, and whether the model is ready, until it is enough."""

    def __init__(self, channel: Any, enough: threading.Event) -> None:
        super().__init__(daemon=True)
        self._channel = channel
        self._enough = enough
        self.versions: list[int] = []
        self.complaints: list[str] = []

    def run(self) -> None:
        request = ask("add_one", {"x": FIVE})
        while not self._enough.is_set():
            try:
                version = int(infer(self._channel, request).model_version)
            except grpc.RpcError as error:
                self.complaints.append(str(error))
                continue
            if self.versions and version < self.versions[-1]:
                self.complaints.append(f"{version} after {self.versions[-1]}")
            self.versions.append(version)
            if not is_called_ready(self._channel, "add_one"):
                self.complaints.append("not ready")


def test_nobody_notices_that_workers_reload_by_themselves(
    server: Workers, config: Path, tmp_path: Path
) -> None:
    """Each looks for itself: some serve the new version while others have the one before,
    and the model is ready all the while.
    """
    with ExitStack() as stack:
        channels = server.channels(stack, per_worker=2)
        enough = threading.Event()
        callers = {
            pid: [Caller(each, enough) for each in of_worker]
            for pid, of_worker in channels.items()
        }
        everyone = [each for of_worker in callers.values() for each in of_worker]
        stack.callback(enough.set)
        for each in everyone:
            each.start()
        for version in range(2, 6):
            zoo.add_model(tmp_path, "new", tiny.add_one((1, 5)), version)
            moved = config.parent / "add_one" / str(version)
            (tmp_path / "new" / str(version)).rename(moved)
            assert becomes(
                lambda version=version: all(
                    each.versions[-1:] == [version] for each in everyone
                )
            )
        enough.set()
        for each in everyone:
            each.join()
        assert [each.complaints[:3] for each in everyone if each.complaints] == []
        for channel, *_ in channels.values():
            assert is_called_ready(channel, "add_one", "5")
            assert (
                refusal(channel, ask("add_one", {"x": FIVE}, model_version="1"))[0]
                == "NOT_FOUND"
            )
            assert is_called_ready(channel, "who", "1")


def test_changes_are_seen_by_all_workers_and_by_those_that_come_later(
    server: Workers, config: Path
) -> None:
    with ExitStack() as stack:
        channels = server.channels(stack, per_worker=1)
        config_with(config, "more")
        for each in channels.values():
            assert becomes(lambda each=each: is_served(each[0], "more"))
        victim, survivor = channels
        os.kill(victim, signal.SIGKILL)
        assert becomes(lambda: server.times_ready() == 2)
        assert until(lambda: is_ready(channels[survivor][0]))
        new = server.channels(stack, per_worker=1)
        assert all(is_served(each[0], "more") for each in new.values())
