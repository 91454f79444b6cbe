"""NVIDIA's perf_analyzer against our server: unary on a model, and a stream on a graph.

    make perf-analyzer

It comes with tritonclient 2.51, the last that has it, and needs two libraries: one is a
package on PyPI, the other one of Debian's. Where they cannot be had nothing is run.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from tests.bench.models import TINY, lay_out
from tests.bench.peers import installed
from tests.bench.servers import Server, ours

_REQUIREMENTS: Final = (
    "tritonclient==2.51.0",
    "numpy<2",
    "nvidia-cuda-runtime-cu12<12.7",
)
_LIBRARY: Final = "libb64-0d"
_LINES: Final = ("--concurrency-range", "8", "-p", "1000", "-r", "6", "-s", "900")
RUNS: Final = {
    "unary, a model": ("-m", TINY.name),
    "a stream, a graph": ("-m", TINY.graph, "--async", "--streaming"),
}
_SAID: Final = re.compile(r"throughput: ([\d.]+) infer/sec, latency (\d+) usec")


class Unavailable(Exception):
    """It cannot be had here."""


def analyzer() -> tuple[Path, str]:
    """The program, and the path of its libraries. Raises Unavailable."""
    try:
        home = installed("perf_analyzer", _REQUIREMENTS)
        if not any(home.glob("usr/lib/*/libb64.so.*")):
            get = ["apt-get", "download", "--quiet", _LIBRARY]
            subprocess.run(get, cwd=home, check=True, capture_output=True)
            (package,) = home.glob("*.deb")
            subprocess.run(["dpkg-deb", "-x", package, home], check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise Unavailable(str(error)) from error
    folders = {each.parent for each in home.glob("usr/lib/*/libb64.so.*")}
    folders |= {each.parent for each in home.rglob("libcudart.so.*")}
    return home / "bin" / "perf_analyzer", ":".join(map(str, folders))


def analyze(server: Server, flags: tuple[str, ...]) -> tuple[float, float]:
    """Inferences per second, and milliseconds of the 99th percentile, as it says them.
    Raises RuntimeError, with its words, if it says none.
    """
    program, libraries = analyzer()
    command = [program, "-u", "{}:{}".format(*server.address), "-i", "grpc"]
    said = subprocess.run(
        [*command, *_LINES, "--percentile", "99", *flags],
        env={**os.environ, "LD_LIBRARY_PATH": libraries},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    found = _SAID.search(said.stdout)
    if said.returncode or found is None:
        raise RuntimeError(f"perf_analyzer failed:\n{said.stdout}{said.stderr}")
    return float(found[1]), int(found[2]) / 1e3


def main() -> int:
    """Run it both ways; 0 if it worked, or is not to be had."""
    try:
        analyzer()
    except Unavailable as error:
        print(f"perf_analyzer is not to be had here, nothing was run: {error}")
        return 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = lay_out(folder / "repository", [TINY])
        with ours(config, folder / "log") as server:
            for what, flags in RUNS.items():
                rate, latency = analyze(server, flags)
                print(f"{what}: {rate:,.0f} inferences/s, p99 {latency:.2f} ms")
    return 0


if __name__ == "__main__":
    sys.exit(main())
