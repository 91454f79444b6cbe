"""A GraphConfig is judged against the calculators and becomes a GraphDefinition: what
can be known when a graph is loaded is an error then, with file and line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ovms_mp.calculator.base import ContractError, NodeInfo
from ovms_mp.core.errors import ServingError, Status, public_text
from ovms_mp.graph import handlers
from ovms_mp.graph.binding import Binding, bind
from ovms_mp.graph.definition import (
    PROVIDED_SIDE_PACKETS,
    GraphDefinition,
    NodeDefinition,
    StreamDefinition,
)
from ovms_mp.graph.lane import way_through
from ovms_mp.graph.policies import POLICIES, MakePolicy, make_policy

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ovms_mp.calculator.services import Services
    from ovms_mp.graph.config import GraphConfig, NodeConfig, StreamName
    from ovms_mp.graph.registry import Registered, Registry

_INVALID: Final = Status.MEDIAPIPE_GRAPH_INITIALIZATION_ERROR


def define(
    config: GraphConfig, registry: Registry, base_path: Path, services: Services
) -> GraphDefinition:
    """Judge a graph. What its nodes share is not loaded yet: see `load` of each.

    Raises GraphConfigError with file and line for what is wrong in the pbtxt.
    """
    return _Builder(config, registry, base_path, services).definition()


def load(
    config: GraphConfig, registry: Registry, base_path: Path, services: Services
) -> GraphDefinition:
    """Judge a graph and load what its nodes share between runs.

    Raises ServingError: GraphConfigError with file and line for what is wrong in the
    pbtxt, other statuses for what its calculators refuse to load.
    """
    definition = define(config, registry, base_path, services)
    loaded: list[NodeDefinition] = []
    try:
        for node in definition.nodes:
            node.load()
            loaded.append(node)
    except BaseException:
        for node in reversed(loaded):
            node.unload()
        raise
    return definition


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
        self._claimed: dict[tuple[str, str], str] = {}
        self._named: set[tuple[str, str]] = set()
        self._makers: dict[str, int] = {}
        self._ancestors: dict[int, set[int]] = {}

    def definition(self) -> GraphDefinition:
        config = self._config
        self._check_boundary()
        nodes = [self._bind(node) for node in config.nodes]
        for stream in config.inputs:
            self._produce(config, stream, Any, "the graph")
        for side_packet in config.side_inputs:
            self._claim("side packet", config, side_packet, "the graph")
        for node in nodes:
            who = f'node "{_label(node.config)}"'
            outputs = zip(
                node.config.outputs, node.binding.output_payloads, strict=True
            )
            for stream, payload in outputs:
                self._produce(node.config, stream, payload, who)
            for side_packet in node.config.side_outputs:
                self._claim("side packet", node.config, side_packet, who)
        ordered = [nodes[number] for number in self._order()]
        self._trace(ordered)
        made = tuple(self._node(*each) for each in enumerate(ordered))
        inputs = tuple((each, self._numbers[each.name]) for each in config.inputs)
        required, optional = self._sides(ordered)
        return GraphDefinition(
            nodes=made,
            inputs=inputs,
            outputs=tuple(self._output(each) for each in config.outputs),
            side_inputs=required,
            optional_side_inputs=optional,
            side_outputs=tuple(each.name for each in config.side_outputs),
            streams=tuple(self._streams),
            max_queue_size=config.max_queue_size,
            report_deadlock=config.report_deadlock,
            way=way_through(made, [number for _, number in inputs]),
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
            raise node.error(_INVALID, node.line, public_text(str(error))) from error
        if registered is None:
            missing = self._registry.missing(node.calculator)
            message = f'node "{_label(node)}": {missing}'
            raise node.error(_INVALID, node.line, message)
        try:
            binding = bind(node, registered.contract)
        except ContractError as error:
            message = f'node "{_label(node)}": {error}'
            raise node.error(_INVALID, node.line, message) from error
        return _Node(node, registered, binding)

    def _claim(
        self, kind: str, owner: GraphConfig | NodeConfig, name: StreamName, who: str
    ) -> None:
        """Each stream and side packet has one producer: `who`, a node or the graph."""
        place = f"{who} at {owner.file}:{name.line}"
        first = self._claimed.setdefault((kind, name.name), place)
        if first is not place:
            message = f'{who}: {kind} "{name.name}" is already made by {first}'
            raise owner.error(_INVALID, name.line, message)

    def _produce(
        self,
        owner: GraphConfig | NodeConfig,
        stream: StreamName,
        payload: Any,
        who: str,
    ) -> None:
        self._claim("stream", owner, stream, who)
        self._numbers[stream.name] = len(self._streams)
        self._streams.append(StreamDefinition(stream.name, payload))

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
            keys = [
                (False, each.name)
                for each in node.inputs
                if (each.tag, each.index) not in node.back_edges
            ]
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
        return nodes[number].error(_INVALID, nodes[number].line, message)

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
            max_in_flight=config.max_in_flight or calculator.max_in_flight,
            input_policy=config.input_policy,
        )
        self._named.add((config.calculator, config.name))
        definition = NodeDefinition(
            index=index,
            config=config,
            info=info,
            calculator=calculator,
            attributes={**binding.attributes, "node": info, "shared": None},
            input_streams=self._consume(node),
            output_streams=tuple(self._numbers[each.name] for each in config.outputs),
            side_inputs=self._side_inputs(node),
            side_outputs=tuple(each.name for each in config.side_outputs),
            side_output_payloads=binding.side_output_payloads,
            make_policy=self._policy(node, info),
            max_in_flight=info.max_in_flight,
            source_layer=config.source_layer,
            producers=tuple(
                sorted(
                    {
                        self._makers[each.name]
                        for each in config.inputs
                        if each.name in self._makers
                        and (each.tag, each.index) not in config.back_edges
                    }
                )
            ),
            sources=tuple(self._sources(each.name) for each in config.inputs),
        )
        try:
            calculator.check(info)
        except ContractError as error:
            message = f'node "{info.name}": {error}'
            raise config.error(_INVALID, config.line, message) from error
        return definition

    def _consume(self, node: _Node) -> tuple[int, ...]:
        numbers: list[int] = []
        for slot, stream in enumerate(node.config.inputs):
            number = self._numbers.get(stream.name)
            if number is None:
                message = (
                    f'node "{_label(node.config)}": input stream "{stream.name}" has '
                    "no producer"
                )
                raise node.config.error(_INVALID, stream.line, message)
            expected = node.binding.input_payloads[slot]
            given = self._streams[number].payload
            self._check_payload(node.config, stream, expected, given)
            if expected is not Any:
                self._streams[number].expected.append(expected)
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
        raise node.error(_INVALID, name.line, message)

    def _side_inputs(self, node: _Node) -> tuple[tuple[str, bool], ...]:
        may_lack = not node.registered.calculator.requires_side_inputs
        names = (each.name for each in node.config.side_inputs)
        pairs = zip(names, node.binding.side_inputs_optional, strict=True)
        return tuple(
            (name, (is_optional and may_lack) or name in PROVIDED_SIDE_PACKETS)
            for name, is_optional in pairs
        )

    def _sides(self, nodes: Sequence[_Node]) -> tuple[dict[str, Any], dict[str, Any]]:
        """What a run must be given and what it may; the pbtxt need not declare them."""
        made = {
            each.name: payload
            for node in nodes
            for each, payload in zip(
                node.config.side_outputs,
                node.binding.side_output_payloads,
                strict=True,
            )
        }
        required: dict[str, Any] = {}
        optional: dict[str, Any] = {}
        for node in nodes:
            sides = zip(
                node.config.side_inputs,
                node.binding.side_input_payloads,
                self._side_inputs(node),
                strict=True,
            )
            for each, expected, (name, is_optional) in sides:
                if name in made:
                    self._check_payload(node.config, each, expected, made[name])
                elif name not in PROVIDED_SIDE_PACKETS:
                    (optional if is_optional else required)[name] = expected
        return required, optional

    def _trace(self, nodes: Sequence[_Node]) -> None:
        """Who makes each stream, and what fills it in the end."""
        for index, node in enumerate(nodes):
            self._makers.update((each.name, index) for each in node.config.outputs)
        for index, node in enumerate(nodes):
            found: set[int] = set()
            for each in node.config.inputs:
                if (each.tag, each.index) not in node.config.back_edges:
                    found.update(self._sources(each.name))
            is_source = node.config.outputs and not node.config.inputs
            self._ancestors[index] = {-1 - index} if is_source else found

    def _sources(self, stream: str) -> tuple[int, ...]:
        maker = self._makers.get(stream)
        if maker is None:
            number = self._numbers.get(stream)
            return () if number is None else (number,)
        return tuple(sorted(self._ancestors.get(maker, ())))

    def _policy(self, node: _Node, info: NodeInfo) -> MakePolicy:
        config, calculator = node.config, node.registered.calculator
        behaviour = calculator.behaviour(info)
        name, options = config.input_policy, config.input_policy_options
        line = config.input_policy_line
        slots = {(each.tag, each.index): n for n, each in enumerate(config.inputs)}
        if not name and behaviour.input_policy:
            name, options, line = behaviour.input_policy, None, config.line
            limit = config.max_in_flight or calculator.max_in_flight
            try:
                handlers.check(name, options, frozenset(slots), limit)
            except handlers.BadHandler as error:
                message = f'node "{_label(config)}": {error}'
                raise config.error(_INVALID, line, message) from error
        if name not in POLICIES:
            message = (
                f'node "{_label(config)}": input stream handler "{name}" does not exist'
            )
            raise config.error(_INVALID, line, message)
        return make_policy(
            name,
            options,
            slots,
            processes_bounds=behaviour.process_timestamp_bounds,
        )

    def _output(self, name: StreamName) -> tuple[StreamName, int]:
        stream = self._numbers.get(name.name)
        if stream is None:
            message = f'graph output stream "{name.name}" has no producer'
            raise self._error(name.line, message)
        return name, stream


def _label(node: NodeConfig) -> str:
    return node.name or node.calculator
