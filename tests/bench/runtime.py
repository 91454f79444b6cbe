"""What the graph runtime costs by itself, as ratios to calibrations of the same run: the
sketch of a scheduler, the native runtime through its Python API, OpenVINO's own queue.
"""

from __future__ import annotations

import gc
import json
import statistics
import subprocess
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import openvino as ov

from ovms_mp.calculator.services import Models, Services
from ovms_mp.core.errors import ServingError
from ovms_mp.core.packet import Packet
from ovms_mp.core.strand import inline
from ovms_mp.graph import builder, config
from ovms_mp.graph.definition import GraphDefinition
from ovms_mp.graph.registry import Registry
from ovms_mp.graph.run import GraphRun
from ovms_mp.inference.engine import ModelConfig
from ovms_mp.inference.openvino import OpenVINOEngine
from ovms_mp.servable.model import ModelServable
from ovms_mp.servable.model_session import ModelSession
from ovms_mp.telemetry.metrics import Metrics
from tests.bench import sketch

NATIVE: Final = Path(".venv-native/bin/python")
PACKETS: Final = 20_000
SESSIONS: Final = 1_000
JOBS: Final = 4

# Equal for both: four inferences at a time, each on a thread of its own.
PROPERTIES: Final = {"PERFORMANCE_HINT": "THROUGHPUT", "NUM_STREAMS": "2"}


@dataclass(slots=True)
class Ratio:
    """Two measurements of each round; `gate` is what the ratio must not pass."""

    name: str
    measure: Callable[[], tuple[float, float]]
    unit: str
    gate: str
    rounds: list[tuple[float, float]] = field(default_factory=list[tuple[float, float]])

    @property
    def row(self) -> dict[str, Any]:
        """Medians of the rounds."""
        ratio = statistics.median(ours / theirs for ours, theirs in self.rounds)
        ours = statistics.median(ours for ours, _ in self.rounds)
        theirs = statistics.median(theirs for _, theirs in self.rounds)
        return {
            "case": self.name,
            "ours": f"{ours:,.1f} {self.unit}",
            "calibration": f"{theirs:,.1f} {self.unit}",
            "ratio": round(ratio, 2),
            "gate": self.gate,
        }


class _Sink:
    """A listener that does as much as the one of the sketch: it counts."""

    def __init__(self) -> None:
        self.count = 0
        self.has_room = True

    def packet(self, output: int, packet: Packet) -> None:
        self.count += 1

    def settled(self, *, has_room: bool) -> None:
        self.has_room = has_room

    def finished(self, error: ServingError | None) -> None:
        if error is not None:
            raise error


Nodes = list[tuple[list[str], list[str]]]


def chain(length: int) -> tuple[Nodes, str]:
    """Pass-throughs in a row; the name of the last stream."""
    nodes: Nodes = [([f"s{n}"], [f"s{n + 1}"]) for n in range(length)]
    return nodes, f"s{length}"


def lattice(size: int) -> tuple[Nodes, str]:
    """Rows of joins, each of two neighbours in the row before."""
    before, nodes = ["s0"] * size, []
    for row in range(size):
        names = [f"a{row}_{column}" for column in range(size)]
        for column, name in enumerate(names):
            taken = list(dict.fromkeys((before[column], before[(column + 1) % size])))
            made = [name, f"x{row}_{column}"][: len(taken)]
            nodes.append((taken, made))
        before = names
    return nodes, before[0]


def pbtxt(nodes: Nodes, output: str) -> str:
    """The graph as both runtimes read it."""
    lines = [f'input_stream: "s0" output_stream: "{output}"']
    for taken, made in nodes:
        inputs = " ".join(f'input_stream: "{name}"' for name in taken)
        outputs = " ".join(f'output_stream: "{name}"' for name in made)
        lines.append(
            f'node {{ calculator: "PassThroughCalculator" {inputs} {outputs} }}'
        )
    return "\n".join(lines)


def define(text: str) -> GraphDefinition:
    """Load a graph of installed calculators."""
    parsed = config.parse(text.encode(), "graph.pbtxt")
    return builder.load(parsed, Registry.installed(), Path(), Services())


def started(definition: GraphDefinition, sink: _Sink) -> GraphRun:
    """A run in this thread."""
    run = GraphRun(definition, sink, inline)
    run.post(lambda: run.start({}))
    return run


def scheduling(shape: tuple[Nodes, str]) -> Callable[[], tuple[float, float]]:
    """Microseconds of a processor per node and packet, ours and the sketch's."""
    nodes, output = shape
    definition = define(pbtxt(nodes, output))
    count = PACKETS // len(nodes)
    scale = 1e6 / count / len(nodes)

    def ours() -> float:
        sink = _Sink()
        run = started(definition, sink)
        stream = definition.inputs[0][1]
        begun = time.thread_time()
        for number in range(count):
            packet = Packet(number, number)
            run.post(lambda p=packet: run.feed(stream, p))
        taken = time.thread_time() - begun
        assert sink.count == count
        return taken * scale

    def theirs() -> float:
        graph = sketch.Graph([sketch.PassThrough(*node) for node in nodes])
        seen: list[int] = []
        graph.observe(output, lambda at, _: seen.append(at))
        begun = time.thread_time()
        for number in range(count):
            graph.add("s0", number, number)
        taken = time.thread_time() - begun
        assert len(seen) == count
        return taken * scale

    return lambda: (ours(), theirs())


