"""Whether the tensors that will come fit the nodes that take them, as far as models and
options tell: each node is asked once, after those that lead to it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np

from ovms_mp.calculator.base import ContractError
from ovms_mp.calculator.services import InferenceSession
from ovms_mp.core.errors import Status

if TYPE_CHECKING:
    from collections.abc import Container, Mapping, Sequence

    from ovms_mp.calculator.foreseen import Foreseen
    from ovms_mp.core.errors import ServingError
    from ovms_mp.graph.definition import GraphDefinition, NodeDefinition


def check(definition: GraphDefinition) -> None:
    """Raises GraphConfigError, with file and line, for the first node that can never take
    what comes. The nodes are loaded.
    """
    for error in misfits(definition).values():
        raise error


def misfits(
    definition: GraphDefinition, not_loaded: Container[int] = ()
) -> Mapping[int, ServingError]:
    """By their numbers, what is wrong at nodes that can never take what comes. Of those
    that are `not_loaded` nothing is known.
    """
    found: dict[int, ServingError] = {}
    side_packets: dict[str, object] = {}
    known: dict[str, Sequence[Foreseen]] = {}
    for node in definition.nodes:
        if node.index in not_loaded:
            continue
        # As for each run: see sessions_of.
        shared: object = node.attributes["shared"]
        if isinstance(shared, InferenceSession | np.ndarray):
            side_packets |= dict.fromkeys(node.side_outputs, cast("object", shared))
        try:
            known.update(
                node.calculator.foresee(node.info, shared, side_packets, known)
            )
        except (ContractError, ValueError) as error:
            found[node.index] = _refusal(node, error)
        else:
            known.update(_passed(node, known))
    return found


def _passed(
    node: NodeDefinition, known: Mapping[str, Sequence[Foreseen]]
) -> Mapping[str, Sequence[Foreseen]]:
    """What nodes pass on: where several streams may leave by one, if they carry the same."""
    into: dict[str, list[str]] = {}
    for source, target in node.calculator.passed_on(node.info):
        into.setdefault(target.name, []).append(source.name)
    passed: dict[str, Sequence[Foreseen]] = {}
    for target, sources in into.items():
        first = known.get(sources[0])
        if first is not None and all(known.get(each) == first for each in sources):
            passed[target] = first
    return passed


def _refusal(node: NodeDefinition, error: Exception) -> ServingError:
    status = Status.MEDIAPIPE_GRAPH_INITIALIZATION_ERROR
    message = f'node "{node.info.name}": {error}'
    refusal = node.config.error(status, node.config.line, message)
    refusal.__cause__ = error
    return refusal
