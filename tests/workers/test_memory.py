"""What workers share: the constants of a model, which are in memory once and stay as they
are, whatever becomes of their file.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Final

import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as op

from tests.unit.inference import tiny
from tests.wire import zoo
from tests.wire.calls import arrays, ask, infer
from tests.wire.waiting import until
from tests.workers.servers import WHO, Workers, becomes

pytestmark = pytest.mark.timeout(300)

ROWS: Final = 16384
WIDTH: Final = 1024
TABLE_BYTES: Final = ROWS * WIDTH * 4
IDS: Final = np.array([[0, 7, ROWS - 1]], np.int32)
SEALED: Final = "memfd:weights"


def lookup(first: int = 0) -> ov.Model:
    """y = rows of a table of 64 MiB, by their numbers x; each row has its number, the
    first one `first`.
    """
    ids = tiny.parameter("x", (1, 3), np.int32)
    numbers = np.arange(first, first + ROWS, dtype=np.float32)
    rows = np.repeat(numbers[:, None], WIDTH, axis=1)
    axis = op.constant(np.int64(0))
    return tiny.model([tiny.named(op.gather(op.constant(rows), ids, axis), "y")], [ids])


def served(folder: Path, **plugin_config: Any) -> Path:
    """The config of the model, and of a graph that tells who answers."""
    zoo.add_model(folder, "lookup", lookup())
    zoo.add_graph(folder, "who", zoo.words(), speaker=WHO)
    entry = zoo.entry("lookup", plugin_config={**zoo.EXACT, **plugin_config})
    return zoo.write_config(folder, [entry], [{"name": "who"}])


def found(channel: Any) -> list[float]:
    """What the model has in the rows."""
    (rows,) = arrays(infer(channel, ask("lookup", {"x": IDS})))["y"]
    return [float(row[0]) for row in rows]


def numbers(first: int = 0) -> list[float]:
    """What it is to have."""
    return [float(first + each) for each in IDS[0]]


def memory(text: str) -> dict[str, int]:
    """Bytes, by the words of /proc/PID/smaps."""
    return {
        name: int(size) << 10
        for name, size in re.findall(r"^(\w+): +(\d+) kB", text, re.MULTILINE)
    }


def all_of(pid: int) -> dict[str, int]:
    """The memory of a process."""
    return memory(Path(f"/proc/{pid}/smaps_rollup").read_text())


def mapped(pid: int, name: str) -> list[dict[str, int]]:
    """The memory of the files of this name that a process maps."""
    parts = re.split(
        r"^(?=[0-9a-f]+-[0-9a-f]+ )",
        Path(f"/proc/{pid}/smaps").read_text(),
        flags=re.MULTILINE,
    )
    return [memory(part) for part in parts if name in part.partition("\n")[0]]


def copies(server: Workers) -> int:
    """Sealed memories that the supervisor holds."""
    count = 0
    for each in Path(f"/proc/{server.process.pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # it is closed by now
            count += SEALED in str(each.readlink())
    return count


def is_let_go_of(server: Workers, pids: Iterable[int], kept: int) -> bool:
    """Whether so many copies are left, with each worker and with the supervisor."""
    return copies(server) == kept and all(
        len(mapped(pid, SEALED)) == kept for pid in pids
    )


@pytest.mark.parametrize("name", [SEALED, "model.bin"])
def test_constants_are_in_memory_once(tmp_path: Path, name: str) -> None:
    """Sealed, or as their file is mapped if the config says so."""
    config = served(tmp_path, **({} if name == SEALED else {"ENABLE_MMAP": True}))
    with (
        Workers(tmp_path, "--config_path", str(config)) as server,
        ExitStack() as stack,
    ):
        server.ready()
        channels = server.channels(stack, per_worker=1)
        for channel, *_ in channels.values():
            assert found(channel) == numbers()
        whole = [all_of(pid) for pid in channels]
        (parts,) = zip(*(mapped(pid, name) for pid in channels), strict=True)
        assert copies(server) == (name == SEALED)
        supervisor = all_of(server.process.pid)
    for each in parts:
        assert each["Rss"] >= TABLE_BYTES
        assert each["Private_Dirty"] == 0
        assert each["Pss"] <= each["Rss"] * 0.55
    resident = sum(each["Rss"] for each in whole)
    proportional = sum(each["Pss"] for each in whole)
    assert resident - proportional > TABLE_BYTES
    # Nothing of that size is in anybody's own memory.
    assert all(each["Private_Dirty"] < TABLE_BYTES * 1.5 for each in whole)
    assert supervisor["Rss"] < TABLE_BYTES


def test_a_file_that_is_written_in_place_changes_nothing_until_the_reload(
    tmp_path: Path,
) -> None:
    config = served(tmp_path)
    weights = tmp_path / "lookup/1/model.bin"
    flags = ("--config_path", str(config), "--file_system_poll_wait_seconds", "0")
    with Workers(tmp_path, *flags) as server, ExitStack() as stack:
        server.ready()
        channels = [each[0] for each in server.channels(stack, per_worker=1).values()]
        pids = server.pids()
        # Whoever maps the file would be ended by the first look at what is cut off.
        os.truncate(weights, 0)
        assert [found(each) for each in channels] == [numbers()] * 2
        tiny.save(tmp_path, lookup(first=500))
        with weights.open("r+b") as file:
            file.write((tmp_path / "model.bin").read_bytes())
        assert [found(each) for each in channels] == [numbers()] * 2

        server.ask_to_stop(signal.SIGHUP)
        assert becomes(lambda: server.lines("reload: all that is mounted is served"))
        assert [found(each) for each in channels] == [numbers(500)] * 2
        assert until(lambda: is_let_go_of(server, pids, 1), within=30)

        # What is served no more is nobody's any more.
        zoo.write_config(tmp_path, [], [{"name": "who"}])
        server.ask_to_stop(signal.SIGHUP)
        assert until(lambda: is_let_go_of(server, pids, 0), within=30)
        assert server.pids() == pids


def test_a_worker_that_is_killed_leaves_nothing_and_its_successor_shares(
    tmp_path: Path,
) -> None:
    config = served(tmp_path)
    with (
        Workers(tmp_path, "--config_path", str(config)) as server,
        ExitStack() as stack,
    ):
        server.ready()
        before = server.pids()
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        assert becomes(lambda: server.times_ready() == 2)
        assert not before & server.pids()
        channels = server.channels(stack, per_worker=1)
        assert [found(each[0]) for each in channels.values()] == [numbers()] * 2
        assert is_let_go_of(server, channels, 1)
