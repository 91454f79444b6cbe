"""What a graph is, once everything is expanded and judged: for people, as values."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from google.protobuf import text_format

from ovms_mp.calculator.base import Contract
from ovms_mp.calculator.ports import ANY_TAG
from ovms_mp.calculator.services import Models, Services
from ovms_mp.core.errors import ServingError
from ovms_mp.library import fitting, loading
from ovms_mp.library.errors import graph_errors
from ovms_mp.library.models import ModelSet, beside, model_set
from ovms_mp.library.tensors import known_tensors, sessions_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from google.protobuf.message import Message

    from ovms_mp.calculator.ports import BoundPort, Declaration
    from ovms_mp.calculator.services import InferenceSession
    from ovms_mp.core.messages import TensorInfo
    from ovms_mp.graph.definition import GraphDefinition, NodeDefinition
    from ovms_mp.graph.names import StreamName
    from ovms_mp.library.loading import Calculators
    from ovms_mp.library.models import ModelSource

DEFAULT_POLICY: Final = "DefaultInputStreamHandler"


@dataclass(frozen=True, slots=True)
class Port:
    """A stream or side packet where a node, or the graph, has it. `payload` names its
    class, "anything" where only the packet says, and `tensor` what is known besides.
    """

    tag: str
    index: int
    name: str
    payload: str = "anything"
    tensor: TensorInfo | None = None
    is_back_edge: bool = False

    @property
    def label(self) -> str:
        """As a pbtxt has it."""
        if not self.tag:
            return self.name
        index = f"{self.index}:" if self.index else ""
        return f"{self.tag}:{index}{self.name}"


@dataclass(frozen=True, slots=True)
class Subgraph:
    """A use of a subgraph: names within begin with `prefix`."""

    prefix: str
    graph_type: str


@dataclass(frozen=True, slots=True)
class Node:
    """A node of the expanded graph. `within` are the subgraphs it is in, from the
    outermost; `model` is the model that it infers with, or offers; `problem` says why it
    could not be loaded; `options` are pbtxt texts.
    """

    name: str
    calculator: str
    place: str
    within: tuple[Subgraph, ...]
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    side_inputs: tuple[Port, ...]
    side_outputs: tuple[Port, ...]
    policy: str
    policy_options: str
    max_in_flight: int
    executor: str
    source_layer: int
    options: tuple[str, ...]
    model: str = ""
    problem: str = ""

    @property
    def short_name(self) -> str:
        """Without what the subgraphs put in front."""
        return self.name.removeprefix(self.within[-1].prefix if self.within else "")


@dataclass(frozen=True, slots=True)
class Explanation:
    """A graph. Nodes are in the order in which they are opened; `side_inputs` are what a
    run must be given.
    """

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    side_inputs: tuple[Port, ...]
    side_outputs: tuple[str, ...]
    nodes: tuple[Node, ...]
    max_queue_size: int


def explain(
    path: Path,
    *,
    models: ModelSource | None = None,
    calculators: Calculators | None = None,
    base_path: Path | None = None,
) -> Explanation:
    """Read a pbtxt file and say what it is; the arguments are those of `Graph.load`. A
    node that cannot be loaded, or never take what comes, is a problem of that node.

    Raises GraphError, with file and line, for what is wrong in the pbtxt.
    """
    with graph_errors(), ExitStack() as opened:
        found = beside(path) if models is None else model_set(models)
        if isinstance(found, ModelSet):
            opened.callback(found.close)
        definition = loading.define(
            path,
            loading.registry_of(calculators),
            Services({Models: found}),
            base_path=base_path,
        )
        problems: dict[int, str] = {}
        for node in definition.nodes:
            try:
                node.load()
            except ServingError as error:
                problems[node.index] = error.text
            else:
                opened.callback(node.unload)
        unfit = fitting.misfits(definition, problems)
        problems.update((number, error.text) for number, error in unfit.items())
        return of(definition, problems)


def of(
    definition: GraphDefinition, problems: Mapping[int, str] | None = None
) -> Explanation:
    """What a definition is; `problems` say by number why a node is not loaded."""
    return _Explaining(definition, problems or {}).explanation()


class _Explaining:
    def __init__(
        self, definition: GraphDefinition, problems: Mapping[int, str]
    ) -> None:
        self._definition = definition
        self._problems = problems
        self._sessions = sessions_of(definition)
        self._tensors = known_tensors(definition)

    def explanation(self) -> Explanation:
        """All of it."""
        definition = self._definition
        return Explanation(
            inputs=tuple(self._stream(*each) for each in definition.inputs),
            outputs=tuple(self._stream(*each) for each in definition.outputs),
            side_inputs=tuple(
                Port("", 0, name, _named(payload))
                for name, payload in definition.side_inputs.items()
            ),
            side_outputs=definition.side_outputs,
            nodes=tuple(self._node(node) for node in definition.nodes),
            max_queue_size=definition.max_queue_size,
        )

    def _stream(self, name: StreamName, number: int) -> Port:
        return Port(
            name.tag,
            name.index,
            name.name,
            self._payload(number),
            self._tensors.get(name.name),
        )

    def _payload(self, number: int) -> str:
        stream = self._definition.streams[number]
        if stream.payload is Any and stream.expected:
            return _named(stream.expected[0])
        return _named(stream.payload)

    def _node(self, node: NodeDefinition) -> Node:
        info, config = node.info, node.config
        contract = Contract.of(node.calculator)
        behaviour = node.calculator.behaviour(info)
        policy_options = config.input_policy_options
        used = [self._sessions.get(name) for name, _ in node.side_inputs]
        used += [self._sessions.get(name) for name in node.side_outputs]
        back = config.back_edges
        return Node(
            name=info.name,
            calculator=info.calculator,
            place=f"{config.file}:{config.line}",
            within=tuple(Subgraph(*use) for use in config.within),
            inputs=self._ports(info.inputs, node.input_streams, back),
            outputs=self._ports(info.outputs, node.output_streams),
            side_inputs=_sides(info.side_inputs, contract.side_inputs),
            side_outputs=_sides(info.side_outputs, contract.side_outputs),
            policy=config.input_policy or behaviour.input_policy or DEFAULT_POLICY,
            policy_options=_text(policy_options) if policy_options is not None else "",
            max_in_flight=node.max_in_flight,
            executor=config.executor,
            source_layer=config.source_layer,
            options=tuple(
                f"[{name}] {{ {_text(message)} }}"
                for name, message in config.options.items()
            ),
            model=_model(used),
            problem=self._problems.get(node.index, ""),
        )

    def _ports(
        self,
        ports: Sequence[BoundPort[Any]],
        numbers: Sequence[int],
        back: frozenset[tuple[str, int]] = frozenset(),
    ) -> tuple[Port, ...]:
        return tuple(
            Port(
                port.tag,
                port.index,
                port.name,
                self._payload(number),
                self._tensors.get(port.name),
                is_back_edge=(port.tag, port.index) in back,
            )
            for port, number in zip(ports, numbers, strict=True)
        )


def _sides(
    ports: Sequence[BoundPort[Any]], declared: Sequence[Declaration[Any]]
) -> tuple[Port, ...]:
    payloads = {each.tag: each.payload for each in declared}
    rest = payloads.get(ANY_TAG, Any)
    return tuple(
        Port(each.tag, each.index, each.name, _named(payloads.get(each.tag, rest)))
        for each in ports
    )


def _named(payload: Any) -> str:
    return "anything" if payload is Any else payload.__name__


def _model(sessions: Sequence[InferenceSession | None]) -> str:
    return next((each.name for each in sessions if each is not None), "")


def _text(message: Message) -> str:
    write: Callable[..., str] = text_format.MessageToString
    return write(message, as_one_line=True)
