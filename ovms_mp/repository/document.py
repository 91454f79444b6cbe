"""A JSON document is read strictly, and a complaint names the place it is about.

Strict: UTF-8, no repeated keys, no NaN or infinity, no key that the reader does not know.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NoReturn, TypeAlias, cast

from ovms_mp.core.errors import ServingError, Status

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

Scalar: TypeAlias = str | bool | int | float

# A config of 10,000 models has about 2 MiB.
MAX_BYTES: Final = 4 * 1024 * 1024
# A config of all sections is 7 deep; what is deeper is refused before it is looked at.
MAX_DEPTH: Final = 64


@dataclass(frozen=True, slots=True)
class _Repeated:
    """Stands for an object in which a key occurs twice; fits no expectation."""

    key: str


@dataclass(frozen=True, slots=True)
class Node:
    """A value in a document, and the path by which a complaint names it.

    Every method raises ServingError (JSON_INVALID) if the value is not what it asks for.
    """

    value: object
    source: str
    path: str = ""

    @property
    def where(self) -> str:
        """The document and the place in it, for an operator."""
        return f"{self.source}: {self.path}" if self.path else self.source

    def refuse(self, complaint: str) -> NoReturn:
        """Raise ServingError saying what is wrong here."""
        raise ServingError(Status.JSON_INVALID, f"{self.where}: {complaint}")

    def members(
        self, known: Collection[str], required: Collection[str] = ()
    ) -> dict[str, Node]:
        """The members of an object that may only have the known keys."""
        members = self.mapping()
        for key, member in members.items():
            if key not in known:
                member.refuse("unknown key")
        for key in required:
            if key not in members:
                self.refuse(f"key {json.dumps(key)} is missing")
        return members

    def mapping(self) -> dict[str, Node]:
        """The members of an object whose keys are free."""
        if isinstance(self.value, _Repeated):
            self.refuse(f"key {json.dumps(self.value.key)} is given twice")
        if not isinstance(self.value, dict):
            self._expected("an object")
        members = cast("dict[str, object]", self.value)
        return {
            key: Node(value, self.source, _join(self.path, key))
            for key, value in members.items()
        }

    def elements(self) -> list[Node]:
        """The elements of an array."""
        if not isinstance(self.value, list):
            self._expected("an array")
        elements = cast("list[object]", self.value)
        return [
            Node(value, self.source, f"{self.path}[{index}]")
            for index, value in enumerate(elements)
        ]

    def text(self) -> str:
        """A string that can name a file or a servable: no NUL, no lone surrogate."""
        if not isinstance(self.value, str):
            self._expected("a string")
        if any(c == "\0" or "\ud800" <= c <= "\udfff" for c in self.value):
            self.refuse("NUL or a lone surrogate in a string")
        return self.value

    def boolean(self) -> bool:
        """True or false."""
        if not isinstance(self.value, bool):
            self._expected("true or false")
        return self.value

    def integer(self, least: int = 0) -> int:
        """An integer of at least `least` that fits in 64 bits."""
        if isinstance(self.value, bool) or not isinstance(self.value, int):
            self._expected("an integer")
        if not least <= self.value < 2**63:
            self.refuse(f"expected an integer of at least {least}, got {self.value}")
        return self.value

    def scalar(self) -> Scalar:
        """A string, a boolean or a finite number."""
        if isinstance(self.value, str):
            return self.text()
        if not isinstance(self.value, bool | int | float):
            self._expected("a string, a number or a boolean")
        if not math.isfinite(self.value):
            self.refuse(f"expected a finite number, got {self.value}")
        return self.value

    def _expected(self, what: str) -> NoReturn:
        self.refuse(f"expected {what}, got {_describe(self.value)}")


def read(file: Path) -> Node:
    """The document in a file.

    Raises ServingError: FILE_INVALID if it cannot be read or is larger than 4 MiB,
    JSON_INVALID, with line and column where they are known, if it is not strict JSON.
    """
    try:
        with file.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
    except OSError as error:
        details = f"{file}: {error.strerror}"
        raise ServingError(Status.FILE_INVALID, details) from error
    if len(content) > MAX_BYTES:
        details = f"{file}: larger than {MAX_BYTES} bytes"
        raise ServingError(Status.FILE_INVALID, details)
    return parse(content, str(file))


def parse(content: bytes, source: str) -> Node:
    """The document in `content`; complaints call it `source`. Raises ServingError."""
    try:
        value: object = json.loads(
            content.decode("utf-8-sig"), object_pairs_hook=_unique
        )
    except json.JSONDecodeError as error:
        complaint = f"line {error.lineno}, column {error.colno}: {error.msg}"
    except UnicodeDecodeError as error:
        complaint = f"byte {error.start} is not UTF-8"
    except RecursionError:
        complaint = f"nested deeper than {MAX_DEPTH} levels"
    except ValueError:
        # int() refuses more than 4,300 digits, so that they cannot cost quadratic time.
        complaint = "a number has too many digits"
    else:
        if _is_deeper(value, MAX_DEPTH):
            Node(value, source).refuse(f"nested deeper than {MAX_DEPTH} levels")
        return Node(value, source)
    raise ServingError(Status.JSON_INVALID, f"{source}: {complaint}")


def _unique(pairs: list[tuple[str, object]]) -> object:
    members = dict(pairs)
    if len(members) == len(pairs):
        return members
    seen: set[str] = set()
    for key, _ in pairs:
        if key in seen:
            return _Repeated(key)
        seen.add(key)
    return members


def _is_deeper(value: object, levels: int) -> bool:
    layer: list[object] = [value]
    for _ in range(levels):
        layer = [
            child
            for parent in layer
            if isinstance(parent, dict | list)
            for child in (
                cast("dict[str, object]", parent).values()
                if isinstance(parent, dict)
                else cast("list[object]", parent)
            )
        ]
        if not layer:
            return False
    return any(isinstance(child, dict | list) for child in layer)


def _join(path: str, key: str) -> str:
    shown = key if key.isidentifier() and key.isascii() else json.dumps(key)
    return f"{path}.{shown}" if path else shown


def _describe(value: object) -> str:
    if isinstance(value, dict | _Repeated):
        return "an object"
    if isinstance(value, list):
        return "an array"
    shown = json.dumps(value)
    return shown if len(shown) <= 40 else f"{shown[:39]}…"
