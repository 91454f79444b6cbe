"""A graph of `graphs/` without what only its picture needs, for a client who wants the
numbers: what mp.solutions gives.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from google.protobuf import text_format
from ovms_mp_protos import graph as protos

from graphs import repository

_GRAPHS: Final = Path(repository.__file__).parent
_PICTURE: Final = "IMAGE"


def name_of(graph: str) -> str:
    """What it is served as, beside `graph`."""
    return f"{graph}_undrawn"


def outputs_of(graph: str) -> frozenset[str]:
    """The streams that leave it."""
    return frozenset(_names(without_picture(graph).output_stream))


def add(config: Path, graph: str) -> None:
    """Serve it from the directory of `config`, which serves `graph`, with its models."""
    kept = without_picture(graph)
    text = text_format.MessageToString(kept, descriptor_pool=_pool(kept))
    folder = config.parent / name_of(graph)
    folder.mkdir()
    (folder / "graph.pbtxt").write_text(text)
    served = json.loads(config.read_text())
    served["mediapipe_config_list"].append({"name": name_of(graph)})
    config.write_text(json.dumps(served))


def whole(graph: str) -> Any:
    """The graph as it is."""
    config: Any = protos.CalculatorGraphConfig()
    text = (_GRAPHS / graph / "graph.pbtxt").read_text()
    text_format.Parse(text, config, descriptor_pool=_pool(config))
    return config


def without_picture(graph: str) -> Any:
    """The outputs that are no picture, and the nodes that they come from."""
    config = whole(graph)
    outputs = [each for each in config.output_stream if not each.startswith(_PICTURE)]
    needed = _names(outputs)
    nodes: list[Any] = []
    left = list(config.node)
    while found := [each for each in left if needed & _names(_made(each))]:
        nodes += found
        left = [each for each in left if each not in found]
        needed |= {name for each in found for name in _names(_taken(each))}
    in_order = [each for each in config.node if each in nodes]
    del config.output_stream[:], config.node[:]
    config.output_stream.extend(outputs)
    config.node.extend(in_order)
    return config


def _pool(message: Any) -> Any:
    """Where the options of calculators are known."""
    return message.DESCRIPTOR.file.pool


def _made(node: Any) -> list[str]:
    return [*node.output_stream, *node.output_side_packet]


def _taken(node: Any) -> list[str]:
    return [*node.input_stream, *node.input_side_packet]


def _names(streams: Iterable[str]) -> set[str]:
    return {each.rpartition(":")[2] for each in streams}
