"""A repository of small models and graphs, each for one property."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov

from tests.unit.inference import tiny

# Answers are compared: no bfloat16, whatever this machine's CPU prefers.
EXACT = {"INFERENCE_PRECISION_HINT": "f32"}

HANDLER = '''
"""Does what it is told by the word that comes in."""

import sys
import time
from pathlib import Path

import numpy as np
from pyovms import Tensor


class Wicked(Exception):
    def __str__(self):
        raise RuntimeError("no text for you")


def wait_for(path):
    end = time.monotonic() + 20
    while not path.exists():
        assert time.monotonic() < end, "nobody lets go"
        time.sleep(0.005)


class OvmsPythonModel:
    def initialize(self, kwargs):
        (self.output,) = kwargs["output_names"]

    def execute(self, inputs):
        (given,) = inputs
        word = bytes(given).decode()
        if word == "raise":
            raise ValueError("this word is not nice")
        if word == "shout":
            raise ValueError("zwei\\nZeilen für dich\\0" + "!" * 100_000)
        if word == "wicked":
            raise Wicked
        if word == "exit":
            sys.exit("enough")
        if word == "interrupt":
            raise KeyboardInterrupt
        if word == "none":
            return None
        if word == "text":
            return "word"
        if word == "numbers":
            return [1, 2]
        if word == "stranger":
            return [Tensor("stranger", b"x")]
        if word == "twice":
            return [Tensor(self.output, b"x"), Tensor(self.output, b"y")]
        if word == "yield":
            return (each for each in [Tensor(self.output, b"x")])
        if word == "nothing":
            return []
        if word == "odd":
            return [Tensor(self.output, b"x", datatype="\\ud800")]
        if word == "huge":
            return [Tensor(self.output, b"x", shape=[2**70])]
        if word.startswith("sleep"):
            time.sleep(float(word.removeprefix("sleep ")))
        if word.startswith("until"):
            wait_for(Path(word.removeprefix("until ")))
        return [Tensor(self.output, np.frombuffer(word.upper().encode(), np.uint8))]
'''


def node(calculator: str, *lines: str, options: str = "", name: str = "") -> str:
    """A node of a pbtxt. Lines are as `input_stream: "IN:in"`."""
    named = f'  name: "{name}"\n' if name else ""
    body = "".join(f"  {line}\n" for line in lines)
    message, _, fields = options.partition(" ")
    about = f"  node_options {{ [type.googleapis.com/{message}] {{ {fields} }} }}\n"
    return (
        f'node {{\n  calculator: "{calculator}"\n{named}{body}'
        f"{about if options else ''}}}\n"
    )


def graph(inputs: Sequence[str], outputs: Sequence[str], *nodes: str) -> str:
    """A pbtxt."""
    return "".join(
        (
            *(f'input_stream: "{each}"\n' for each in inputs),
            *(f'output_stream: "{each}"\n' for each in outputs),
            *nodes,
        )
    )


def passing(*streams: str) -> str:
    """A PassThroughCalculator node for pairs of streams, each as `in out`."""
    lines: list[str] = []
    for each in streams:
        source, target = each.split()
        lines += [f'input_stream: "{source}"', f'output_stream: "{target}"']
    return node("PassThroughCalculator", *lines)


def session(model: str) -> str:
    """A node that gives the side packet `session`."""
    return node(
        "OpenVINOModelServerSessionCalculator",
        'output_side_packet: "SESSION:session"',
        options="mediapipe.OpenVINOModelServerSessionCalculatorOptions "
        f'servable_name: "{model}"',
    )


def inferring(inputs: dict[str, str], outputs: dict[str, str]) -> str:
    """A node that infers with `session`: streams by the names of the model's ports."""
    lines = ['input_side_packet: "SESSION:session"']
    options = "mediapipe.OpenVINOInferenceCalculatorOptions"
    for side, streams in (("input", inputs), ("output", outputs)):
        for number, (port, stream) in enumerate(streams.items()):
            tag = f"OVTENSOR{number}"
            lines.append(f'{side}_stream: "{tag}:{stream}"')
            options += f' tag_to_{side}_tensor_names {{ key: "{tag}" value: "{port}" }}'
    return node("OpenVINOInferenceCalculator", *lines, options=options)


def python(handler: str, source: str, target: str, name: str = "speaker") -> str:
    """A Python node."""
    return node(
        "PythonExecutorCalculator",
        'input_side_packet: "PYTHON_NODE_RESOURCES:py"',
        f'input_stream: "IN:{source}"',
        f'output_stream: "OUT:{target}"',
        options=f'mediapipe.PythonExecutorCalculatorOptions handler_path: "{handler}"',
        name=name,
    )


def words(handler: str = "speaker.py") -> str:
    """A graph of one Python node."""
    return graph(
        ["OVMS_PY_TENSOR:word"],
        ["OVMS_PY_TENSOR:said"],
        python(handler, "word", "said"),
    )


