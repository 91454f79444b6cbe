"""From the command to a server that is ready, with one tiny model, against an interpreter
that imports OpenVINO and gRPC and does nothing else: both by the clock, and by what they
take of processors, which neighbours disturb less.

Both find compiled bytecode, as they do where a package is installed or has run before.

    python -m tests.bench.start_up
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import median
from typing import Any, Final, NamedTuple

import grpc
from ovms_mp_protos import kserve

from tests.bench.fleet import cpu_of
from tests.unit.inference import tiny
from tests.wire.servers import Process

IMPORTS: Final = "import openvino, grpc"
GATE: Final = "2"


class Taken(NamedTuple):
    """Seconds of the clock, and of processors."""

    passed: float
    used: float


def rows(rounds: int = 5) -> list[dict[str, Any]]:
    """Two rows, as those of `runtime.measure`."""
    found = list(pairs(rounds))
    passed = [(ready.passed, imported.passed) for ready, imported in found]
    used = [(ready.used, imported.used) for ready, imported in found]
    return [
        _row("start to ready, one tiny model", passed),
        _row("the same, of processors", used),
    ]


def _row(name: str, found: list[tuple[float, float]]) -> dict[str, Any]:
    ours, theirs = (median(each) * 1e3 for each in zip(*found, strict=True))
    return {
        "case": name,
        "ours": f"{ours:,.1f} ms",
        "calibration": f"{theirs:,.1f} ms",
        "ratio": round(median(ready / imported for ready, imported in found), 2),
        "gate": GATE,
    }


def pairs(rounds: int) -> Iterator[tuple[Taken, Taken]]:
    """A server's start and the imports, in turns, after one that is not counted."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "1").mkdir()
        tiny.save(folder / "1", tiny.add_one())
        bytecode = {
            "PYTHONDONTWRITEBYTECODE": "",
            "PYTHONPYCACHEPREFIX": str(folder / "bytecode"),
        }
        for number in range(rounds + 1):
            taken = _ready(folder, bytecode), _imported(bytecode)
            if number:
                yield taken


def _ready(folder: Path, environment: Mapping[str, str]) -> Taken:
    """Until a client is told that the model is ready. The model is not probed: a probe
    is a second interpreter.
    """
    begun = time.perf_counter()
    flags = ("--model_name", "tiny", "--model_path", str(folder))
    more = ("--probe_models", "false")
    with Process(folder, *flags, *more, environment=environment) as server:
        address = server.ready()
        with grpc.insecure_channel(address) as channel:
            ready = channel.unary_unary(kserve.SERVER_READY)
            assert kserve.ServerReadyResponse.FromString(ready(b"")).ready
            return Taken(time.perf_counter() - begun, cpu_of(server.process.pid))


def _imported(environment: Mapping[str, str]) -> Taken:
    begun, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-c", IMPORTS]
    subprocess.run(command, check=True, env={**os.environ, **environment})
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Taken(time.perf_counter() - begun, used)


if __name__ == "__main__":
    for row in rows():
        print(row)
