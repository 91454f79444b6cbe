"""What workers share: the file that a model's constants are in."""

from __future__ import annotations

import re
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as op

from tests.unit.inference import tiny
from tests.wire import zoo
from tests.wire.calls import arrays, ask, infer
from tests.workers.servers import WHO, Workers

pytestmark = pytest.mark.timeout(240)

ROWS: Final = 16384
WIDTH: Final = 1024
TABLE_BYTES: Final = ROWS * WIDTH * 4
IDS: Final = np.array([[0, 7, ROWS - 1]], np.int32)


def lookup() -> ov.Model:
    """y = rows of a table of 64 MiB, by their numbers x; each row has its number."""
    ids = tiny.parameter("x", (1, 3), np.int32)
    rows = np.repeat(np.arange(ROWS, dtype=np.float32)[:, None], WIDTH, axis=1)
    axis = op.constant(np.int64(0))
    return tiny.model([tiny.named(op.gather(op.constant(rows), ids, axis), "y")], [ids])


def memory(text: str) -> dict[str, int]:
    """Bytes, by the words of /proc/PID/smaps."""
    return {
        name: int(size) << 10
        for name, size in re.findall(r"^(\w+): +(\d+) kB", text, re.MULTILINE)
    }


def of_constants(pid: int) -> dict[str, int]:
    """The memory of the mapped file of constants."""
    parts = re.split(
        r"^(?=[0-9a-f]+-[0-9a-f]+ )",
        Path(f"/proc/{pid}/smaps").read_text(),
        flags=re.MULTILINE,
    )
    (part,) = [each for each in parts if "model.bin" in each.partition("\n")[0]]
    return memory(part)


def test_constants_that_are_mapped_are_in_memory_once(tmp_path: Path) -> None:
    zoo.add_model(tmp_path, "lookup", lookup())
    zoo.add_graph(tmp_path, "who", zoo.words(), speaker=WHO)
    entry = zoo.entry("lookup", plugin_config={"ENABLE_MMAP": True})
    config = zoo.write_config(tmp_path, [entry], [{"name": "who"}])
    with (
        Workers(tmp_path, "--config_path", str(config)) as server,
        ExitStack() as stack,
    ):
        server.ready()
        channels = server.channels(stack, per_worker=1)
        for channel, *_ in channels.values():
            (found,) = arrays(infer(channel, ask("lookup", {"x": IDS})))["y"]
            assert [row[0] for row in found] == IDS[0].tolist()
        whole = [
            memory(Path(f"/proc/{pid}/smaps_rollup").read_text()) for pid in channels
        ]
        mapped = [of_constants(pid) for pid in channels]
    for each in mapped:
        assert each["Rss"] >= TABLE_BYTES
        assert each["Private_Dirty"] == 0
        assert each["Pss"] <= each["Rss"] * 0.55
    resident = sum(each["Rss"] for each in whole)
    proportional = sum(each["Pss"] for each in whole)
    assert resident - proportional > TABLE_BYTES
    # Nothing of that size is in a worker's own memory.
    assert all(each["Private_Dirty"] < TABLE_BYTES * 1.5 for each in whole)
