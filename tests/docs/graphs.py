"""A pbtxt on a page is a graph, or nodes of one, and calculators that are installed, or
on the page, take it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ovms_mp.calculator import Models, Services
from ovms_mp.core.messages import TensorInfo
from ovms_mp.core.pending import Pending
from ovms_mp.core.tensor import Array
from ovms_mp.graph import builder, config
from ovms_mp.graph.config import NodeConfig, StreamName
from ovms_mp.graph.registry import Registry
from ovms_mp.servable.interface import check_boundary

# Of a page that writes calculators.
CALCULATORS_PATH = Path("calculators")


class _AnyModel:
    """An InferenceSession that nobody asks anything."""

    slots = 1
    inputs: tuple[TensorInfo, ...] = ()
    outputs: tuple[TensorInfo, ...] = ()

    def __init__(self, name: str) -> None:
        self.name = name

    def infer(self, tensors: Mapping[str, Array]) -> Pending[Mapping[str, Array]]:
        raise NotImplementedError


class _AnyModels:
    """Models of every name."""

    def session(self, name: str, version: str) -> _AnyModel:
        return _AnyModel(name)


def check(text: str, file: str, base_path: Path) -> None:
    """Judge a graph as the server does when it loads it. Raises ServingError.

    Where only nodes are shown, the graph's streams are what they need and give.
    """
    registry = Registry.installed()
    if CALCULATORS_PATH.is_dir():
        registry.add_folder(CALCULATORS_PATH)
    parsed = config.parse(text.encode(), file, options=registry.options)
    if not parsed.inputs and not parsed.outputs:
        parsed = _completed(parsed)
    check_boundary(parsed)
    services = Services({Models: _AnyModels()})
    builder.load(parsed, registry, base_path, services).unload()


def _completed(part: config.GraphConfig) -> config.GraphConfig:
    def missing(of: Sequence[StreamName], given: Sequence[StreamName]) -> list[str]:
        known = {each.name for each in given}
        return list(dict.fromkeys(each.name for each in of if each.name not in known))

    def every(side: str, nodes: Sequence[NodeConfig]) -> list[StreamName]:
        return [each for node in nodes for each in getattr(node, side)]

    def named(names: Sequence[str]) -> tuple[StreamName, ...]:
        return tuple(StreamName("", n, name, 1) for n, name in enumerate(names))

    inputs, outputs = every("inputs", part.nodes), every("outputs", part.nodes)
    needed = every("side_inputs", part.nodes)
    made = every("side_outputs", part.nodes)
    entries = named(missing(inputs, outputs)) or named(["unused_input"])
    exits = named(missing(outputs, inputs))
    return replace(
        part,
        inputs=entries,
        outputs=exits or entries,
        side_inputs=named([name for name in missing(needed, made) if name != "py"]),
    )
