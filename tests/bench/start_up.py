"""From the command to a server that is ready, with one tiny model, against an interpreter
that imports OpenVINO and gRPC and does nothing else.

    python -m tests.bench.start_up
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import grpc
from ovms_mp_protos import kserve

from tests.bench.runtime import Ratio
from tests.unit.inference import tiny
from tests.wire.servers import Process

IMPORTS: Final = "import openvino, grpc"
GATE: Final = "2"


def rows(rounds: int = 5) -> list[dict[str, Any]]:
    """One row, as those of `runtime.measure`."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "1").mkdir()
        tiny.save(folder / "1", tiny.add_one())
        ratio = Ratio(
            "start to ready, one tiny model",
            lambda: (_ready(folder) * 1e3, _imported() * 1e3),
            "ms",
            GATE,
        )
        for _ in range(rounds):
            ratio.rounds.append(ratio.measure())
    return [ratio.row]


def _ready(folder: Path) -> float:
    """Seconds until a client is told that the model is ready. The model is not probed:
    a probe is a second interpreter.
    """
    begun = time.perf_counter()
    flags = ("--model_name", "tiny", "--model_path", str(folder))
    with Process(folder, *flags, "--probe_models", "false") as server:
        address = server.ready()
        with grpc.insecure_channel(address) as channel:
            ready = channel.unary_unary(kserve.SERVER_READY)
            assert kserve.ServerReadyResponse.FromString(ready(b"")).ready
            return time.perf_counter() - begun


def _imported() -> float:
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-c", IMPORTS], check=True)
    return time.perf_counter() - begun


if __name__ == "__main__":
    for row in rows():
        print(row)
