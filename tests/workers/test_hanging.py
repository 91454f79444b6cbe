"""A worker that stands still is one that has ended."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from ovms_mp.supervisor.channel import Message
from ovms_mp.supervisor.fleet import Fleet
from tests.wire.servers import HOST, listening
from tests.workers.servers import STARTS_WITHIN, is_running, workers_of

pytestmark = pytest.mark.timeout(240)

HANGS_AFTER = 6.0
"""Seconds in which one that imports answers, and one that is not given the processor."""


def test_a_worker_that_does_not_answer_is_replaced(config: Path) -> None:
    flags = {"config_path": str(config), "probe_models": "false"}
    flags["grpc_bind_address"] = HOST

    def order(number: int, is_first: bool) -> Message:
        ports = {"port": 0, "rest_port": None}
        return {"flags": flags, "number": number, "listens_first": is_first, **ports}

    async def replaced(log: list[str]) -> None:
        fleet = Fleet(1, order, hang_seconds=HANGS_AFTER)
        running = asyncio.create_task(fleet.run())

        async def said(words: str, times: int) -> None:
            while sum(words in line for line in log) < times:
                assert not running.done()
                await asyncio.sleep(0.02)

        await asyncio.wait_for(said("workers serve", 1), STARTS_WITHIN)
        (pid,) = workers_of(os.getpid())
        os.kill(pid, signal.SIGSTOP)
        await asyncio.wait_for(
            said(f"has not answered for {HANGS_AFTER:g} s: killed", 1), 60
        )
        await asyncio.wait_for(said("workers serve", 2), STARTS_WITHIN)
        assert not is_running(pid)
        fleet.stop()
        assert await running == 0

    with listening() as log:
        asyncio.run(replaced(log))
    assert workers_of(os.getpid()) == set()
