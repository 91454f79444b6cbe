"""What REST does, and what it does to gRPC in the same process.

    python -m tests.bench.rest

Its clients are processes of their own, which write and read HTTP by themselves.
"""

from __future__ import annotations

import json
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeAlias

import grpc
import numpy as np
import openvino as ov
from ovms_mp_protos import kserve

from tests.bench.models import EFFICIENTNET, FRAME, TINY, Model, lay_out, path_of
from tests.wire.calls import connect
from tests.wire.servers import HOST, Process

Row: TypeAlias = Mapping[str, Any]

SECONDS: Final = 1.0
IN_FLIGHT: Final = 4
"""Of EfficientNet, which has two streams."""

_FLOATS_OF_A_MEGABYTE: Final = 1 << 17


def rows(rounds: int = 5) -> dict[str, Sequence[Row]]:
    """Tables by their titles."""
    with tempfile.TemporaryDirectory() as name:
        return {
            "gRPC beside REST: a tiny model, 1 in flight": _beside(Path(name), rounds),
            "REST, binary tensors": _rates(Path(name), rounds),
        }


def request(model: Model, *, binary: bool) -> bytes:
    """A whole request over HTTP."""
    feed = model.feed()
    given: dict[str, Any] = {
        "name": model.input,
        "shape": list(model.shape),
        "datatype": "UINT8" if feed.dtype == np.uint8 else "FP32",
    }
    if not binary:
        given["data"] = feed.ravel().tolist()
    document = {"inputs": [given], "parameters": {"binary_data_output": binary}}
    return post(model.name, document, feed.tobytes() if binary else b"")


def post(name: str, document: Any, binary: bytes = b"") -> bytes:
    """The same of any document."""
    text = json.dumps(document).encode()
    head = (
        f"POST /v2/models/{name}/infer HTTP/1.1\r\nhost: x\r\n"
        f"inference-header-content-length: {len(text)}\r\n"
        f"content-length: {len(text) + len(binary)}\r\n\r\n"
    )
    return head.encode() + text + binary


def exchange(connection: socket.socket, message: bytes) -> int:
    """Send it, and read the answer to its end; returns the code."""
    connection.sendall(message)
    heard = bytearray()
    while (end := heard.find(b"\r\n\r\n")) < 0:
        heard += connection.recv(1 << 20)
    found = re.search(rb"content-length: (\d+)", heard)
    assert found
    left = end + 4 + int(found[1]) - len(heard)
    while left > 0:
        left -= len(connection.recv(1 << 20))
    return int(heard[9:12])


