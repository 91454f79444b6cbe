"""A pbtxt becomes a GraphConfig with nothing but calculators' nodes, or an error with
file and line; no calculator is looked up and nothing is loaded here.

The language is MediaPipe's CalculatorGraphConfig (framework/calculator.proto), and so
is what a graph may say (framework/validated_graph_config.cc).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from google.protobuf.message import DecodeError, EncodeError, Message

from ovms_mp.core.errors import Status
from ovms_mp.graph import directives, executors, expansion, handlers, names, pbtxt
from ovms_mp.graph.expansion import Node, Use
from ovms_mp.graph.handlers import BadHandler
from ovms_mp.graph.names import BadName, StreamName
from ovms_mp.graph.pbtxt import (
    MAX_FILE_BYTES,
    GraphConfigError,
    GraphText,
    OptionsOf,
    invalid,
    refused,
)
from ovms_mp.graph.subgraphs import Folders, Subgraphs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from ovms_mp.graph.positions import Position

__all__ = [
    "DEFAULT_MAX_QUEUE_SIZE",
    "MAX_FILE_BYTES",
    "GraphConfig",
    "GraphConfigError",
    "NodeConfig",
    "StreamName",
    "parse",
    "read",
]

DEFAULT_MAX_QUEUE_SIZE: Final = 100
"""MediaPipe's, for max_queue_size unset or 0. -1 is unlimited."""

OUTPUT_HANDLERS: Final = frozenset({"", "InOrderOutputStreamHandler"})

REFUSED_IN_GRAPH: Final = frozenset({"status_handler"})
REFUSED_IN_NODE: Final = frozenset({"external_input"})
"""Fields that are an error, each with its reason."""


@dataclass(frozen=True, slots=True)
class NodeConfig:
    """One calculator's node, wherever it was written: `file` and `line` say where, and
    `used_by` which node brought it if that was in a subgraph; `within` are the subgraphs
    that it is in, from the outermost.

    `options` maps full message names to messages. `input_policy` is the name of
    MediaPipe's input stream handler, empty for the calculator's own choice, and
    `input_policy_options` that handler's message if one is given. `back_edges` are
    (tag, index) of inputs.
    """

    calculator: str
    name: str
    line: int
    inputs: tuple[StreamName, ...]
    outputs: tuple[StreamName, ...]
    side_inputs: tuple[StreamName, ...]
    side_outputs: tuple[StreamName, ...]
    options: Mapping[str, Message] = field(default_factory=dict[str, Message])
    input_policy: str = ""
    input_policy_line: int = 0
    input_policy_options: Message | None = None
    max_in_flight: int = 0
    back_edges: frozenset[tuple[str, int]] = frozenset()
    source_layer: int = 0
    executor: str = ""
    file: str = ""
    used_by: str = ""
    within: tuple[Use, ...] = ()

    def error(self, status: Status, line: int, message: str) -> GraphConfigError:
        """An error at a line of the node's file, for the caller to raise."""
        return GraphConfigError(status, self.file, line, message + self.used_by)


@dataclass(frozen=True, slots=True)
class GraphConfig:
    """A graph with its subgraphs, packet generators and factories expanded. `file` is
    its name without directories, for messages.
    """

    file: str
    inputs: tuple[StreamName, ...]
    outputs: tuple[StreamName, ...]
    side_inputs: tuple[StreamName, ...]
    side_outputs: tuple[StreamName, ...]
    nodes: tuple[NodeConfig, ...]
    max_queue_size: int
    report_deadlock: bool

    def error(self, status: Status, line: int, message: str) -> GraphConfigError:
        """An error at a line of this file, for the caller to raise. What is wrong in a
        node is an error of the node, which may come from another file.
        """
        return GraphConfigError(status, self.file, line, message)


def read(
    path: Path,
    *,
    options: OptionsOf | None = None,
    subgraphs: Subgraphs | None = None,
) -> GraphConfig:
    """Read a pbtxt file. `options` tells the options messages of calculators that our
    own descriptor pool does not know; `subgraphs` where subgraphs are found, otherwise
    beside the file and in the packages that ship some.

    Raises ServingError: FILE_INVALID when it cannot be read, else GraphConfigError.
    """
    data = pbtxt.contents(path)
    found = Folders.beside(path) if subgraphs is None else subgraphs
    return parse(data, path.name, options=options, subgraphs=found)


