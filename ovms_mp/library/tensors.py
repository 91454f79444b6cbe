"""Which tensors the streams of a graph carry, as far as models and calculators know:
from where one is known it is traced, with the flow and against it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ovms_mp.calculator.services import InferenceSession

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ovms_mp.core.messages import TensorInfo
    from ovms_mp.graph.definition import GraphDefinition, NodeDefinition


def sessions_of(definition: GraphDefinition) -> Mapping[str, InferenceSession]:
    """The models that nodes give to runs, by the names of their side packets: those
    that are loaded.
    """
    found: dict[str, InferenceSession] = {}
    for node in definition.nodes:
        # A node that gives a session to each run has it from its load.
        shared: object = node.attributes["shared"]
        if node.side_outputs and isinstance(shared, InferenceSession):
            found.update((name, shared) for name in node.side_outputs)
    return found


def known_tensors(definition: GraphDefinition) -> Mapping[str, TensorInfo]:
    """By the names of streams. What several nodes know differently is what the first
    says, in the order in which nodes are opened.
    """
    sessions = sessions_of(definition)
    known: dict[str, TensorInfo] = {}
    # Each round tells at least one stream more, or is the last.
    while True:
        count = len(known)
        for node in definition.nodes:
            for stream, info in _told(node, sessions, known).items():
                known.setdefault(stream, info)
        if len(known) == count:
            return known


def _told(
    node: NodeDefinition,
    sessions: Mapping[str, InferenceSession],
    known: Mapping[str, TensorInfo],
) -> Mapping[str, TensorInfo]:
    own = {
        port.name: known[port.name]
        for port in (*node.info.inputs, *node.info.outputs)
        if port.name in known
    }
    return node.calculator.known_tensors(node.info, sessions, own)
