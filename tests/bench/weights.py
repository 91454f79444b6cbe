"""What the weights of a model take of memory, in all processes of a server with two
workers: read by each, and lent by the supervisor.

    python -m tests.bench.weights
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import numpy as np
import openvino as ov
from openvino import opset13 as op

from tests.unit.inference import tiny
from tests.wire import zoo
from tests.wire.calls import ask, infer
from tests.workers.servers import WHO, Workers

WIDTH: Final = 2048
ROWS: Final = 16384
CHANNELS: Final = 512
_CHANCE: Final = np.random.default_rng(5)


def _weights(*shape: int) -> ov.Node:
    values = _CHANCE.standard_normal(shape, np.float32) / np.sqrt(np.prod(shape[1:]))
    return op.constant(values.astype(np.float32))


def table() -> ov.Model:
    """A table that is looked up, 128 MiB."""
    x = tiny.parameter("x", (1, 8), np.int32)
    rows = op.gather(_weights(ROWS, WIDTH), x, op.constant(np.int64(0)))
    return tiny.model([tiny.named(rows, "y")], [x])


def dense() -> ov.Model:
    """Eight dense layers, 128 MiB."""
    x = node = tiny.parameter("x", (1, WIDTH))
    for _ in range(8):
        node = op.relu(op.matmul(node, _weights(WIDTH, WIDTH), False, True))
    return tiny.model([tiny.named(node, "y")], [x])


def convolutions() -> ov.Model:
    """Twelve convolutions, 108 MiB."""
    x = node = tiny.parameter("x", (1, CHANNELS, 14, 14))
    for _ in range(12):
        kernel = _weights(CHANNELS, CHANNELS, 3, 3)
        node = op.relu(op.convolution(node, kernel, [1, 1], [1, 1], [1, 1], [1, 1]))
    return tiny.model([tiny.named(node, "y")], [x])


MODELS: Final[Mapping[str, tuple[Callable[[], ov.Model], Any]]] = {
    "a table that is looked up": (table, np.zeros((1, 8), np.int32)),
    "eight dense layers": (dense, np.ones((1, WIDTH), np.float32)),
    "twelve convolutions": (
        convolutions,
        np.ones((1, CHANNELS, 14, 14), np.float32),
    ),
}


def rows() -> Iterator[dict[str, Any]]:
    """MiB of all processes above those of a server without the model, as it comes."""
    nothing = _pss(None, None, {})
    for name, (make, tensor) in MODELS.items():
        for kept, used in (("f32", "f32"), ("f32", "bf16"), ("f16", "f32")):
            row = {"case": f"{name}, {kept} in the file, {used} when it infers"}
            for how, more in (("read", {"ENABLE_MMAP": False}), ("lent", {})):
                config = {"INFERENCE_PRECISION_HINT": used, **more}
                above = _pss(make(), tensor, config, kept) - nothing
                row[how] = f"{above:,.0f}"
            yield row


def _pss(
    made: ov.Model | None, tensor: Any, plugin_config: Mapping[str, Any], kept: str = ""
) -> float:
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        zoo.add_graph(folder, "who", zoo.words(), speaker=WHO)
        entries: list[Any] = []
        if made is not None:
            (folder / "model/1").mkdir(parents=True)
            path = folder / "model/1/model.xml"
            ov.save_model(made, path, compress_to_fp16=kept == "f16")
            entries = [zoo.entry("model", plugin_config=dict(plugin_config))]
        config = zoo.write_config(folder, entries, [{"name": "who"}])
        server = stack.enter_context(Workers(folder, "--config_path", str(config)))
        server.ready()
        channels = server.channels(stack, per_worker=1)
        for channel, *_ in channels.values():
            for _ in range(3 if entries else 0):
                infer(channel, ask("model", {"x": tensor}))
        return sum(map(_mib, (server.process.pid, *channels)))


def _mib(pid: int) -> float:
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    (kib,) = re.findall(r"^Pss: +(\d+) kB", text, re.MULTILINE)
    return int(kib) / 1024


if __name__ == "__main__":
    for row in rows():
        print(row, flush=True)
