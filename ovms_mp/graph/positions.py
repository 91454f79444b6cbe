"""Where in a pbtxt each field stands: what protobuf's own parser does not tell. It reads
only structure and leaves judgement to that parser.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

_TOKEN: Final = re.compile(
    r"""(?P<comment>\#[^\n]*)
      | (?P<string>"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')
      | (?P<word>[\w.+-]+)
      | (?P<mark>[{}<>\[\]:;,/])""",
    re.VERBOSE,
)
_CLOSING: Final = {"{": "}", "<": ">"}

# Deeper than any real graph, shallower than Python's own recursion limit.
MAX_DEPTH: Final = 64


class PbtxtTooDeep(Exception):
    """Messages are nested deeper than MAX_DEPTH."""

    def __init__(self, line: int) -> None:
        super().__init__(f"messages are nested deeper than {MAX_DEPTH} levels")
        self.line = line


@dataclass(slots=True)
class Position:
    """The line of a value, and for a message the values of its fields, in order.

    `text` is a value without its quotes. `start` and `end` are where the field stands
    in the text, `body` is where the inside of a message does.
    """

    line: int
    text: str = ""
    start: int = 0
    body: tuple[int, int] = (0, 0)
    end: int = 0
    fields: dict[str, list[Position]] = field(
        default_factory=dict[str, "list[Position]"]
    )

    def at(self, name: str, index: int = 0) -> int:
        """Line of the `index`-th value of a field; of this value if that is unknown."""
        values = self.fields.get(name, ())
        return values[index].line if index < len(values) else self.line

    def child(self, name: str, index: int = 0) -> Position:
        """Position of the `index`-th value of a field; this one if that is unknown."""
        values = self.fields.get(name, ())
        return values[index] if index < len(values) else self


class _Token(NamedTuple):
    line: int
    kind: str
    text: str
    start: int

    @property
    def end(self) -> int:
        return self.start + len(self.text)


def read(text: str) -> Position:
    """Positions in a text-format message. Where the text is malformed they end. Raises
    PbtxtTooDeep.
    """
    root = Position(1)
    _Reader(text).message(root, "", 0)
    return root


class _Reader:
    def __init__(self, text: str) -> None:
        self._tokens = self._scan(text)
        self._ahead = next(self._tokens, None)
        self._end = 0

    def _scan(self, text: str) -> Iterator[_Token]:
        line, end = 1, 0
        for match in _TOKEN.finditer(text):
            line += text.count("\n", end, match.start())
            end = match.start()
            kind, token = str(match.lastgroup), match.group()
            if kind != "comment":
                yield _Token(line, kind, token, end)

    def _take(self) -> _Token | None:
        token, self._ahead = self._ahead, next(self._tokens, None)
        if token is not None:
            self._end = token.end
        return token

    def _skip(self, *marks: str) -> None:
        while self._ahead is not None and self._ahead.text in marks:
            self._take()

    def message(self, position: Position, closing: str, depth: int) -> None:
        """Read fields up to the closing brace."""
        if depth > MAX_DEPTH:
            raise PbtxtTooDeep(position.line)
        while (token := self._take()) is not None:
            if token.text == closing and token.kind == "mark":
                position.body = (position.body[0], token.start)
                return
            if token.text in {",", ";"}:
                continue
            name = self._bracketed() if token.text == "[" else token.text
            self._skip(":")
            self._value(position, name, depth, token.start)

    def _bracketed(self) -> str:
        """The name of an extension or of the type in an Any: `[a.b / c.D]`."""
        parts: list[str] = []
        while (token := self._take()) is not None and token.text != "]":
            parts.append(token.text)
        return "[" + "".join(parts) + "]"

    def _value(self, position: Position, name: str, depth: int, start: int) -> None:
        token = self._take()
        if token is None:
            return
        if token.text == "[" and token.kind == "mark":
            if depth > MAX_DEPTH:
                raise PbtxtTooDeep(token.line)
            while self._ahead is not None and self._ahead.text != "]":
                self._value(position, name, depth + 1, start)
                self._skip(",")
            self._take()
            return
        value = Position(token.line, start=start)
        position.fields.setdefault(name, []).append(value)
        if token.kind == "mark" and token.text in _CLOSING:
            value.body = (token.end, token.end)
            self.message(value, _CLOSING[token.text], depth + 1)
        elif token.kind == "string":
            value.text = token.text[1:-1]
            while self._ahead is not None and self._ahead.kind == "string":
                self._take()  # adjacent strings are one value
        else:
            value.text = token.text
        value.end = self._end
