"""A pbtxt becomes a GraphConfig, or an error with file and line; nothing is looked up
and nothing is loaded here.

The language is MediaPipe's CalculatorGraphConfig (framework/calculator.proto). What of
it this runtime does not do yet is refused here, never ignored.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from google.protobuf import text_format
from google.protobuf.message import DecodeError, EncodeError, Message
from ovms_mp_protos import graph as protos

from ovms_mp.core.errors import ServingError, Status
from ovms_mp.graph import positions
from ovms_mp.graph.positions import Position

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

# A graph is written by people; the largest of MediaPipe's own has 20 KB.
MAX_FILE_BYTES: Final = 4 << 20

DEFAULT_MAX_QUEUE_SIZE: Final = 100
"""MediaPipe's, for max_queue_size unset or 0. -1 is unlimited."""

_TAG: Final = re.compile(r"[A-Z_][A-Z0-9_]*")
_NAME: Final = re.compile(r"[a-z_][a-z0-9_]*")
_POOL_DIRECTIVE: Final = re.compile(r"OVMS_GRAPH_QUEUE_MAX_SIZE\s*:\s*(.*)")

_NOT_YET_IN_GRAPH: Final = (
    "packet_factory",
    "packet_generator",
    "status_handler",
    "input_stream_handler",
    "output_stream_handler",
    "graph_options",
    "options",
)
_NOT_YET_IN_NODE: Final = (
    "input_stream_info",
    "output_stream_handler",
    "buffer_size_hint",
    "source_layer",
    "option_value",
    "external_input",
)


class GraphConfigError(ServingError):
    """A graph cannot be served; the text begins with `file:line:`."""

    def __init__(self, status: Status, file: str, line: int, message: str) -> None:
        super().__init__(status, f"{file}:{line}: {message}")
        self.line = line


@dataclass(frozen=True, slots=True)
class StreamName:
    """`TAG:index:name` as a pbtxt writes it, and the line where it stands."""

    tag: str
    index: int
    name: str
    line: int


@dataclass(frozen=True, slots=True)
class NodeConfig:
    """One `node { … }`. `options` maps full message names to messages."""

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
    max_in_flight: int = 0


@dataclass(frozen=True, slots=True)
class GraphConfig:
    """A pbtxt as written. `file` is its name without directories, for messages."""

    file: str
    inputs: tuple[StreamName, ...]
    outputs: tuple[StreamName, ...]
    side_inputs: tuple[StreamName, ...]
    side_outputs: tuple[StreamName, ...]
    nodes: tuple[NodeConfig, ...]
    max_queue_size: int
    report_deadlock: bool

    def error(self, status: Status, line: int, message: str) -> GraphConfigError:
        """An error at a line of this file, for the caller to raise."""
        return GraphConfigError(status, self.file, line, message)


