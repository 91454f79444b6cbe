"""A client of a healthy graph, in a process of its own, one image after the other.

    python -m tests.python_nodes.neighbour ADDRESS

For each number that it reads on standard input it makes so many round trips, and prints
how long they took: a JSON list of seconds. Its stream stays open in between.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.bench import models
from tests.wire import zoo
from tests.wire.calls import Stream, arrays, ask, connect

MODEL = replace(models.EFFICIENTNET, streams=1, shape=(1, 3, 160, 160))
"""EfficientNet-Lite0 on one thread, for pictures of half the size: 2 ms."""
GRAPH = MODEL.graph
HANDLER = """
import numpy as np
from pyovms import Tensor

class OvmsPythonModel:
    def execute(self, inputs):
        best = np.argsort(np.asarray(inputs[0]).ravel())[-5:]
        return [Tensor("best", best.astype(np.int64))]
"""


def lay_out(folder: Path) -> Path:
    """A directory to mount: a classifier, and a graph with a Python node that names its
    five best guesses. Returns the config.
    """
    config = models.lay_out(folder, [MODEL], shape=str(MODEL.shape))
    converter = zoo.node(
        "PyTensorOvTensorConverterCalculator",
        'input_stream: "OVTENSOR:scores"',
        'output_stream: "OVMS_PY_TENSOR:tensor"',
        options="mediapipe.PyTensorOvTensorConverterCalculatorOptions "
        'tag_to_output_tensor_names { key: "OVMS_PY_TENSOR" value: "tensor" }',
    )
    pbtxt = zoo.graph(
        ["OVTENSOR:image"],
        ["OVMS_PY_TENSOR:best"],
        zoo.session(MODEL.name),
        zoo.inferring({MODEL.input: "image"}, {MODEL.output: "scores"}),
        converter,
        zoo.python("handler.py", "tensor", "best", "guesses"),
    )
    (folder / GRAPH / "graph.pbtxt").write_text(pbtxt)
    (folder / GRAPH / "handler.py").write_text(HANDLER)
    return config


class Neighbour:
    """The process, as a test sees it. Leaving the `with` block ends it."""

    def __init__(self, address: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__, address],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def round_trips(self, count: int) -> list[float]:
        """Seconds of the next ones."""
        ask_, told = self._process.stdin, self._process.stdout
        assert ask_ is not None
        assert told is not None
        ask_.write(f"{count}\n")
        ask_.flush()
        return json.loads(told.readline())


def main(address: str) -> None:
    request = ask(GRAPH, {"image": MODEL.feed()}).SerializeToString()
    with connect(address) as channel, Stream(channel, seconds=None) as stream:
        for line in sys.stdin:
            seconds: list[float] = []
            for _ in range(int(line)):
                started = time.perf_counter()
                stream.send(request)
                answer = stream.answer()
                seconds.append(time.perf_counter() - started)
                assert len(arrays(answer)["best"]) == 5
            sys.stdout.write(f"{json.dumps(seconds)}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1])
