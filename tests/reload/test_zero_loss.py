"""Reloads of every kind, while twenty clients ask all the time, lose no request, mix no
old with new, and leave nothing behind.

RELOADS says how many; `make reloads` has 200, and looks at memory then.
"""

from __future__ import annotations

import os
from itertools import cycle
from pathlib import Path
from typing import Final

import pytest

from tests.reload.crowd import Crowd
from tests.reload.mount import CHANGES, Mount, expected, told
from tests.wire.calls import connect
from tests.wire.servers import Process
from tests.wire.waiting import until

RELOADS: Final = int(os.environ.get("RELOADS", "18"))
SEEN_WITHIN: Final = 60.0  # seconds, on a machine that has no time

# What Python and OpenVINO allocate when they do a thing for the first times is no loss.
ROUNDS_BEFORE: Final = 4
GROWTH: Final = 20 << 20


@pytest.mark.timeout(120 + 20 * RELOADS)
def test_reloads_under_load_lose_nothing(tmp_path: Path) -> None:
    mount = Mount(tmp_path)
    flags = ("--config_path", str(mount.config))
    folder = ("--calculators_path", str(mount.calculators), "--probe_models=false")
    generations = dict.fromkeys(CHANGES, 1)
    with Process(tmp_path, *flags, *folder) as server:
        address = server.ready()
        before = 0
        with (
            Crowd(address, unary=14, streams=6) as crowd,
            connect(address) as channel,
        ):
            for count, kind in zip(range(RELOADS), cycle(CHANGES), strict=False):
                generations[kind] += 1
                CHANGES[kind](mount, generations[kind])
                number = expected(kind, generations[kind])
                assert until(lambda: told(channel, kind) == number, SEEN_WITHIN), (  # noqa: B023
                    kind,
                    server.log[-3000:],
                )
                assert not crowd.complaints, crowd.complaints[:5]
                if count == ROUNDS_BEFORE * len(CHANGES):
                    before = server.memory()
        assert not crowd.complaints, crowd.complaints[:5]
        assert crowd.answers > RELOADS and crowd.streams > 0
        after = server.memory()
        print(
            f"{RELOADS} reloads, {crowd.answers} answers, {crowd.streams} streams, "
            f"memory {before >> 20} MiB, then {after >> 20} MiB"
        )
        server.ask_to_stop()
        assert server.code() == 0
        assert "[error]" not in server.log, server.log[-3000:]
        assert not before or after - before < GROWTH
