"""What streams cost: messages, openings, idle ones and those of a client that dies, and
what a stream gains by having several frames on their way.

    python -m tests.bench.streams

The server is a process of its own; clients share the machine with it, and for 64 streams
the client is as busy as the server.
"""

from __future__ import annotations

import asyncio
import json
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias

import grpc.aio
import numpy as np
import openvino as ov
from ovms_mp_clients import Client
from ovms_mp_clients.streaming import Stream
from ovms_mp_clients.tensors import encode
from ovms_mp_protos import kserve

from tests.unit.inference import tiny
from tests.wire import crowd, zoo
from tests.wire.servers import HOST, Process
from tests.wire.waiting import until

Row: TypeAlias = Mapping[str, Any]
Tables: TypeAlias = dict[str, Sequence[Row]]

STREAMS: Final = (1, 8, 64)
IDLE: Final = 1000
CHANNELS: Final = 10
SECONDS: Final = 2.0
FRAMES: Final = 12
SLICES: Final = 5
SLICE_SECONDS: Final = 0.2
STEPS: Final = 4
SIDE: Final = 512

# An inference takes one thread, and two of them have a core each.
TWO_AT_A_TIME: Final = {
    "NUM_STREAMS": 2,
    "INFERENCE_NUM_THREADS": 2,
    "INFERENCE_PRECISION_HINT": "f32",
}
HANDLER: Final = """
import numpy as np
from pyovms import Tensor

class OvmsPythonModel:
    def initialize(self, kwargs):
        (self.output,) = kwargs["output_names"]

    def execute(self, inputs):
        array = np.array(inputs[0])
        return [Tensor(self.output, np.tanh(array))]
"""


def pipeline() -> str:
    """Python before and after an inference, as video graphs have it."""

    def python(name: str, source: str, target: str) -> str:
        return zoo.python("tanh.py", source, target, name)

    def convert(source: str, target: str, option: str) -> str:
        return zoo.node(
            "PyTensorOvTensorConverterCalculator",
            f'input_stream: "{source}"',
            f'output_stream: "{target}"',
            options=f"mediapipe.PyTensorOvTensorConverterCalculatorOptions {option}",
        )

    name = 'tag_to_output_tensor_names { key: "OVMS_PY_TENSOR" value: "given" }'
    return zoo.graph(
        ["OVMS_PY_TENSOR:frame"],
        ["OVMS_PY_TENSOR:out"],
        python("before", "frame", "prepared"),
        convert("OVMS_PY_TENSOR:prepared", "OVTENSOR:x", ""),
        zoo.session("model"),
        zoo.inferring({"x": "x"}, {"y": "y"}),
        convert("OVTENSOR:y", "OVMS_PY_TENSOR:given", name),
        python("after", "given", "out"),
    )


@contextmanager
def serving(folder: Path) -> Iterator[tuple[Process, str, int]]:
    """The process, its address and its port for metrics."""
    zoo.add_graph(folder, "echo", zoo.ECHO)
    zoo.add_graph(folder, "pipeline", pipeline(), tanh=HANDLER)
    zoo.add_model(folder, "model", tiny.slow(steps=STEPS, size=SIDE))
    model = zoo.entry("model", plugin_config=TWO_AT_A_TIME, nireq=4)
    graphs = [{"name": "echo"}, {"name": "pipeline"}]
    config = zoo.write_config(folder, [model], graphs)
    flags = ("--config_path", str(config), "--metrics_enable", "--rest_port", "auto")
    with Process(folder, *flags) as server:
        address = server.ready()
        port = re.search(r"REST server listening on \S*:(\d+)", server.log)
        assert port, server.log
        yield server, address, int(port[1])


async def _ping(
    channel: grpc.aio.Channel, message: bytes, end: float, latencies: list[float]
) -> None:
    method: Any = channel.stream_stream(kserve.MODEL_STREAM_INFER)
    call = method()
    while (begun := time.perf_counter()) < end:
        await call.write(message)
        await call.read()
        latencies.append(time.perf_counter() - begun)
    await call.done_writing()
    assert await call.read() is grpc.aio.EOF


async def _messages(address: str, streams: int, seconds: float) -> list[list[float]]:
    message = encode("echo", {"in": np.ones(1, np.float32)}).SerializeToString()
    latencies: list[list[float]] = [[] for _ in range(streams)]
    async with grpc.aio.insecure_channel(address) as channel:
        end = time.perf_counter() + seconds
        await asyncio.gather(*(_ping(channel, message, end, one) for one in latencies))
    return latencies


def messages(address: str, seconds: float) -> list[Row]:
    """One message on its way in each stream."""
    rows: list[Row] = []
    for streams in STREAMS:
        found = asyncio.run(_messages(address, streams, seconds))
        every = [each for one in found for each in one]
        slowest = max(np.percentile(one, 99) for one in found)
        rows.append(
            {
                "case": f"{streams} streams of a tiny graph",
                "messages per second": round(len(every) / seconds),
                "p50 ms": round(statistics.median(every) * 1e3, 2),
                "p99 ms": round(float(np.percentile(every, 99)) * 1e3, 2),
                "p99 ms of the slowest stream": round(float(slowest) * 1e3, 2),
            }
        )
    return rows


