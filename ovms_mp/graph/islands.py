"""Nodes whose calculators only native code has are gathered into islands, and each
island becomes one node; nothing here knows how an island is run.

Native nodes that are connected by a stream or a side packet share an island, so that
what passes between them may be anything. They do not where a node of ours between them
would then have to run in the midst of the island.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Protocol

from google.protobuf import text_format
from google.protobuf.wrappers_pb2 import StringValue

from ovms_mp.calculator.base import Calculator, ContractError
from ovms_mp.core.errors import Status, public_text
from ovms_mp.graph import neighbours, switch
from ovms_mp.graph.config import GraphConfig, NodeConfig, StreamName
from ovms_mp.graph.pbtxt import NoCalculator, OptionsUnavailable

if TYPE_CHECKING:
    from collections.abc import (
        Callable,
        Container,
        Iterable,
        Iterator,
        Sequence,
    )

    from google.protobuf.message import Message

    from ovms_mp.graph.expansion import Use
    from ovms_mp.graph.pbtxt import OptionsOf
    from ovms_mp.graph.registry import Registry
    from ovms_mp.graph.subgraphs import Folders

ISLAND: Final = "NativeIslandCalculator"
"""The calculator of the node that an island becomes."""

_INVALID: Final = Status.MEDIAPIPE_GRAPH_INITIALIZATION_ERROR


class Native(Protocol):
    """What native code has to offer; the module `ovms_mp.native.offer`."""

    def names(self) -> Container[str]:
        """Calculators and subgraphs that native code has."""
        ...

    def input_handlers(self) -> Container[str]:
        """The input stream handlers that it has."""
        ...

    def problem(self) -> str:
        """Why it cannot run here, or an empty text."""
        ...

    def options(self, calculator: str, /) -> type[Message] | None:
        """The options message of a native calculator."""
        ...

    def calculator(self) -> type[Calculator]:
        """What runs an island. Its options are a google.protobuf.StringValue: the text
        of a graph with the streams and side packets of the node.
        """
        ...


def options_of(registry: Registry, native: Native, subgraphs: Folders) -> OptionsOf:
    """Options messages by calculator name: the registry's, then the native ones."""

    def find(name: str) -> type[Message] | None:
        if name == switch.NAME:
            return None
        try:
            if registry.find(name) is not None:
                return registry.options(name)
        except ContractError as error:
            raise NoCalculator(public_text(str(error))) from error
        if name in native.names() and (problem := native.problem()):
            raise OptionsUnavailable(_unavailable(name, problem))
        if (message := native.options(name)) is not None or name in native.names():
            return message
        if subgraphs.has(name):
            return None
        raise NoCalculator(registry.missing(name))

    return find


def form_islands(
    config: GraphConfig, registry: Registry, native: Native
) -> GraphConfig:
    """The graph with an island for native nodes; the same if it has none. The registry
    learns the calculator of islands with the first.

    Raises GraphConfigError when native nodes cannot run here.
    """
    known = native.names()
    shared = {
        number for number, node in enumerate(config.nodes) if node.calculator in known
    }
    mine = {
        number
        for number in shared
        if not _is_ours(registry, config.nodes[number].calculator)
    }
    if not mine:
        return config
    mine |= neighbours.between(config.nodes, mine, shared)
    mine |= neighbours.inseparable(config.nodes, mine, shared, registry)
    problem = native.problem()
    handlers = native.input_handlers()
    for number in sorted(mine):
        node = config.nodes[number]
        if problem:
            raise _error(node, node.line, _unavailable(node.calculator, problem))
        if node.input_policy and node.input_policy not in handlers:
            text = f"input stream handler {node.input_policy} does not exist natively"
            raise _error(node, node.input_policy_line, text)
    if registry.find(ISLAND) is None:
        registry.add(ISLAND, native.calculator(), "native code")
    groups = _Groups(config, mine)
    placed: dict[int, NodeConfig] = {}
    for members in groups.islands():
        placed[members[0]] = _Island(config, members).node()
    nodes = tuple(
        placed.get(number, node)
        for number, node in enumerate(config.nodes)
        if number not in mine or number in placed
    )
    return replace(config, nodes=nodes)


