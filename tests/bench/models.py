"""What is served and measured: real models and small ones, put together out of public
packages once and kept beside the other assets.

Everybody who is compared gets the same files and the same settings.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import openvino as ov
from numpy.typing import NDArray
from openvino import opset13 as op
from ovms_mp_clients.tensors import encode

from graphs import assets, repository
from tests.bench import efficientnet
from tests.unit.inference import tiny
from tests.wire import zoo

DEMO: Final = "people_tracking"
FRAME_SHAPE: Final = (1, 1080, 1920, 3)
GRAPH_INPUT: Final = "in"


@dataclass(frozen=True, slots=True)
class Model:
    """A model with one input and one output, and how OpenVINO is to run it: so many
    streams, of one thread each.
    """

    name: str
    input: str
    output: str
    shape: tuple[int, ...]
    dtype: Any
    streams: int

    @property
    def properties(self) -> Mapping[str, str]:
        """The same for our server, for its peers and for benchmark_app."""
        return {
            "INFERENCE_PRECISION_HINT": "f32",
            "NUM_STREAMS": str(self.streams),
            "INFERENCE_NUM_THREADS": str(self.streams),
        }

    @property
    def graph(self) -> str:
        """The graph of one inference around it."""
        return f"{self.name}_graph"

    def feed(self) -> NDArray[Any]:
        """Something to infer; the same each time."""
        values = np.random.default_rng(7).integers(0, 255, self.shape)
        return values.astype(self.dtype)

    def message(self, *, to_graph: bool) -> bytes:
        """A ModelInferRequest, its tensor in raw_input_contents."""
        name, port = (self.graph, GRAPH_INPUT) if to_graph else (self.name, self.input)
        return encode(name, {port: self.feed()}).SerializeToString()


TINY: Final = Model("tiny", "x", "y", (1, 10), np.float32, 1)
EFFICIENTNET: Final = Model(
    "efficientnet_lite0", "input", "probabilities", (1, 3, 224, 224), np.float32, 2
)
# The same for any number of images.
IMAGES: Final = replace(EFFICIENTNET, name="efficientnet_lite0_batches")
NSFW: Final = Model("open_nsfw", "pixels", "scores", (1, 224, 224, 3), np.float32, 2)
# Its weights are read from memory for each inference, however many rows that has.
PERCEPTRON: Final = Model("perceptron", "x", "y", (1, 1024), np.float32, 1)
FRAME: Final = Model("frame", "x", "y", FRAME_SHAPE, np.uint8, 1)


def path_of(model: Model) -> Path:
    """The IR in the cache; made when it is asked for first."""
    path = assets.cache_folder() / "bench" / f"{model.name}.xml"
    if not path.exists():
        made = _MAKERS[model.name]()
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f"unfinished_{path.name}")
        ov.save_model(made, unfinished, compress_to_fp16=False)
        unfinished.with_suffix(".bin").replace(path.with_suffix(".bin"))
        unfinished.replace(path)
    return path


def _efficientnet() -> ov.Model:
    checkpoint = assets.fetch("efficientnet_lite0.pth")
    return efficientnet.build(efficientnet.read_checkpoint(checkpoint))


def _images() -> ov.Model:
    model: Any = _efficientnet()
    model.reshape([-1, *IMAGES.shape[1:]])
    return model


def _nsfw() -> ov.Model:
    model: Any = ov.Core().read_model(assets.fetch("open_nsfw.onnx"))
    model.reshape(list(NSFW.shape))
    model.inputs[0].set_names({NSFW.input})
    model.outputs[0].set_names({NSFW.output})
    return model


def _frame() -> ov.Model:
    """A frame goes in and comes out, its rows in one dimension: nothing but bytes."""
    x = tiny.parameter(FRAME.input, FRAME.shape, FRAME.dtype)
    rows = op.constant(np.array([1, FRAME_SHAPE[1], -1], np.int64))
    return tiny.model([tiny.named(op.reshape(x, rows, False), FRAME.output)], [x])


def _perceptron() -> ov.Model:
    """Six layers of 1024, for any number of rows."""
    x = y = tiny.parameter(PERCEPTRON.input, (-1, 1024))
    random = np.random.default_rng(5)
    for _ in range(6):
        weights = random.standard_normal((1024, 1024)).astype(np.float32) / 32
        y = op.relu(op.matmul(y, op.constant(weights), False, False))
    return tiny.model([tiny.named(y, PERCEPTRON.output)], [x])


_MAKERS: Final = {
    TINY.name: lambda: tiny.add_one(TINY.shape),
    EFFICIENTNET.name: _efficientnet,
    IMAGES.name: _images,
    NSFW.name: _nsfw,
    FRAME.name: _frame,
    PERCEPTRON.name: _perceptron,
}


def graph_around(model: str, source: str, target: str) -> str:
    """A graph of one inference, as OVMS's users write it: its streams are `in` and
    `out`, its model's ports `source` and `target`.
    """
    return zoo.graph(
        [f"OVTENSOR:{GRAPH_INPUT}"],
        ["OVTENSOR:out"],
        zoo.session(model),
        zoo.inferring({source: GRAPH_INPUT}, {target: "out"}),
    )


def lay_out(
    folder: Path, models: Iterable[Model], graphs: Iterable[str] = (), **keys: Any
) -> Path:
    """A directory to mount, in OVMS's layout: models, whose configs have these `keys`, a
    graph of one inference around each, and some of `graphs/`. Returns the config.
    """
    folder.mkdir(exist_ok=True)
    models, names = tuple(models), tuple(graphs)
    entries: list[Any] = []
    for model in models:
        version = folder / model.name / "1"
        version.mkdir(parents=True)
        for file in (path_of(model), path_of(model).with_suffix(".bin")):
            shutil.copy(file, version / f"model{file.suffix}")
        config = {"name": model.name, "base_path": model.name, **keys}
        entries.append({"config": {**config, "plugin_config": dict(model.properties)}})
        graph = graph_around(model.name, model.input, model.output)
        (folder / model.graph).mkdir()
        (folder / model.graph / "graph.pbtxt").write_text(graph)
    for name in names:
        repository.add_graph(folder, name)
    every = [*(model.graph for model in models), *names]
    path = folder / "config.json"
    path.write_text(
        json.dumps(
            {
                "model_config_list": entries,
                "mediapipe_config_list": [{"name": name} for name in every],
            }
        )
    )
    return path


def expected(model: Model) -> NDArray[Any]:
    """What OpenVINO itself makes of the feed."""
    compiled = ov.Core().compile_model(path_of(model), "CPU", dict(model.properties))
    return compiled([model.feed()])[0].copy()