ECHO = graph(["in"], ["out"], passing("in out"))

GRAPHS = {
    "echo": ECHO,
    "image": graph(["IMAGE:in"], ["IMAGE:out"], passing("in out")),
    "mediapipe": graph(["TENSOR:in"], ["TENSOR:out"], passing("in out")),
    "tensorflow": graph(["TFTENSOR:in"], ["TFTENSOR:out"], passing("in out")),
    "py": graph(["OVMS_PY_TENSOR:in"], ["OVMS_PY_TENSOR:out"], passing("in out")),
    "whole": graph(
        ["REQUEST:in"],
        ["RESPONSE:out"],
        node(
            "RespondCalculator",
            'input_stream: "REQUEST:in"',
            'output_stream: "RESPONSE:out"',
        ),
    ),
    "add": graph(
        ["OVTENSOR:in"],
        ["OVTENSOR:out"],
        session("add_one"),
        inferring({"x": "in"}, {"y": "out"}),
    ),
    # The same input twice: as it came, and through a model.
    "fan": graph(
        ["OVTENSOR:in"],
        ["OVTENSOR_SAME:same", "OVTENSOR_MORE:more"],
        passing("in same"),
        session("add_one"),
        inferring({"x": "in"}, {"y": "more"}),
    ),
    # Two inputs that meet in a model of two outputs.
    "join": graph(
        ["OVTENSOR_A:a", "OVTENSOR_B:b"],
        ["OVTENSOR_SUM:sum", "OVTENSOR_DOUBLE:double"],
        session("pair"),
        inferring({"a": "a", "b": "b"}, {"sum": "sum", "double": "double"}),
    ),
    # A model that remembers.
    "totals": graph(
        ["OVTENSOR:in"],
        ["OVTENSOR:out"],
        session("total"),
        inferring({"x": "in"}, {"y": "out"}),
    ),
    "slow": graph(
        ["OVTENSOR:in"],
        ["OVTENSOR:out"],
        session("sluggish"),
        inferring({"x": "in"}, {"y": "out"}),
    ),
    "words": words(),
    "limited": ECHO
    + """input_side_packet: "limit"
node {
  calculator: "SidePacketToStreamCalculator"
  input_side_packet: "limit"
  output_stream: "AT_PRESTREAM:seen"
}""",
    "sum": graph(
        ["in"],
        ["out"],
        node("SumAtEndCalculator", 'input_stream: "in"', 'output_stream: "out"'),
    ),
    "burst": graph(
        ["in"],
        ["out"],
        node("BurstCalculator", 'input_stream: "in"', 'output_stream: "out"'),
    ),
}


def models() -> dict[str, ov.Model]:
    """By name; inputs are `x` unless they say otherwise, outputs `y`."""
    return {
        "add_one": tiny.add_one((1, 10)),
        "pair": tiny.two_inputs(),
        "ranged": tiny.add_one((-1, (2, 4))),
        "halves": tiny.twice((1, 2), np.float16),
        "picky": tiny.into_two_by_three(),
        "sluggish": tiny.slow(steps=150),
        "total": tiny.running_total(),
    }


def add_model(folder: Path, name: str, made: ov.Model, version: int = 1) -> Path:
    """A model directory, as `<folder>/<name>/<version>/model.xml`; returns the first."""
    home = folder / name
    (home / str(version)).mkdir(parents=True)
    tiny.save(home / str(version), made)
    return home


def add_graph(folder: Path, name: str, pbtxt: str, **handlers: str) -> Path:
    """A graph directory, as `<folder>/<name>/graph.pbtxt`, with Python files beside it."""
    home = folder / name
    home.mkdir(parents=True)
    (home / "graph.pbtxt").write_text(pbtxt)
    for file, source in handlers.items():
        (home / f"{file}.py").write_text(source)
    return home


def entry(name: str, **keys: Any) -> dict[str, Any]:
    """An entry of model_config_list."""
    config = {"name": name, "plugin_config": EXACT, **keys}
    return {"config": {"base_path": name, **config}}


def write_config(
    folder: Path, models: Sequence[Any] = (), graphs: Sequence[Any] = (), **more: Any
) -> Path:
    """A config.json of entries; returns its path."""
    config = {"model_config_list": models, "mediapipe_config_list": graphs, **more}
    path = folder / "config.json"
    path.write_text(json.dumps(config))
    return path


def build(folder: Path) -> Path:
    """All of it; returns the config."""
    made = models()
    for name, model in made.items():
        add_model(folder, name, model)
    for name, pbtxt in GRAPHS.items():
        add_graph(
            folder, name, pbtxt, **({"speaker": HANDLER} if name == "words" else {})
        )
    return write_config(
        folder, [entry(name) for name in made], [{"name": name} for name in GRAPHS]
    )