def parse(
    data: bytes,
    file: str,
    *,
    options: OptionsOf | None = None,
    subgraphs: Subgraphs | None = None,
) -> GraphConfig:
    """Parse a pbtxt; without `subgraphs` every node but a SwitchContainer is a
    calculator's. Raises GraphConfigError.
    """
    text = pbtxt.parse(data, file, options)
    directives.check(text.source, file)
    nodes = expansion.expand(text, subgraphs, options)
    return _graph_config(text, nodes)


def _graph_config(text: GraphText, nodes: Sequence[Node]) -> GraphConfig:
    message, position, file = text.message, text.position, text.file
    sides = [
        _names(message, position, which, file=file)
        for which in (
            "input_stream",
            "output_stream",
            "input_side_packet",
            "output_side_packet",
        )
    ]
    for number, problem in executors.problems(message):
        raise refused(file, position.at("executor", number), problem)
    if message.num_threads < -1:
        problem = f"expected num_threads of -1 or more, found {message.num_threads}"
        raise refused(file, position.at("num_threads"), problem)
    _check_output_handler(message, position, file, "")
    declared = {each.name for each in message.executor}
    configs = tuple(_Node(node, text, declared).config() for node in nodes)
    inputs, outputs, side_inputs, side_outputs = sides
    return GraphConfig(
        file=file,
        inputs=inputs,
        outputs=outputs,
        side_inputs=side_inputs,
        side_outputs=side_outputs,
        nodes=configs,
        max_queue_size=_max_queue_size(message, nodes),
        report_deadlock=message.report_deadlock,
    )


def _max_queue_size(message: Any, nodes: Sequence[Node]) -> int:
    """The graph's, raised by the hints of nodes, as in MediaPipe."""
    size = message.max_queue_size or DEFAULT_MAX_QUEUE_SIZE
    hints = [node.message.buffer_size_hint for node in nodes]
    return max([size, *(hint for hint in hints if hint > 0)])


