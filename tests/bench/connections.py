"""Connections come and go; what the server keeps of them.

python -m tests.bench.connections
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, Final

from ovms_mp_protos import kserve

from tests.unit.inference import tiny
from tests.wire.calls import connect
from tests.wire.servers import Process

COUNT: Final = 10_000
WARM: Final = 500
GATE: Final = "1.05"


def rows(count: int = COUNT) -> list[dict[str, Any]]:
    """One row: resident memory after `count` connections, each of which asked once,
    against that after the first few.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "1").mkdir()
        tiny.save(folder / "1", tiny.add_one())
        flags = ("--model_name", "tiny", "--model_path", name, "--probe_models=false")
        with Process(folder, *flags) as server:
            address = server.ready()
            _use(address, min(WARM, count))
            before = server.memory()
            _use(address, count)
            after = server.memory()
    return [
        {
            "case": f"memory after {count} connections",
            "ours": f"{after / 2**20:,.1f} MiB",
            "calibration": f"{before / 2**20:,.1f} MiB",
            "ratio": round(after / before, 3),
            "gate": GATE,
        }
    ]


def _use(address: str, count: int) -> None:
    for _ in range(count):
        with connect(address) as channel:
            channel.unary_unary(kserve.SERVER_LIVE)(b"", timeout=60)


if __name__ == "__main__":
    for row in rows():
        print(row)