def ask(port: int, file: Path, seconds: float, pause: float, workers: int) -> None:
    """The child: ask as fast as answers come, or with pauses; print what came of it."""
    message = file.read_bytes()
    taken: list[float] = []
    end = time.perf_counter() + seconds

    def work() -> None:
        with _connected(port, message) as turn:
            begun = time.perf_counter()
            while begun < end:
                turn()
                taken.append(time.perf_counter() - begun)
                begun += pause or taken[-1]
                time.sleep(max(begun - time.perf_counter(), 0))
                begun = max(begun, time.perf_counter())

    threads = [threading.Thread(target=work) for _ in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    p50, p99 = np.percentile(taken, [50, 99])
    told = {"rate": len(taken) / seconds, "p50": p50 * 1e3, "p99": p99 * 1e3}
    print(json.dumps(told))


@contextmanager
def _connected(port: int, message: bytes) -> Iterator[Callable[[], object]]:
    """What asks once: over HTTP if it is a request of that, else by gRPC."""
    if not message.startswith(b"POST"):
        with connect(f"{HOST}:{port}") as channel:
            call = channel.unary_unary(kserve.MODEL_INFER)
            yield lambda: call(message)
        return
    with socket.create_connection((HOST, port)) as connection:

        def turn() -> None:
            assert exchange(connection, message) == 200

        yield turn


@contextmanager
def asking(
    port: int, file: Path, seconds: float, pause: float = 0.0, workers: int = 1
) -> Iterator[Callable[[], Mapping[str, float]]]:
    """A child that asks; what it says in the end."""
    command = [sys.executable, "-m", "tests.bench.rest", str(port), str(file)]
    arguments = [str(seconds), str(pause), str(workers)]
    with subprocess.Popen([*command, *arguments], stdout=subprocess.PIPE) as child:
        yield lambda: json.loads(child.communicate()[0])


@contextmanager
def serving(folder: Path, model: Model) -> Iterator[tuple[str, int]]:
    """A server of one model: its address for gRPC, its port for REST."""
    home = folder / f"{model.name}_site"
    home.mkdir(parents=True)
    config = lay_out(home, [model])
    flags = ("--config_path", str(config), "--rest_port", "auto")
    with Process(home, *flags) as server:
        address = server.ready()
        found = re.search(r"REST server listening on \S*:(\d+)", server.log)
        assert found
        yield address, int(found[1])


def _beside(folder: Path, rounds: int) -> list[Row]:
    numbers = np.random.default_rng(3).standard_normal(_FLOATS_OF_A_MEGABYTE)
    tensor = {"name": "x", "shape": [1, 10], "datatype": "FP32"}
    large = post(TINY.name, {"inputs": [{**tensor, "data": numbers.tolist()}]})
    loads: dict[str, tuple[bytes, float]] = {
        "nothing": (b"", 0.0),
        "200 requests a second by gRPC": (TINY.message(to_graph=False), 0.005),
        "200 requests a second in JSON": (request(TINY, binary=False), 0.005),
        "200 requests a second, binary": (request(TINY, binary=True), 0.005),
    }
    found: dict[str, list[tuple[float, float]]] = {each: [] for each in loads}
    stalls: list[float] = []
    with serving(folder, TINY) as (address, port), connect(address) as channel:
        _grpc(channel, SECONDS)
        for _ in range(rounds):
            for name, (message, pause) in loads.items():
                if not message:
                    found[name].append(_grpc(channel, SECONDS))
                    continue
                file = folder / "load"
                file.write_bytes(message)
                is_rest = message.startswith(b"POST")
                at = port if is_rest else int(address.rpartition(":")[2])
                with asking(at, file, 3 * SECONDS, pause) as said:
                    time.sleep(SECONDS)  # until it has started
                    found[name].append(_grpc(channel, SECONDS))
                    said()
            stalls.append(_longest_beside(channel, port, large))
    quiet = found["nothing"]
    told: list[Row] = [
        {
            "case": f"beside {name}",
            "p50 ms": round(statistics.median(p50 for p50, _ in each), 3),
            "p99 ms": round(statistics.median(p99 for _, p99 in each), 3),
            "p99 to p99 of nothing": round(
                statistics.median(
                    mine[1] / its[1] for mine, its in zip(each, quiet, strict=True)
                ),
                2,
            ),
        }
        for name, each in found.items()
    ]
    longest = round(statistics.median(stalls), 1)
    size = f"{len(large) / (1 << 20):.1f} MB"
    case = f"the longest request beside one of {size} in JSON"
    return [*told, {"case": case, "p50 ms": longest}]


def _grpc(channel: grpc.Channel, seconds: float) -> tuple[float, float]:
    """p50 and p99 of a closed loop, in milliseconds."""
    p50, p99 = np.percentile(_latencies(channel, seconds), [50, 99])
    return float(p50) * 1e3, float(p99) * 1e3


def _latencies(channel: grpc.Channel, seconds: float) -> list[float]:
    call = channel.unary_unary(kserve.MODEL_INFER)
    message = TINY.message(to_graph=False)
    taken: list[float] = []
    end = time.perf_counter() + seconds
    while (begun := time.perf_counter()) < end:
        call(message)
        taken.append(time.perf_counter() - begun)
    return taken


def _longest_beside(channel: grpc.Channel, port: int, message: bytes) -> float:
    """The longest of the calls while one large request is answered, in milliseconds."""
    with socket.create_connection((HOST, port)) as connection:
        asking = threading.Thread(target=exchange, args=(connection, message))
        asking.start()
        longest = 0.0
        while asking.is_alive():
            longest = max(longest, *_latencies(channel, 0.005), 0.0)
        asking.join()
    return longest * 1e3


def _rates(folder: Path, rounds: int) -> list[Row]:
    told: list[Row] = []
    for model, workers in ((TINY, 1), (EFFICIENTNET, IN_FLIGHT), (FRAME, 1)):
        file = folder / model.name
        file.write_bytes(request(model, binary=True))
        pairs: list[tuple[float, float]] = []
        answers: list[Mapping[str, float]] = []
        own = _own(model, workers)
        with serving(folder / "rates", model) as (_, port):
            for _ in range(rounds):
                with asking(port, file, SECONDS, workers=workers) as said:
                    answers.append(said())
                pairs.append((answers[-1]["rate"], own()))
        told.append(
            {
                "case": f"{model.name}, {workers} in flight",
                "per second": round(statistics.median(a["rate"] for a in answers), 1),
                "p50 ms": round(statistics.median(a["p50"] for a in answers), 2),
                "p99 ms": round(statistics.median(a["p99"] for a in answers), 2),
                "OpenVINO's own": round(statistics.median(b for _, b in pairs), 1),
                "ratio": round(statistics.median(a / b for a, b in pairs), 2),
            }
        )
    return told


def _own(model: Model, workers: int) -> Callable[[], float]:
    """Inferences per second of OpenVINO itself, with as many in flight."""
    properties = dict(model.properties)
    compiled = ov.Core().compile_model(path_of(model), "CPU", properties)
    queue = ov.AsyncInferQueue(compiled, workers)
    feed = model.feed()

    def measure() -> float:
        count = 0
        begun = time.perf_counter()
        while time.perf_counter() - begun < SECONDS:
            queue.start_async([feed], None)
            count += 1
        queue.wait_all()
        return count / (time.perf_counter() - begun)

    return measure


if __name__ == "__main__":
    if sys.argv[1:]:
        ask(
            int(sys.argv[1]),
            Path(sys.argv[2]),
            float(sys.argv[3]),
            float(sys.argv[4]),
            int(sys.argv[5]),
        )
    else:
        print(json.dumps(rows(), indent=2))
