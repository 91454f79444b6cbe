"""A GraphConfig is judged against the calculators and becomes a GraphDefinition: what
can be known when a graph is loaded is an error then, with file and line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ovms_mp.calculator.base import ContractError, NodeInfo
from ovms_mp.core.errors import ServingError, Status, public_text
from ovms_mp.graph.binding import Binding, bind
from ovms_mp.graph.definition import (
    PROVIDED_SIDE_PACKETS,
    GraphDefinition,
    NodeDefinition,
    StreamDefinition,
)
from ovms_mp.graph.policy import KNOWN_HANDLERS, POLICIES

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ovms_mp.calculator.services import Services
    from ovms_mp.graph.config import GraphConfig, NodeConfig, StreamName
    from ovms_mp.graph.registry import Registered, Registry

_INVALID: Final = Status.MEDIAPIPE_GRAPH_INITIALIZATION_ERROR


def load(
    config: GraphConfig, registry: Registry, base_path: Path, services: Services
) -> GraphDefinition:
    """Judge a graph and load what its nodes share between runs.

    Raises ServingError: GraphConfigError with file and line for what is wrong in the
    pbtxt, other statuses for what its calculators refuse to load.
    """
    definition = _Builder(config, registry, base_path, services).definition()
    loaded: list[NodeDefinition] = []
    try:
        for node in definition.nodes:
            _load_shared(config, node)
            loaded.append(node)
    except BaseException:
        for node in reversed(loaded):
            node.unload()
        raise
    return definition


def _load_shared(config: GraphConfig, node: NodeDefinition) -> None:
    try:
        node.attributes["shared"] = node.calculator.load(node.info)
    except ContractError as error:
        message = f'node "{node.info.name}": {error}'
        raise config.error(_INVALID, node.line, message) from error
    except ServingError as error:
        raise config.error(error.status, node.line, error.details) from error


class _Node(NamedTuple):
    """A node on its way to a definition."""

    config: NodeConfig
    registered: Registered
    binding: Binding


class _Builder:
    def __init__(
        self,
        config: GraphConfig,
        registry: Registry,
        base_path: Path,
        services: Services,
    ) -> None:
        self._config = config
        self._registry = registry
        self._base_path = base_path
        self._services = services
        self._streams: list[StreamDefinition] = []
        self._numbers: dict[str, int] = {}
        self._side_packets: set[str] = set()
        self._named: set[tuple[str, str]] = set()

    def definition(self) -> GraphDefinition:
        config = self._config
        self._check_boundary()
        nodes = [self._bind(node) for node in config.nodes]
        for stream in config.inputs:
            self._produce(stream, Any)
        self._side_packets.update(each.name for each in config.side_inputs)
        for node in nodes:
            outputs = zip(
                node.config.outputs, node.binding.output_payloads, strict=True
            )
            for stream, payload in outputs:
                self._produce(stream, payload)
            self._produce_side_packets(node)
        ordered = [nodes[number] for number in self._order()]
        return GraphDefinition(
            nodes=tuple(self._node(*each) for each in enumerate(ordered)),
            inputs=tuple((each, self._numbers[each.name]) for each in config.inputs),
            outputs=tuple(self._output(*each) for each in enumerate(config.outputs)),
            side_inputs=tuple(each.name for each in config.side_inputs),
            streams=tuple(self._streams),
            max_queue_size=config.max_queue_size,
            report_deadlock=config.report_deadlock,
        )

    def _error(self, line: int, message: str) -> ServingError:
        return self._config.error(_INVALID, line, message)

    def _check_boundary(self) -> None:
        config = self._config
        wrong_input = Status.MEDIAPIPE_WRONG_INPUT_STREAM_PACKET_NAME
        wrong_output = Status.MEDIAPIPE_WRONG_OUTPUT_STREAM_PACKET_NAME
        wrong_side = Status.MEDIAPIPE_WRONG_INPUT_SIDE_PACKET_STREAM_PACKET_NAME
        self._check_unique(config.inputs, wrong_input, "input stream")
        self._check_unique(config.outputs, wrong_output, "output stream")
        self._check_unique(config.side_inputs, wrong_side, "input side packet")
        if config.side_outputs:
            line = config.side_outputs[0].line
            raise self._error(line, "output side packets are not supported yet")

    def _check_unique(
        self, names: Sequence[StreamName], status: Status, kind: str
    ) -> None:
        seen: set[str] = set()
        for each in names:
            if each.name in seen:
                message = f'graph {kind} "{each.name}" is declared twice'
                raise self._config.error(status, each.line, message)
            seen.add(each.name)

    def _bind(self, node: NodeConfig) -> _Node:
        try:
            registered = self._registry.find(node.calculator)
        except ContractError as error:
            raise self._error(node.line, public_text(str(error))) from error
        if registered is None:
            message = (
                f'node "{_label(node)}": there is no calculator named '
                f'"{node.calculator}"'
            )
            raise self._error(node.line, message)
        try:
            binding = bind(node, registered.contract)
        except ContractError as error:
            message = f'node "{_label(node)}": {error}'
            raise self._error(node.line, message) from error
        return _Node(node, registered, binding)

    def _produce(self, stream: StreamName, payload: Any) -> None:
        if stream.name in self._numbers:
            message = f'stream "{stream.name}" has two producers'
            raise self._error(stream.line, message)
        self._numbers[stream.name] = len(self._streams)
        self._streams.append(StreamDefinition(stream.name, payload))

    def _produce_side_packets(self, node: _Node) -> None:
        for side_packet in node.config.side_outputs:
            if side_packet.name in self._side_packets:
                message = f'side packet "{side_packet.name}" has two producers'
                raise self._error(side_packet.line, message)
            self._side_packets.add(side_packet.name)

    def _order(self) -> list[int]:
        """Nodes such that producers of streams and side packets come first, else as in
        the file.
        """
        nodes = self._config.nodes
        producers: dict[tuple[bool, str], int] = {}
        for number, node in enumerate(nodes):
            producers.update(((False, each.name), number) for each in node.outputs)
            producers.update(((True, each.name), number) for each in node.side_outputs)
        needs: list[set[int]] = []
        for node in nodes:
            keys = [(False, each.name) for each in node.inputs]
            keys += [(True, each.name) for each in node.side_inputs]
            needs.append({producers[key] for key in keys if key in producers})
        order: list[int] = []
        left = list(range(len(nodes)))
        while left:
            number = next((n for n in left if needs[n].issubset(order)), None)
            if number is None:
                raise self._cycle(needs, left)
            order.append(number)
            left.remove(number)
        return order

    def _cycle(self, needs: Sequence[set[int]], left: Sequence[int]) -> ServingError:
        # Every node that is left waits for another one that is left, so the way from
        # one to the next must come back to where it has been.
        path: list[int] = []
        number = left[0]
        while number not in path:
            path.append(number)
            number = min(needs[number].intersection(left))
        nodes = self._config.nodes
        cycle = [*path[path.index(number) :], number]
        names = " <- ".join(f'"{_label(nodes[each])}"' for each in cycle)
        message = f"nodes form a cycle, which needs a back edge: {names}"
        return self._error(nodes[number].line, message)

    def _node(self, index: int, node: _Node) -> NodeDefinition:
        config, registered, binding = node
        calculator = registered.calculator
        info = NodeInfo(
            name=_label(config),
            calculator=config.calculator,
            inputs=binding.inputs,
            outputs=binding.outputs,
            side_inputs=binding.side_inputs,
            side_outputs=binding.side_outputs,
            options=config.options,
            base_path=self._base_path,
            services=self._services,
            is_named=bool(config.name),
            is_namesake=(config.calculator, config.name) in self._named,
        )
        self._named.add((config.calculator, config.name))
        definition = NodeDefinition(
            index=index,
            line=config.line,
            info=info,
            calculator=calculator,
            attributes={**binding.attributes, "node": info, "shared": None},
            input_streams=self._consume(index, node),
            output_streams=tuple(self._numbers[each.name] for each in config.outputs),
            side_inputs=self._side_inputs(node),
            side_outputs=tuple(each.name for each in config.side_outputs),
            input_policy=self._input_policy(node),
            max_in_flight=config.max_in_flight or calculator.max_in_flight,
            timestamp_offset=calculator.timestamp_offset,
        )
        try:
            calculator.check(info)
        except ContractError as error:
            message = f'node "{info.name}": {error}'
            raise self._error(config.line, message) from error
        return definition

    def _consume(self, index: int, node: _Node) -> tuple[int, ...]:
        numbers: list[int] = []
        for slot, stream in enumerate(node.config.inputs):
            number = self._numbers.get(stream.name)
            if number is None:
                message = (
                    f'node "{_label(node.config)}": input stream "{stream.name}" has '
                    "no producer"
                )
                raise self._error(stream.line, message)
            expected = node.binding.input_payloads[slot]
            given = self._streams[number].payload
            self._check_payload(node.config, stream, expected, given)
            self._streams[number].consumers.append((index, slot))
            numbers.append(number)
        return tuple(numbers)

    def _check_payload(
        self, node: NodeConfig, name: StreamName, expected: Any, given: Any
    ) -> None:
        if Any in (expected, given) or issubclass(given, expected):
            return
        message = (
            f'node "{_label(node)}": "{name.name}" carries {given.__name__}, '
            f"the calculator takes {expected.__name__}"
        )
        raise self._error(name.line, message)

    def _side_inputs(self, node: _Node) -> tuple[str, ...]:
        for side_packet in node.config.side_inputs:
            name = side_packet.name
            if name not in self._side_packets | PROVIDED_SIDE_PACKETS:
                message = (
                    f'node "{_label(node.config)}": input side packet "{name}" has no '
                    "producer"
                )
                raise self._error(side_packet.line, message)
        return tuple(each.name for each in node.config.side_inputs)

    def _input_policy(self, node: _Node) -> str:
        config = node.config
        if not config.inputs and config.outputs:
            message = f'node "{_label(config)}": source nodes are not supported yet'
            raise self._error(config.line, message)
        name = config.input_policy
        if name in POLICIES:
            return name
        known = name in KNOWN_HANDLERS
        problem = "is not supported yet" if known else "does not exist"
        message = f'node "{_label(config)}": input stream handler "{name}" {problem}'
        raise self._error(config.input_policy_line, message)

    def _output(self, number: int, name: StreamName) -> tuple[StreamName, int]:
        stream = self._numbers.get(name.name)
        if stream is None:
            message = f'graph output stream "{name.name}" has no producer'
            raise self._error(name.line, message)
        self._streams[stream].outputs.append(number)
        return name, stream


def _label(node: NodeConfig) -> str:
    return node.name or node.calculator
