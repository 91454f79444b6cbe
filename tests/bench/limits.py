"""What OpenVINO does without a server: its own benchmark_app, in a process of its own,
just before and just after each slice that is compared with it.
"""

from __future__ import annotations

import re
import subprocess
import sys
from array import array
from pathlib import Path
from typing import Final

from tests.bench.cases import Case
from tests.bench.fleet import Slice
from tests.bench.measure import Row
from tests.bench.models import path_of

BEFORE: Final = "benchmark_app, before"
AFTER: Final = "benchmark_app, after"
_APP: Final = Path(sys.executable).with_name("benchmark_app")


def benchmark_app(case: Case, name: str) -> Row:
    """The model of `case`, with as many requests in flight and the same settings."""
    model = case.model

    def load(seconds: float) -> Slice:
        command: list[str | Path] = [_APP, "-m", path_of(model), "-d", "CPU"]
        command += ["-hint", "none", "-infer_precision", "f32"]
        # Left to itself, it gives a lone request the threads of all streams.
        streams = str(min(model.streams, case.in_flight))
        command += ["-nstreams", streams, "-nthreads", streams]
        command += ["-nireq", str(case.in_flight), "-t", str(max(1, round(seconds)))]
        said = subprocess.run(
            command, check=True, capture_output=True, text=True
        ).stdout
        found = re.search(r"Throughput:\s+([\d.]+) FPS", said)
        if not found:
            raise RuntimeError(f"benchmark_app says no throughput:\n{said}")
        return Slice(1.0, array("d", [0.0] * round(float(found[1]))))

    return Row(case.name, name, load)