def _is_ours(registry: Registry, name: str) -> bool:
    try:
        return registry.find(name) is not None
    except ContractError:
        return True  # and what is wrong with it is said when the graph is built


def _unavailable(calculator: str, problem: str) -> str:
    return f'"{calculator}" is native: {problem}'


def _error(node: NodeConfig, line: int, text: str) -> Exception:
    return node.error(_INVALID, line, f'node "{_label(node)}": {text}')


class _Groups:
    """Which nodes are together: a group per node at first, native neighbours joined as
    long as groups depend on each other in one direction only.
    """

    def __init__(self, config: GraphConfig, native: set[int]) -> None:
        self._native = native
        self._of = list(range(len(config.nodes)))
        self._edges = list(neighbours.edges(config.nodes))
        for producer, consumer in self._edges:
            if {producer, consumer} <= native:
                self._join(producer, consumer)

    def islands(self) -> list[list[int]]:
        """The members of each island, in the order of the file."""
        found: dict[int, list[int]] = {}
        for number in sorted(self._native):
            found.setdefault(self._of[number], []).append(number)
        return list(found.values())

    def _join(self, one: int, other: int) -> None:
        before = self._of
        kept, dropped = before[one], before[other]
        self._of = [kept if each == dropped else each for each in before]
        if self._has_cycle():
            self._of = before

    def _has_cycle(self) -> bool:
        after: dict[int, set[int]] = {}
        waits = dict.fromkeys(self._of, 0)
        for producer, consumer in self._edges:
            one, other = self._of[producer], self._of[consumer]
            if one != other and other not in after.setdefault(one, set()):
                after[one].add(other)
                waits[other] += 1
        ready = [each for each, count in waits.items() if not count]
        for each in ready:
            for other in after.get(each, ()):
                waits[other] -= 1
                if not waits[other]:
                    ready.append(other)
        return len(ready) < len(waits)


@dataclass(slots=True)
class _Island:
    """One island on its way to a node."""

    config: GraphConfig
    members: list[int]

    def node(self) -> NodeConfig:
        nodes = [self.config.nodes[number] for number in self.members]
        others = [
            node
            for number, node in enumerate(self.config.nodes)
            if number not in set(self.members)
        ]
        made = {each.name for node in nodes for each in node.outputs}
        sides_made = {each.name for node in nodes for each in node.side_outputs}
        inputs = _once(
            each for node in nodes for each in node.inputs if each.name not in made
        )
        wanted = {each.name for node in others for each in node.inputs}
        wanted |= {each.name for each in self.config.outputs}
        outputs = _once(
            each for node in nodes for each in node.outputs if each.name in wanted
        )
        sides = _once(
            each
            for node in nodes
            for each in node.side_inputs
            if each.name not in sides_made
        )
        self._check_side_outputs(nodes, others)
        text = _graph_text(nodes, inputs, outputs, sides)
        first = nodes[0]
        rest = f" and {len(nodes) - 1} more" if len(nodes) > 1 else ""
        return NodeConfig(
            calculator=ISLAND,
            name=_label(first) + rest,
            line=first.line,
            inputs=inputs,
            outputs=outputs,
            side_inputs=sides,
            side_outputs=(),
            options={StringValue.DESCRIPTOR.full_name: StringValue(value=text)},
            back_edges=_back_edges(nodes, inputs),
            source_layer=first.source_layer,
            file=first.file,
            used_by=first.used_by,
            within=_common(nodes),
        )

    def _check_side_outputs(
        self, nodes: Sequence[NodeConfig], others: Sequence[NodeConfig]
    ) -> None:
        wanted = {each.name for node in others for each in node.side_inputs}
        wanted |= {each.name for each in self.config.side_outputs}
        for node in nodes:
            for each in node.side_outputs:
                if each.name in wanted:
                    text = f'side packet "{each.name}" cannot leave native code'
                    raise _error(node, each.line, text)


