"""What a request to a tiny model costs beside its inference, and what a graph around the
model adds.

    python -m tests.bench.hot_path
"""

from __future__ import annotations

import json
import queue
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import grpc
import numpy as np
from ovms_mp_protos import kserve

from ovms_mp.frontend.grpc.inference import InferenceService
from ovms_mp.frontend.grpc.wire import varint
from ovms_mp.servable.catalog import Catalog
from ovms_mp.servable.model import ModelServable
from tests.bench.models import graph_around
from tests.bench.runtime import Ratio
from tests.fakes.call import FakeCall
from tests.unit.inference import tiny
from tests.wire.calls import ask, connect
from tests.wire.servers import HOST, Server, serving

REQUESTS: Final = 2_000
X: Final = {"x": np.zeros((1, 10), np.float32)}
MESSAGE: Final = ask("tiny", X).SerializeToString()


def rows(rounds: int = 5) -> list[dict[str, Any]]:
    """Microseconds of CPU of a request without its transport, and of its latency."""
    with _server() as server, connect(f"{HOST}:{server.app.port}") as channel:
        ratios = [
            Ratio(
                "a request, all features on", _features(server.app.catalog), "us", ""
            ),
            Ratio("a graph's stream at 1 in flight", _graph(channel), "us", "1.25"),
        ]
        for _ in range(rounds):
            for ratio in ratios:
                ratio.rounds.append(ratio.measure())
    return [ratio.row for ratio in ratios]


def _features(catalog: Catalog) -> Callable[[], tuple[float, float]]:
    """The whole path of the handler, with metrics, limits and validation; and a loop
    that is made for this model and this request and checks nothing.
    """
    handler = InferenceService(catalog, "0").handlers()[kserve.MODEL_INFER]
    call = FakeCall()
    servable = catalog.model("tiny", "")
    infer = servable.compiled.infer
    head = _head(servable)

    def bare() -> bytes:
        parsed = kserve.ModelInferRequest.FromString(MESSAGE)
        (y,) = infer([parsed.raw_input_contents[0]]).result().outputs
        data = y.tobytes()
        return b"".join((head, b"\x32", varint(len(data)), data))

    def whole() -> None:
        answer = handler(MESSAGE, call)
        if not isinstance(answer, bytes):
            answer.result()

    return lambda: (_cpu(whole), _cpu(bare))


def _head(servable: ModelServable) -> bytes:
    message = kserve.ModelInferResponse(model_name="tiny", model_version="1")
    message.outputs.add(name="y", datatype="FP32", shape=[1, 10])
    assert servable.metadata().outputs[0].name == "y"
    return message.SerializeToString()


def _cpu(work: Callable[[], object]) -> float:
    begun = time.process_time()
    for _ in range(REQUESTS):
        work()
    return (time.process_time() - begun) / REQUESTS * 1e6


def _graph(channel: grpc.Channel) -> Callable[[], tuple[float, float]]:
    """Median latencies of a stream on a graph of one inference, and of plain requests."""
    unary = channel.unary_unary(kserve.MODEL_INFER)
    message = ask("graph", {"in": X["x"]}).SerializeToString()

    def streamed() -> float:
        sent: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        answers = channel.stream_stream(kserve.MODEL_STREAM_INFER)(iter(sent.get, None))

        def turn() -> None:
            sent.put(message)
            next(answers)

        taken = _latency(turn)
        sent.put(None)
        assert list(answers) == []
        return taken

    return lambda: (streamed(), _latency(lambda: unary(MESSAGE)))


def _latency(turn: Callable[[], object]) -> float:
    taken: list[float] = []
    for _ in range(REQUESTS // 10):
        begun = time.perf_counter()
        turn()
        taken.append(time.perf_counter() - begun)
    return statistics.median(taken) * 1e6


@contextmanager
def _server() -> Iterator[Server]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "tiny" / "1").mkdir(parents=True)
        tiny.save(folder / "tiny" / "1", tiny.add_one())
        (folder / "graph").mkdir()
        (folder / "graph" / "graph.pbtxt").write_text(graph_around("tiny", "x", "y"))
        config = {
            "model_config_list": [{"config": {"name": "tiny", "base_path": "tiny"}}],
            "mediapipe_config_list": [{"name": "graph"}],
        }
        (folder / "config.json").write_text(json.dumps(config))
        with serving(folder / "config.json") as server:
            yield server


if __name__ == "__main__":
    for row in rows():
        print(row)
