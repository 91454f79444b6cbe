"""A pbtxt file becomes MediaPipe's CalculatorGraphConfig message and the positions of
its fields, or an error with file and line; nothing of it is judged here.

Options of a calculator may be a message that only its plug-in knows, from any
descriptor pool: who reads a graph says which by the calculator's name.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from google.protobuf import text_format
from google.protobuf.message import DecodeError, EncodeError, Message
from ovms_mp_protos import graph as protos

from ovms_mp.core.errors import ServingError, Status
from ovms_mp.graph import positions
from ovms_mp.graph.positions import Position

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

# A graph is written by people; the largest of MediaPipe's own has 20 KB.
MAX_FILE_BYTES: Final = 4 << 20

# A token that the parser quotes may be as long as the file.
MAX_MESSAGE: Final = 300
MAX_LINE: Final = 600

_LEGACY: Final = ("external_input", "external_output")

OptionsOf = Callable[[str], type[Message] | None]
"""The options message of a calculator by the calculator's name, if it has one; raises
OptionsUnavailable when it has one that cannot be had here.
"""


class OptionsUnavailable(Exception):
    """Why what a calculator needs is not installed; told if its options are read."""


class NoCalculator(OptionsUnavailable):
    """Why there is none of this name; told beside options of an unknown type."""


class GraphConfigError(ServingError):
    """A graph cannot be served; the text begins with `file:line:` and has three lines at
    most, whatever stands in the names that it quotes.
    """

    def __init__(self, status: Status, file: str, line: int, message: str) -> None:
        super().__init__(status, _printable(f"{file}:{line}: {message}"))
        self.file = file
        self.line = line


def _printable(text: str) -> str:
    first, *users = re.split(r"\n(?=in subgraph )", text)
    lines = [first, *users[:1], " ".join(users[1:])] if users[1:] else [first, *users]
    return "\n".join(
        _shortened(re.sub(r"[\x00-\x1f\x7f-\x9f]+", " ", each)) for each in lines
    )


def _shortened(line: str) -> str:
    if len(line) <= MAX_LINE:
        return line
    return f"{line[: MAX_LINE // 2]} … {line[-MAX_LINE // 2 :]}"


def invalid(file: str, line: int, message: str) -> GraphConfigError:
    """The error for a text that is no graph."""
    return GraphConfigError(
        Status.MEDIAPIPE_GRAPH_CONFIG_FILE_INVALID, file, line, message
    )


def refused(file: str, line: int, message: str) -> GraphConfigError:
    """The error for a graph that MediaPipe would not initialize."""
    return GraphConfigError(
        Status.MEDIAPIPE_GRAPH_INITIALIZATION_ERROR, file, line, message
    )


class Types:
    """Message classes by full name: the plug-ins' that a text needs, then ours. Stands
    in for the descriptor pool of text_format.
    """

    def __init__(self, classes: Iterable[type[Message]] = ()) -> None:
        self._classes = {each.DESCRIPTOR.full_name: each for each in classes}

    def FindMessageTypeByName(self, full_name: str) -> Any:  # noqa: N802 - text_format's
        """Raises KeyError."""
        return self.message_class(full_name).DESCRIPTOR

    def message_class(self, full_name: str) -> type[Message]:
        """Raises KeyError."""
        known = self._classes.get(full_name)
        return known or protos.message_class(full_name)

    def extensions(self) -> Mapping[str, type[Message]]:
        """Extensions of CalculatorOptions that only plug-ins know, by full name."""
        found: dict[str, type[Message]] = {}
        for each in self._classes.values():
            of_message: Any = each.DESCRIPTOR
            every = [
                *of_message.extensions_by_name.values(),
                *of_message.file.extensions_by_name.values(),
            ]
            for extension in every:
                extended = extension.containing_type.full_name
                is_mine = extension.message_type is of_message
                if is_mine and extended == "mediapipe.CalculatorOptions":
                    found[extension.full_name] = each
        for name in list(found):
            with contextlib.suppress(KeyError):
                protos.pool.FindExtensionByName(name)
                del found[name]
        return found


@dataclass(frozen=True, slots=True)
class GraphText:
    """A pbtxt that has been parsed. `file` is its name without directories, `source`
    all that stands in it.
    """

    file: str
    source: str
    message: Any
    position: Position
    types: Types


def contents(path: Path) -> bytes:
    """The bytes of a pbtxt file. Raises ServingError FILE_INVALID."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        details = f"{path.name}: {os.strerror(error.errno or 0)}"
        raise ServingError(Status.FILE_INVALID, details) from error
    if len(data) > MAX_FILE_BYTES:
        details = f"{path.name} is larger than {MAX_FILE_BYTES} bytes"
        raise ServingError(Status.FILE_INVALID, details)
    return data