async def _openings(address: str, seconds: float, at_a_time: int) -> int:
    message = encode("echo", {"in": np.ones(1, np.float32)}).SerializeToString()
    count = 0

    async def work(channel: grpc.aio.Channel, end: float) -> None:
        nonlocal count
        while time.perf_counter() < end:
            call = await crowd.answered(channel, message, 1)
            await call.done_writing()
            assert await call.read() is grpc.aio.EOF
            count += 1

    async with grpc.aio.insecure_channel(address) as channel:
        end = time.perf_counter() + seconds
        await asyncio.gather(*(work(channel, end) for _ in range(at_a_time)))
    return count


def openings(address: str, seconds: float) -> list[Row]:
    """Streams that are opened, answered once, and closed."""
    return [
        {
            "case": f"{at_a_time} at a time",
            "streams per second": round(
                asyncio.run(_openings(address, seconds, at_a_time)) / seconds
            ),
        }
        for at_a_time in (1, 8)
    ]


def _open_graphs(port: int) -> float:
    url = f"http://{HOST}:{port}/metrics"
    with urllib.request.urlopen(url, timeout=10) as answer:
        page = answer.read().decode()
    found = re.findall(r"^ovms_current_graphs\{.*\} (.+)$", page, re.MULTILINE)
    return sum(map(float, found))


def idle(server: Process, address: str, port: int) -> list[Row]:
    """A thousand streams that say nothing; then their client is killed."""
    before = server.memory()
    command = (sys.executable, crowd.__file__, address, str(CHANNELS), "1")
    kinds = ("echo", "in", "1", str(IDLE))
    with subprocess.Popen(
        [*command, *kinds], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == "connected"
        begun = time.perf_counter()
        assert process.stdout.readline().strip() == "open"
        opened = time.perf_counter() - begun
        each = (server.memory() - before) / IDLE
        process.send_signal(signal.SIGKILL)
        begun = time.perf_counter()
        assert until(lambda: _open_graphs(port) == 0, within=60)
        freed = time.perf_counter() - begun
    return [
        {
            "case": f"{IDLE} idle streams",
            "KiB each": round(each / 1024, 1),
            "all open after s": round(opened, 2),
            "all freed s after the client is killed": round(freed, 2),
        }
    ]


def _frames_per_second(
    stream: Stream, window: int, frame: np.ndarray, frames: int
) -> float:
    begun = time.perf_counter()
    sent = answered = 0
    last = -1
    while answered < frames:
        while sent < frames and sent - answered < window:
            stream.send({"frame": frame})
            sent += 1
        result = next(stream)
        assert result.timestamp is not None and result.timestamp > last
        last = result.timestamp
        answered += 1
    return frames / (time.perf_counter() - begun)


def _requests() -> list[Any]:
    made = tiny.slow(steps=STEPS, size=SIDE)
    compiled = ov.compile_model(made, "CPU", dict(TWO_AT_A_TIME))
    return [compiled.create_infer_request() for _ in range(2)]


def _rate(requests: list[Any], frame: np.ndarray, seconds: float) -> float:
    """Inferences per second, with a thread for each request."""
    counts = [0] * len(requests)
    end = time.perf_counter() + seconds

    def work(number: int) -> None:
        while time.perf_counter() < end:
            requests[number].infer([frame])
            counts[number] += 1

    begun = time.perf_counter()
    threads = [threading.Thread(target=work, args=(n,)) for n in range(len(requests))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.perf_counter() - begun)


class Gain(NamedTuple):
    """Of one slice: frames per second with one and with four on their way, and what
    OpenVINO by itself gains from two inferences at a time.
    """

    one: float
    four: float
    own: float

    @property
    def ours(self) -> float:
        """What four gain."""
        return self.four / self.one


def gains(address: str) -> Generator[Gain]:
    """One stream with one frame on its way, and with four; beside it OpenVINO: no more
    than that has this machine to give. In short slices that take turns, so that what
    else the machine does is done to each of them. Without end.
    """
    frame = np.random.default_rng(1).standard_normal((SIDE, SIDE), np.float32)
    requests = _requests()
    with Client(address) as client, client.stream("pipeline", window=4) as stream:
        _frames_per_second(stream, 4, frame, FRAMES)  # what is slow the first time
        while True:
            one, four = (
                _frames_per_second(stream, window, frame, FRAMES) for window in (1, 4)
            )
            alone, both = (
                _rate(requests[:count], frame, SLICE_SECONDS) for count in (1, 2)
            )
            yield Gain(one, four, both / alone)


def pipelining(address: str, rounds: int) -> list[Row]:
    """The middle of some slices."""
    with closing(gains(address)) as found:
        slices = [*islice(found, SLICES * rounds)]
    return [
        {
            "case": "Python, inference of one thread, Python; two cores",
            "frames per second, 1 in flight": round(
                statistics.median(each.one for each in slices), 1
            ),
            "4 in flight": round(statistics.median(each.four for each in slices), 1),
            "gain": round(statistics.median(each.ours for each in slices), 2),
            "OpenVINO's own, 1 and 2 at a time": round(
                statistics.median(each.own for each in slices), 2
            ),
            "gate": "at least 1.7 where OpenVINO's is 1.7 or more",
        }
    ]


def measure(rounds: int = 3, seconds: float = SECONDS) -> Tables:
    """Everything, by the titles of tables; each row has a `case` and its columns."""
    with (
        tempfile.TemporaryDirectory() as name,
        serving(Path(name)) as (server, address, port),
    ):
        return {
            "Streams: messages": messages(address, seconds),
            "Streams: opened and closed": openings(address, seconds),
            "Streams: one stream, several frames": pipelining(address, rounds),
            "Streams: idle": idle(server, address, port),
        }


if __name__ == "__main__":
    print(json.dumps(measure(), indent=2))