@contextmanager
def native() -> Iterator[Callable[[str, str, int], float]]:
    """Ask the native runtime: (what, pbtxt, count) -> microseconds."""
    with subprocess.Popen(
        [NATIVE, "-m", "tests.bench.native_runtime"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        answers = child.stdout

        def ask(what: str, text: str, count: int) -> float:
            asked = json.dumps({"what": what, "text": text, "count": count})
            print(asked, file=child.stdin, flush=True)
            return json.loads(answers.readline()) * 1e6

        yield ask
        child.stdin.close()


def latency(ask: Callable[[str, str, int], float]) -> tuple[float, float]:
    """Microseconds from a packet to an idle graph of three nodes."""
    text = pbtxt(*chain(3))
    definition = define(text)
    run = started(definition, _Sink())
    stream = definition.inputs[0][1]
    taken: list[float] = []
    for number in range(2000):
        packet = Packet(number, number)
        begun = time.perf_counter()
        run.post(lambda p=packet: run.feed(stream, p))
        taken.append(time.perf_counter() - begun)
    return statistics.median(taken) * 1e6, ask("latency", text, 2000)


def lifetime(ask: Callable[[str, str, int], float]) -> tuple[float, float]:
    """Microseconds to open and close a session of ten nodes."""
    text = pbtxt(*chain(10))
    definition = define(text)
    taken: list[float] = []
    for _ in range(300):
        begun = time.perf_counter()
        run = started(definition, _Sink())
        run.post(run.close_inputs)
        taken.append(time.perf_counter() - begun)
    return statistics.median(taken) * 1e6, ask("lifetime", text, 300)


def memory() -> tuple[float, float]:
    """KiB of an open session of ten nodes, of 60 that it may take."""
    definition = define(pbtxt(*chain(10)))
    started(definition, _Sink())
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    kept = [started(definition, _Sink()) for _ in range(SESSIONS)]
    taken = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    return taken / len(kept) / 1024, 60.0


class _Loaded:
    """Models: one that is compiled already."""

    def __init__(self, model: Any) -> None:
        self._model = model

    def session(self, name: str, version: str) -> Any:
        return self._model


def measure(path: Path, graph: str, array: Any, rounds: int) -> list[dict[str, Any]]:
    """All ratios; `graph` is one inference of the model in `path`, fed with `array`."""
    shapes = {f"chain of {n}": chain(n) for n in (1, 10, 30)}
    shapes["10x10 lattice"] = lattice(10)
    ratios = [
        Ratio(f"scheduling, {name}", scheduling(shape), "us a node", "0.8")
        for name, shape in shapes.items()
    ]
    with native() as ask:
        ratios += [
            Ratio("latency of three nodes", lambda: latency(ask), "us", "0.5"),
            Ratio("life of a session of ten", lambda: lifetime(ask), "us", "1"),
            Ratio("an open session of ten", memory, "KiB", "1"),
            Ratio(
                "inference, four at a time",
                pipelining(path, graph, array),
                "ms",
                "1.11",
            ),
        ]
        for number in range(rounds):
            print(f"runtime, round {number + 1} of {rounds}", flush=True)
            for ratio in ratios:
                ratio.rounds.append(ratio.measure())
    return [ratio.row for ratio in ratios]


def pipelining(path: Path, graph: str, array: Any) -> Callable[[], tuple[float, float]]:
    """Milliseconds per inference with four jobs: OpenVINO's AsyncInferQueue, and a graph
    of one inference node in one stream.
    """
    made = ModelConfig(plugin_config=PROPERTIES, nireq=JOBS)
    compiled = OpenVINOEngine().load(path, made)
    servable = ModelServable("model", 1, compiled, Metrics.off())
    parsed = config.parse(graph.encode(), "graph.pbtxt")
    services = Services({Models: _Loaded(ModelSession(servable))})
    definition = builder.load(parsed, Registry.installed(), Path(), services)
    core = ov.Core()
    reference = core.compile_model(core.read_model(path), "CPU", PROPERTIES)
    count = 60

    def ours() -> float:
        sink = _Sink()
        with ThreadPoolExecutor(2) as pool:
            run = GraphRun(definition, sink, pool.submit)
            over = threading.Event()
            sink.finished = lambda error: over.set()  # pyright: ignore[reportAttributeAccessIssue]
            run.post(lambda: run.start({}))
            stream = definition.inputs[0][1]
            begun = time.perf_counter()
            for number in range(count):
                packet = Packet(number, array)
                run.post(lambda p=packet: run.feed(stream, p))
            run.post(run.close_inputs)
            over.wait()
            taken = time.perf_counter() - begun
        assert sink.count == count
        return taken / count * 1e3

    def theirs() -> float:
        queue = ov.AsyncInferQueue(reference, JOBS)
        seen: list[Any] = []
        queue.set_callback(
            lambda request, _: seen.append(request.get_output_tensor(0).data.copy())
        )
        begun = time.perf_counter()
        for _ in range(count):
            queue.start_async(array)
        queue.wait_all()
        taken = time.perf_counter() - begun
        assert len(seen) == count
        return taken / count * 1e3

    return lambda: (ours(), theirs())