def parse(data: bytes, file: str, options: OptionsOf | None = None) -> GraphText:
    """Parse a pbtxt. Raises GraphConfigError."""
    return _Parser(data, file, options).parsed()


class _Parser:
    def __init__(self, data: bytes, file: str, options: OptionsOf | None) -> None:
        self._file = file
        try:
            self._text = data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            raise invalid(file, line, "not UTF-8 text") from error
        try:
            self._position = positions.read(self._text)
        except positions.PbtxtTooDeep as error:
            raise invalid(file, error.line, str(error)) from error
        self._unavailable: list[tuple[Position, str]] = []
        self._missing: dict[str, str] = {}
        self._types = Types(self._plug_ins(options) if options else ())

    def _plug_ins(self, options: OptionsOf) -> Iterator[type[Message]]:
        named: dict[str, list[Position]] = {}
        left = [self._position]
        while left:
            at = left.pop()
            for field, values in at.fields.items():
                if field in {"calculator", "packet_generator", "packet_factory"}:
                    for each in values:
                        named.setdefault(each.text, []).append(at)
                left.extend(values)
        named.pop("", None)
        for name in sorted(named):
            try:
                if (message := options(name)) is not None:
                    yield message
            except NoCalculator as error:
                self._missing[name] = str(error)
            except OptionsUnavailable as error:
                self._unavailable += [(at, str(error)) for at in named[name]]

    def parsed(self) -> GraphText:
        extensions = self._types.extensions()
        foreign = list(self._foreign(extensions)) if extensions else []
        message = self._parse(self._without(at for _, _, at in foreign))
        for number, name, at in foreign:
            options = extensions[name]()
            self._parse(self._text[slice(*at.body)], options, at.line)
            try:
                message.node[number].node_options.add().Pack(options)
            except EncodeError as error:
                raise invalid(self._file, at.line, str(error)) from error
        return GraphText(self._file, self._text, message, self._position, self._types)

    def _foreign(
        self, extensions: Mapping[str, type[Message]]
    ) -> Iterator[tuple[int, str, Position]]:
        """Fields of nodes' `options` that only a plug-in's pool knows: the number of
        the node, the extension, where it stands.
        """
        for number, node in enumerate(self._position.fields.get("node", ())):
            for options in node.fields.get("options", ()):
                for field, values in options.fields.items():
                    name = field.strip("[]")
                    if field.startswith("[") and name in extensions:
                        yield from ((number, name, at) for at in values)

    def _without(self, fields: Iterable[Position]) -> str:
        """The text with blanks for these fields, which leaves every line in place."""
        pieces: list[str] = []
        end = 0
        for at in sorted(fields, key=lambda each: each.start):
            pieces += [
                self._text[end : at.start],
                _blank(self._text[at.start : at.end]),
            ]
            end = at.end
        return "".join([*pieces, self._text[end:]])

    def _parse(self, text: str, message: Any = None, first_line: int = 1) -> Any:
        message = protos.CalculatorGraphConfig() if message is None else message
        types: Any = self._types
        try:
            text_format.Parse(text, message, descriptor_pool=types)
        except text_format.ParseError as error:
            line = error.GetLine()
            line = None if line is None else line + first_line - 1
            raise self._parse_error(str(error), line) from error
        except (EncodeError, DecodeError, ValueError, RecursionError) as error:
            # A required field that is missing inside an Any; the parser gives no line.
            raise self._parse_error(str(error), None) from error
        return message

    def _parse_error(self, message: str, line: int | None) -> GraphConfigError:
        message = re.sub(r"^\d+:\d+ : ", "", message)
        message = " ".join(message.split())[:MAX_MESSAGE]
        if line is None:
            line = self._line_of_type_in(message)
        for at, why in self._unavailable:
            if self._spans(at, line):
                return refused(self._file, at.line, f"{_label(at)}{why}")
        for at in self._position.fields.get("node", ()):
            if self._spans(at, line):
                why = self._missing.get(at.child("calculator").text)
                if why and _is_of_unknown_type(message):
                    message = f"{why}; {message}"
                return invalid(self._file, line, f"{_label(at)}{message}")
        return invalid(self._file, line, message)

    def _spans(self, at: Position, line: int) -> bool:
        return at.line <= line <= at.line + self._text.count("\n", at.start, at.end)

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


def _is_of_unknown_type(message: str) -> bool:
    """What the parser says of a type or an extension that it does not find."""
    return "not found in descriptor pool" in message or "not registered" in message


def _label(node: Position) -> str:
    label = node.child("name").text or node.child("calculator").text
    return f'node "{label}": ' if label else ""


def _blank(text: str) -> str:
    """As many lines of nothing."""
    return re.sub(r"[^\n]", " ", text)


def legacy_fields(message: Any) -> Iterator[str]:
    """The fields of that message that are set and that nobody reads since long ago."""
    for field, _ in message.ListFields():
        if field.name in _LEGACY:
            yield field.name