class _Node:
    """A node of the expanded graph on its way to a NodeConfig."""

    def __init__(self, node: Node, text: GraphText, executors: set[str]) -> None:
        self._node = node
        self._message = node.message
        self._position = node.position
        self._text = text
        self._executors = executors

    def config(self) -> NodeConfig:
        node, message = self._node, self._message
        for name in pbtxt.legacy_fields(message):
            raise node.error(f"`{name}` was renamed to `input_side_packet`", name)
        sides = {
            which: _names(
                message,
                self._position,
                which,
                file=node.file,
                used_by=node.used_by,
                label=node.label,
            )
            for which in (
                "input_stream",
                "output_stream",
                "input_side_packet",
                "output_side_packet",
            )
        }
        _check_output_handler(message, self._position, node.file, node.used_by)
        if problem := executors.problem(message.executor, self._executors):
            raise node.error(problem, "executor")
        inputs = frozenset((each.tag, each.index) for each in sides["input_stream"])
        policy, line, policy_options = self._input_policy(inputs)
        return NodeConfig(
            calculator=message.calculator,
            name=message.name,
            line=self._position.line,
            inputs=sides["input_stream"],
            outputs=sides["output_stream"],
            side_inputs=sides["input_side_packet"],
            side_outputs=sides["output_side_packet"],
            options=self._options(),
            input_policy=policy,
            input_policy_line=line,
            input_policy_options=policy_options,
            max_in_flight=max(0, message.max_in_flight),
            back_edges=self._back_edges(inputs),
            source_layer=message.source_layer,
            executor=message.executor,
            file=node.file,
            used_by=node.used_by,
            within=node.within,
        )

    def _back_edges(
        self, inputs: frozenset[tuple[str, int]]
    ) -> frozenset[tuple[str, int]]:
        seen: dict[tuple[str, int], bool] = {}
        for number, info in enumerate(self._message.input_stream_info):
            text = f'tag_index "{info.tag_index}"'
            where = ("input_stream_info", number)
            try:
                tag_index = names.parse_tag_index(info.tag_index)
            except BadName as error:
                raise self._node.error(f"{text}: {error}", *where) from error
            if tag_index not in inputs:
                raise self._node.error(f"{text} is no input stream of it", *where)
            if tag_index in seen:
                raise self._node.error(f"{text} has two input_stream_info", *where)
            seen[tag_index] = info.back_edge
        return frozenset(each for each, is_back in seen.items() if is_back)

    def _input_policy(
        self, inputs: frozenset[tuple[str, int]]
    ) -> tuple[str, int, Message | None]:
        message, position, file = self._message, self._position, self._node.file
        if not message.HasField("input_stream_handler"):
            message, position = self._text.message, self._text.position
            file = self._text.file
            if not message.HasField("input_stream_handler"):
                return "", 0, None
        handler = message.input_stream_handler
        line = position.child("input_stream_handler").line
        try:
            options = handlers.judged(handler, inputs, self._message.max_in_flight)
        except BadHandler as error:
            text = f'node "{self._node.label}": {error}{self._node.used_by}'
            raise refused(file, line, text) from error
        # For the lines of errors to come, which are the node's.
        line = line if file == self._node.file else self._position.line
        return handler.input_stream_handler, line, options

    def _options(self) -> dict[str, Message]:
        """Options in both forms: `node_options` (Any) and `options` (extensions)."""
        found: dict[str, Message] = {}
        for number, packed in enumerate(self._message.node_options):
            name = packed.TypeName()
            line = self._position.at("node_options", number)
            if name in found:
                message = f"options {name} are given twice"
                raise self._node.error(message, "node_options", number)
            if not packed.type_url:
                continue
            try:
                message_class = self._node.types.message_class(name)
                found[name] = message_class.FromString(packed.value)
            except (KeyError, DecodeError) as error:
                text = f"node_options cannot be read as {name[: pbtxt.MAX_MESSAGE]}"
                raise self._node.error(text, "node_options", number) from error
            self._check_complete(found[name], line)
        for extension, value in self._message.options.ListFields():
            if extension.is_extension:
                self._check_complete(value, self._position.at("options"))
                name = value.DESCRIPTOR.full_name
                found[name] = self._native(name, value)
        return found

    def _native(self, name: str, value: Message) -> Message:
        """The message as the class that the calculator knows."""
        wanted = self._node.types.message_class(name)
        if isinstance(value, wanted):
            return value
        return wanted.FromString(value.SerializePartialToString())

    def _check_complete(self, message: Message, line: int) -> None:
        # Inside `[X.ext]` the parser misses a required field that is missing.
        try:
            message.SerializeToString()
        except EncodeError as error:
            text = f"{error}{self._node.used_by}"
            raise invalid(self._node.file, line, text) from error


def _names(
    message: Any,
    position: Position,
    which: str,
    *,
    file: str,
    used_by: str = "",
    label: str = "",
) -> tuple[StreamName, ...]:
    texts = getattr(message, which)
    lines = [position.at(which, number) for number in range(len(texts))]
    where = f'node "{label}": ' if label else ""
    try:
        found = names.numbered(texts, lines, which)
    except BadName as error:
        text = f"{where}{error}{used_by}"
        raise GraphConfigError(_WRONG_NAME[which], file, error.line, text) from error
    try:
        names.check_indexes(found, which)
    except BadName as error:
        raise invalid(file, error.line, f"{where}{error}{used_by}") from error
    return found


_WRONG_NAME: Final[Mapping[str, Status]] = {
    "input_stream": Status.MEDIAPIPE_WRONG_INPUT_STREAM_PACKET_NAME,
    "output_stream": Status.MEDIAPIPE_WRONG_OUTPUT_STREAM_PACKET_NAME,
    "input_side_packet": Status.MEDIAPIPE_WRONG_INPUT_SIDE_PACKET_STREAM_PACKET_NAME,
    "output_side_packet": Status.MEDIAPIPE_WRONG_INPUT_SIDE_PACKET_STREAM_PACKET_NAME,
}


def _check_output_handler(
    message: Any, position: Position, file: str, used_by: str
) -> None:
    name = message.output_stream_handler.output_stream_handler
    if message.HasField("output_stream_handler") and name not in OUTPUT_HANDLERS:
        line = position.at("output_stream_handler")
        text = (
            f'output stream handler "{name}" does not exist: '
            f"expected InOrderOutputStreamHandler{used_by}"
        )
        raise refused(file, line, text)
