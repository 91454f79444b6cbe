"""Which tensors the streams of a graph carry, as far as models and calculators know:
from where something is known it is traced through nodes that pass tensors on, with the
flow and against it.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

from ovms_mp.calculator.services import InferenceSession
from ovms_mp.core.messages import TensorInfo

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ovms_mp.graph.definition import GraphDefinition


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
    """By the names of streams. What several nodes say of a stream is taken together: a
    dimension is what one of them knows. Where they contradict each other, the first
    counts, in the order in which nodes are opened.
    """
    sessions = sessions_of(definition)
    known: dict[str, TensorInfo] = {}
    into: dict[str, list[str]] = defaultdict(list)
    out_of: dict[str, list[str]] = defaultdict(list)
    for node in definition.nodes:
        shared = node.attributes["shared"]
        said = node.calculator.known_tensors(node.info, shared, sessions)
        for stream, info in said.items():
            known[stream] = _together(known.get(stream), info)
        for source, target in node.calculator.passed_on(node.info):
            into[target.name].append(source.name)
            out_of[source.name].append(target.name)
    # Each round fills in something, or is the last.
    while True:
        before = dict(known)
        for stream, info in (*_with(into, known), *_against(out_of, into, known)):
            known[stream] = _together(known.get(stream), replace(info, name=stream))
        if known == before:
            return known


def _with(
    into: Mapping[str, Sequence[str]], known: Mapping[str, TensorInfo]
) -> Iterator[tuple[str, TensorInfo]]:
    """What may come out is what all have in common that may go in."""
    for target, sources in into.items():
        infos = [known[each] for each in sources if each in known]
        if len(infos) == len(sources):
            common = infos[0]
            for each in infos[1:]:
                common = _common(common, each)
            yield target, common


def _against(
    out_of: Mapping[str, Sequence[str]],
    into: Mapping[str, Sequence[str]],
    known: Mapping[str, TensorInfo],
) -> Iterator[tuple[str, TensorInfo]]:
    """What goes in is what has to come out, if nothing else comes out there."""
    for source, targets in out_of.items():
        for target in targets:
            if target in known and len(into[target]) == 1:
                yield source, known[target]


def _together(one: TensorInfo | None, other: TensorInfo) -> TensorInfo:
    if one is None:
        return other
    if one.datatype != other.datatype or len(one.shape) != len(other.shape):
        return one
    pairs = zip(one.shape, other.shape, strict=True)
    return replace(one, shape=tuple(a if a >= 0 else b for a, b in pairs))


def _common(one: TensorInfo, other: TensorInfo) -> TensorInfo:
    """Of two that may come: INVALID and without a shape if they have nothing in common."""
    if one.datatype != other.datatype or len(one.shape) != len(other.shape):
        return TensorInfo(one.name, "INVALID", ())
    pairs = zip(one.shape, other.shape, strict=True)
    return replace(one, shape=tuple(a if a == b else -1 for a, b in pairs))
