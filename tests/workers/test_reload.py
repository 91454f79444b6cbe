"""What is mounted anew is served by all workers, and nobody notices the change."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

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


def is_served(channel: Any, name: str) -> bool:
    method: Any = channel.unary_unary(
        kserve.MODEL_READY, None, kserve.ModelReadyResponse.FromString
    )
    request = kserve.ModelReadyRequest(name=name).SerializeToString()
    return refusal(channel, ask(name, {"x": FIVE}))[0] == "OK" and method(request).ready


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