def _once(names: Iterable[StreamName]) -> tuple[StreamName, ...]:
    """Each name once, without its tag: the tags are those of the nodes inside."""
    lines: dict[str, int] = {}
    for each in names:
        lines.setdefault(each.name, each.line)
    return tuple(
        StreamName("", index, name, line)
        for index, (name, line) in enumerate(lines.items())
    )


def _back_edges(
    nodes: Sequence[NodeConfig], inputs: Sequence[StreamName]
) -> frozenset[tuple[str, int]]:
    """Inputs that are a back edge for all who read them."""
    readers: dict[str, list[bool]] = {}
    for node in nodes:
        for each in node.inputs:
            is_back_edge = (each.tag, each.index) in node.back_edges
            readers.setdefault(each.name, []).append(is_back_edge)
    return frozenset(("", each.index) for each in inputs if all(readers[each.name]))


def _graph_text(
    nodes: Sequence[NodeConfig],
    inputs: Sequence[StreamName],
    outputs: Sequence[StreamName],
    sides: Sequence[StreamName],
) -> str:
    lines = [
        *(f'input_stream: "{each.name}"' for each in inputs),
        *(f'output_stream: "{each.name}"' for each in outputs),
        *(f'input_side_packet: "{each.name}"' for each in sides),
        # What waits for its partners must not keep the rest from coming in.
        "max_queue_size: -1",
    ]
    made = {each.name for node in nodes for each in node.outputs}
    for node in nodes:
        lines += ["node {", *_node_text(node, made), "}"]
    return "\n".join(lines)


def _node_text(node: NodeConfig, made: Container[str]) -> Iterator[str]:
    yield f'calculator: "{node.calculator}"'
    if re.fullmatch(r"[a-z_][a-z0-9_]*", node.name):
        yield f'name: "{node.name}"'
    for field, names in (
        ("input_stream", node.inputs),
        ("output_stream", node.outputs),
        ("input_side_packet", node.side_inputs),
        ("output_side_packet", node.side_outputs),
    ):
        for each in names:
            tag = f"{each.tag}:{each.index}:" if each.tag else ""
            yield f'{field}: "{tag}{each.name}"'
    yield from _back_edge_text(node, made)
    if node.max_in_flight:
        yield f"max_in_flight: {node.max_in_flight}"
    if node.source_layer:
        yield f"source_layer: {node.source_layer}"
    for name, message in node.options.items():
        body = _text(message)
        yield f"node_options {{ [type.googleapis.com/{name}] {{ {body} }} }}"
    if node.input_policy:
        yield from _policy_text(node)


def _back_edge_text(node: NodeConfig, made: Container[str]) -> Iterator[str]:
    by_place = {(each.tag, each.index): each.name for each in node.inputs}
    for place in sorted(node.back_edges):
        if by_place[place] in made:
            tag_index = f"{place[0]}:{place[1]}"
            yield f'input_stream_info {{ tag_index: "{tag_index}" back_edge: true }}'


def _policy_text(node: NodeConfig) -> Iterator[str]:
    yield f'input_stream_handler {{ input_stream_handler: "{node.input_policy}"'
    if node.input_policy_options is not None:
        name = node.input_policy_options.DESCRIPTOR.full_name
        body = _text(node.input_policy_options)
        yield f"options {{ [{name}.ext] {{ {body} }} }}"
    yield "}"


def _text(message: Message) -> str:
    write: Callable[..., str] = text_format.MessageToString
    return write(message, as_one_line=True)


def _common(nodes: Sequence[NodeConfig]) -> tuple[Use, ...]:
    """The subgraphs that all of these are in."""
    first, *rest = (node.within for node in nodes)
    count = 0
    for count, use in enumerate(first, start=1):
        if any(each[count - 1 : count] != (use,) for each in rest):
            return first[: count - 1]
    return first[:count]


def _label(node: NodeConfig) -> str:
    return node.name or node.calculator
