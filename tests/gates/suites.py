"""Gates that are tests of the suite: as often as asked for, and none of them fails. What
they measure is in them.
"""

from __future__ import annotations

import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Final

from tests.gates.gate import Figure, Measure, Run, none

ROOT: Final = Path(__file__).parents[2]


def suite(law: str, *paths: str) -> Measure:
    """The tests of these files, each law of which is part of the gate's."""

    def measure(run: Run) -> list[Figure]:
        counts = [_run(run.folder / str(number), paths) for number in run.times()]
        return [
            Figure("rounds", len(counts)),
            Figure("tests in a round", min(count for count, _ in counts), at_least=1),
            none("that failed", sum(failed for _, failed in counts)),
        ]

    measure.__doc__ = law
    return measure


def _run(folder: Path, paths: tuple[str, ...]) -> tuple[int, int]:
    """How many tests there were, and how many of them failed or were not run."""
    folder.mkdir()
    report = folder / "report.xml"
    command = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider")
    with (folder / "log").open("w") as log:
        subprocess.run(
            [*command, f"--junit-xml={report}", f"--basetemp={folder / 'tmp'}", *paths],
            cwd=ROOT,
            stdout=log,
            stderr=log,
            check=False,
        )
    told = ET.parse(report).getroot().find("testsuite")  # our own
    assert told is not None
    tests, bad = int(told.attrib["tests"]), 0
    for kind in ("failures", "errors", "skipped"):
        bad += int(told.attrib[kind])
    return tests, bad


bad_reloads: Final = suite(
    "What cannot be loaded, in thirty ways and however it is mounted, leaves what was"
    " there, says why, and is served once it can be.",
    "tests/reload/test_bad_changes.py",
    "tests/reload/test_mounts.py",
)
misbehaviour: Final = suite(
    "Whatever a handler does ends its own call at worst, in time, and a healthy graph"
    " beside it keeps twice its p99.",
    "tests/python_nodes/test_misbehaviour.py",
)
connections: Final = suite(
    "Connections that are idle, old, dead, or ping too often are ended, and nothing else"
    " is; a client that breaks HTTP/2 harms itself.",
    "tests/wire/transport/test_connections.py",
    "tests/wire/transport/test_rude_clients.py",
)
timestamps: Final = suite(
    "OVMS's tests of streams hold one by one, and random graphs and interleavings keep"
    " MediaPipe's rules of timestamps.",
    "tests/wire/test_ovms_streaming.py",
    "tests/wire/test_streams.py",
    "tests/unit/graph/test_scheduler_properties.py",
)
clients: Final = suite(
    "tritonclient's clients for gRPC and HTTP, with asyncio and without, plain stubs, a"
    " client that knows the server by reflection alone, and a health probe are served.",
    "tests/interop/test_tritonclient.py",
    "tests/interop/test_tritonclient_aio.py",
    "tests/interop/test_tritonclient_http.py",
    "tests/interop/test_tritonclient_http_aio.py",
    "tests/interop/test_triton_methods.py",
    "tests/wire/test_health.py",
)
