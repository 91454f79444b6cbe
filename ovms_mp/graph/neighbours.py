"""Which nodes of a graph that both sides have are better left to native code, by those
that only native code has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from ovms_mp.calculator.ports import Declaration
    from ovms_mp.graph.config import NodeConfig, StreamName
    from ovms_mp.graph.registry import Registered, Registry

_TENSORS: Final = "TENSORS"
# Tags of vectors of anything, numbers too.
_ANY_VECTOR: Final = {"", "ITERABLE", "VECTOR"}
_MATRICES: Final = {"MATRIX", "PROJECTION_MATRIX"}


def between(
    nodes: Sequence[NodeConfig], native: set[int], shared: set[int]
) -> set[int]:
    """Nodes that both sides have and that stand between native ones: what reaches them
    may be nothing that could leave native code, such as tensors.
    """
    after: dict[int, set[int]] = {}
    before: dict[int, set[int]] = {}
    for producer, consumer in edges(nodes):
        after.setdefault(producer, set()).add(consumer)
        before.setdefault(consumer, set()).add(producer)
    return _reached(native, after, shared) & _reached(native, before, shared)


def inseparable(
    nodes: Sequence[NodeConfig], native: set[int], shared: set[int], registry: Registry
) -> set[int]:
    """Nodes that both sides have and that share with native ones what cannot cross, by
    what our calculators declare, and those that share such with these.
    """
    pairs = list(edges(nodes))
    found = set(native)
    count = 0
    while count < len(found):
        count = len(found)
        for producer, consumer in pairs:
            if producer in found and consumer in shared - found:
                ours, other, comes_in = consumer, producer, True
            elif consumer in found and producer in shared - found:
                ours, other, comes_in = producer, consumer, False
            else:
                continue
            known = registry.find(nodes[ours].calculator)
            if known and _is_bound(known, nodes[ours], nodes[other], comes_in=comes_in):
                found.add(ours)
    return found


def _is_bound(
    known: Registered, ours: NodeConfig, other: NodeConfig, *, comes_in: bool
) -> bool:
    contract = known.contract
    if comes_in:
        streams, ports, theirs = ours.inputs, contract.inputs, other.outputs
        sides, side_ports = ours.side_inputs, contract.side_inputs
        side_theirs = other.side_outputs
    else:
        streams, ports, theirs = ours.outputs, contract.outputs, other.inputs
        sides, side_ports = ours.side_outputs, contract.side_outputs
        side_theirs = other.side_inputs
    return any(
        _cannot_cross({tag, other_tag}, payload, comes_in=comes_in)
        for tag, other_tag, payload in _common(streams, ports, theirs)
    ) or any(
        payload is np.ndarray for *_, payload in _common(sides, side_ports, side_theirs)
    )


def _common(
    ours: Iterable[StreamName],
    ports: Iterable[Declaration[Any]],
    theirs: Iterable[StreamName],
) -> Iterator[tuple[str, str, Any]]:
    """Of what is on both sides: our tag, theirs, and the payload that we declare."""
    declared = {port.tag: port.payload for port in ports}
    for each in ours:
        for other in theirs:
            if each.name == other.name:
                yield each.tag, other.tag, declared.get(each.tag)


def _cannot_cross(tags: set[str], payload: object, *, comes_in: bool) -> bool:
    """Pairs, tensors and arrays of 16 cross in neither direction; vectors can be read
    outside native code, and those of numbers made, which is what streams without a tag
    of their own may have.
    """
    if payload is list:
        return _TENSORS in tags or not (comes_in or tags <= _ANY_VECTOR)
    return payload is tuple or (payload is np.ndarray and bool(tags & _MATRICES))


def _reached(
    start: set[int], neighbours: Mapping[int, set[int]], within: set[int]
) -> set[int]:
    found: set[int] = set()
    left = list(start)
    while left:
        new = (neighbours.get(left.pop(), set()) & within) - found
        found |= new
        left += new
    return found


def edges(nodes: Sequence[NodeConfig]) -> Iterator[tuple[int, int]]:
    """Pairs (producer, consumer), by their places: of streams that are no back edges, and of side packets."""
    makers: dict[tuple[bool, str], int] = {}
    for number, node in enumerate(nodes):
        makers.update(((False, each.name), number) for each in node.outputs)
        makers.update(((True, each.name), number) for each in node.side_outputs)
    for number, node in enumerate(nodes):
        for each in node.inputs:
            maker = makers.get((False, each.name))
            is_back_edge = (each.tag, each.index) in node.back_edges
            if maker is not None and not is_back_edge:
                yield maker, number
        for each in node.side_inputs:
            if (maker := makers.get((True, each.name))) is not None:
                yield maker, number