def read(path: Path) -> GraphConfig:
    """Read a pbtxt file. Raises ServingError: FILE_INVALID when it cannot be read, else
    GraphConfigError.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        details = f"{path.name}: {os.strerror(error.errno or 0)}"
        raise ServingError(Status.FILE_INVALID, details) from error
    if len(data) > MAX_FILE_BYTES:
        details = f"{path.name} is larger than {MAX_FILE_BYTES} bytes"
        raise ServingError(Status.FILE_INVALID, details)
    return parse(data, path.name)


def parse(data: bytes, file: str) -> GraphConfig:
    """Parse a pbtxt. Raises GraphConfigError."""
    return _Parser(data, file).config()


class _Parser:
    def __init__(self, data: bytes, file: str) -> None:
        self._file = file
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            raise self._invalid(line, "not UTF-8 text") from error
        try:
            self._position, self._comments = positions.read(text)
        except positions.PbtxtTooDeep as error:
            raise self._invalid(error.line, str(error)) from error
        self._message: Any = self._parse(text)

    def _invalid(self, line: int, message: str) -> GraphConfigError:
        status = Status.MEDIAPIPE_GRAPH_CONFIG_FILE_INVALID
        return GraphConfigError(status, self._file, line, message)

    def _parse(self, text: str) -> Message:
        config = protos.CalculatorGraphConfig()
        try:
            text_format.Parse(text, config, descriptor_pool=protos.pool)
        except text_format.ParseError as error:
            raise self._parse_error(str(error), error.GetLine()) from error
        except (EncodeError, DecodeError, ValueError) as error:
            # A required field that is missing inside an Any; the parser gives no line.
            raise self._parse_error(str(error), None) from error
        return config

    def _parse_error(self, message: str, line: int | None) -> GraphConfigError:
        message = re.sub(r"^\d+:\d+ : ", "", message)
        if line is None:
            line = self._line_of_type_in(message)
        return self._invalid(line, message)

    def _line_of_type_in(self, message: str) -> int:
        """The first `[type]` or `[extension]` that a message without a line names."""
        for node in self._position.fields.get("node", ()):
            for options in ("node_options", "options"):
                for value in node.fields.get(options, ()):
                    for name, at in value.fields.items():
                        full_name = name.strip("[]").rpartition("/")[2]
                        if full_name and full_name in message:
                            return at[0].line
        return 1

    def config(self) -> GraphConfig:
        message = self._message
        self._refuse(message, self._position, _NOT_YET_IN_GRAPH, "")
        if message.type:
            line = self._position.at("type")
            raise self._not_yet(line, "a graph with a `type` is a subgraph, which")
        self._check_directives()
        max_queue_size = message.max_queue_size or DEFAULT_MAX_QUEUE_SIZE
        root = self._position
        return GraphConfig(
            file=self._file,
            inputs=self._names(message, root, "input_stream"),
            outputs=self._names(message, root, "output_stream"),
            side_inputs=self._names(message, root, "input_side_packet"),
            side_outputs=self._names(message, root, "output_side_packet"),
            nodes=tuple(self._nodes(message.node)),
            max_queue_size=max_queue_size,
            report_deadlock=message.report_deadlock,
        )

    def _nodes(self, nodes: Sequence[Any]) -> Iterator[NodeConfig]:
        for number, node in enumerate(nodes):
            position = self._position.child("node", number)
            if not node.calculator:
                raise self._invalid(position.line, "a node names no calculator")
            self._refuse(node, position, _NOT_YET_IN_NODE, f'node "{_label(node)}": ')
            handler = position.child("input_stream_handler")
            yield NodeConfig(
                calculator=node.calculator,
                name=node.name,
                line=position.line,
                inputs=self._names(node, position, "input_stream"),
                outputs=self._names(node, position, "output_stream"),
                side_inputs=self._names(node, position, "input_side_packet"),
                side_outputs=self._names(node, position, "output_side_packet"),
                options=self._options(node, position),
                input_policy=self._input_policy(node, handler),
                input_policy_line=handler.line,
                max_in_flight=max(0, node.max_in_flight),
            )

    def _input_policy(self, node: Any, position: Position) -> str:
        if not node.HasField("input_stream_handler"):
            return ""
        handler = node.input_stream_handler
        if handler.HasField("options"):
            line = position.at("options")
            what = f'node "{_label(node)}": options of an input stream handler'
            raise self._not_yet(line, what)
        return handler.input_stream_handler

    def _options(self, node: Any, position: Position) -> dict[str, Message]:
        """Options in both forms: `node_options` (Any) and `options` (extensions)."""
        found: dict[str, Message] = {}
        for number, packed in enumerate(node.node_options):
            name = packed.TypeName()
            # The parser has read this text as that type, so it knows the type and the
            # bytes are sound.
            found[name] = protos.message_class(name).FromString(packed.value)
            self._check_complete(found[name], position.at("node_options", number))
        for extension, value in node.options.ListFields():
            if extension.is_extension:
                self._check_complete(value, position.at("options"))
                found[extension.message_type.full_name] = value
        return found

    def _check_complete(self, message: Message, line: int) -> None:
        # Inside `[X.ext]` the parser misses a required field that is missing.
        try:
            message.SerializeToString()
        except EncodeError as error:
            raise self._invalid(line, str(error)) from error

    def _names(
        self, message: Any, position: Position, which: str
    ) -> tuple[StreamName, ...]:
        names: list[StreamName] = []
        untagged = 0
        for number, text in enumerate(getattr(message, which)):
            line = position.at(which, number)
            name = self._name(text, which, line)
            if not name.tag:
                name = StreamName("", untagged, name.name, line)
                untagged += 1
            names.append(name)
        self._check_indexes(names, which)
        return tuple(names)

    def _name(self, text: str, which: str, line: int) -> StreamName:
        parts = text.split(":")
        tag, index, name = "", "0", parts[-1]
        if len(parts) == 2:
            tag = parts[0]
        elif len(parts) == 3:
            tag, index = parts[0], parts[1]
        is_valid = (
            len(parts) <= 3
            and _NAME.fullmatch(name)
            and (len(parts) == 1 or _TAG.fullmatch(tag))
            and index.isascii()
            and index.isdigit()
            and len(index) <= 6
        )
        if not is_valid:
            msg = (
                f'{which} "{text}": expected `name`, `TAG:name` or `TAG:index:name` '
                "with a lower-case name and an upper-case tag"
            )
            raise GraphConfigError(_WRONG_NAME[which], self._file, line, msg)
        return StreamName(tag, int(index), name, line)

    def _check_indexes(self, names: Iterable[StreamName], which: str) -> None:
        seen: dict[str, dict[int, StreamName]] = {}
        for name in names:
            other = seen.setdefault(name.tag, {}).setdefault(name.index, name)
            if other is not name:
                msg = f"{which}: {name.tag}:{name.index} is used twice"
                raise self._invalid(name.line, msg)
        for tag, by_index in seen.items():
            if max(by_index) != len(by_index) - 1:
                last = by_index[max(by_index)]
                msg = f"{which}: the indexes of {tag} are not 0 … {len(by_index) - 1}"
                raise self._invalid(last.line, msg)

    def _check_directives(self) -> None:
        """OVMS's pool directive is judged as OVMS does; sessions need no pool."""
        for line, text in self._comments:
            match = _POOL_DIRECTIVE.match(text)
            if match is None:
                continue
            value = match.group(1).strip()
            if value != "AUTO" and not (value.isascii() and value.isdigit()):
                msg = (
                    "OVMS_GRAPH_QUEUE_MAX_SIZE: expected AUTO, 0 or a positive "
                    f'integer, found "{value}"'
                )
                raise self._invalid(line, msg)

    def _refuse(
        self, message: Any, position: Position, names: Sequence[str], where: str
    ) -> None:
        present = {descriptor.name for descriptor, _ in message.ListFields()}
        for name in names:
            if name in present:
                raise self._not_yet(position.at(name), f"{where}`{name}`")

    def _not_yet(self, line: int, what: str) -> GraphConfigError:
        return self._invalid(line, f"{what} is not supported yet")


_WRONG_NAME: Final[Mapping[str, Status]] = {
    "input_stream": Status.MEDIAPIPE_WRONG_INPUT_STREAM_PACKET_NAME,
    "output_stream": Status.MEDIAPIPE_WRONG_OUTPUT_STREAM_PACKET_NAME,
    "input_side_packet": Status.MEDIAPIPE_WRONG_INPUT_SIDE_PACKET_STREAM_PACKET_NAME,
    "output_side_packet": Status.MEDIAPIPE_WRONG_INPUT_SIDE_PACKET_STREAM_PACKET_NAME,
}


def _label(node: Any) -> str:
    return node.name or node.calculator
