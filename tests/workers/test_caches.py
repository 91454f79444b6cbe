"""Workers leave compiled models in one cache, and find them there."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.unit.inference import tiny
from tests.wire import zoo
from tests.wire.calls import ask, floats, infer
from tests.workers.conftest import served
from tests.workers.servers import Workers, becomes

pytestmark = pytest.mark.timeout(300)

FIVE = floats(1, 2, 3, 4, 5)


def answered(channel: Any, version: str) -> bool:
    """Whether this version of the model answers, and rightly."""
    answer = infer(channel, ask("add_one", {"x": FIVE}))
    (raw,) = answer.raw_output_contents
    assert raw == floats(2, 3, 4, 5, 6).tobytes()
    return answer.model_version == version


def test_workers_share_a_cache(tmp_path: Path) -> None:
    """At the start one after the other, at a change all at once, and at the next start."""
    config, cache = served(tmp_path), tmp_path / "cache"
    flags = ("--config_path", str(config), "--cache_dir", str(cache))
    with Workers(tmp_path, *flags) as server, ExitStack() as stack:
        server.ready()
        assert server.lines("[worker 2]", "was found in the cache")
        blobs = set(cache.iterdir())
        channels = server.channels(stack, per_worker=1)
        assert all(answered(each[0], "1") for each in channels.values())
        # Both see it, and compile it, at the same time.
        zoo.add_model(tmp_path, "add_one", tiny.add_one((-1, 5)), 2)
        (tmp_path / "add_one/2").rename(config.parent / "add_one/2")
        for channel, *_ in channels.values():
            assert becomes(lambda channel=channel: answered(channel, "2"))
        assert blobs < set(cache.iterdir())
        blobs = set(cache.iterdir())
    with Workers(tmp_path, *flags) as server:
        server.ready()
        for worker in ("[worker 1]", "[worker 2]"):
            assert server.lines(worker, "was found in the cache")
        assert set(cache.iterdir()) == blobs
        with server.connect() as channel:
            assert answered(channel, "2")
