"""What a TFLite file says of its custom operators beside their tensors: OpenVINO's reader
knows it, and hands it to nobody.

Of the file's FlatBuffer only this much is read: models, their operator codes, subgraphs,
and the operators of these (tensorflow/compiler/mlir/lite/schema/schema.fbs).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

# The number of each field in its table.
_MODEL_CODES: Final = 1
_MODEL_SUBGRAPHS: Final = 2
_CODE_CUSTOM: Final = 1
_SUBGRAPH_OPERATORS: Final = 3
_OPERATOR_CODE: Final = 0
_OPERATOR_OPTIONS: Final = 5


def custom_operators(content: bytes) -> list[tuple[str, bytes]]:
    """The name of each custom operator and its `custom_options`, in the order of the
    file. Raises ValueError for what is no TFLite file.
    """
    try:
        model = _Table(content, _target(content, 0))
        codes = [code.text(_CODE_CUSTOM) for code in model.tables(_MODEL_CODES)]
        return [
            (name, operator.octets(_OPERATOR_OPTIONS))
            for subgraph in model.tables(_MODEL_SUBGRAPHS)
            for operator in subgraph.tables(_SUBGRAPH_OPERATORS)
            if (name := codes[operator.number(_OPERATOR_CODE)])
        ]
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise ValueError("not a TFLite file") from error


class _Table:
    """A table of a FlatBuffer; a field that is not there has its default."""

    def __init__(self, content: bytes, place: int) -> None:
        self._content = content
        self._place = place
        (back,) = struct.unpack_from("<i", content, place)
        self._fields = place - back
        (self._size,) = struct.unpack_from("<H", content, self._fields)

    def number(self, field: int) -> int:
        place = self._field(field)
        return struct.unpack_from("<I", self._content, place)[0] if place else 0

    def text(self, field: int) -> str:
        return self.octets(field).decode()

    def octets(self, field: int) -> bytes:
        place = self._field(field)
        if not place:
            return b""
        start, length = self._vector(place)
        return self._content[start : start + length]

    def tables(self, field: int) -> Iterator[_Table]:
        place = self._field(field)
        if not place:
            return
        start, length = self._vector(place)
        for number in range(length):
            yield _Table(self._content, _target(self._content, start + 4 * number))

    def _vector(self, place: int) -> tuple[int, int]:
        """Where its elements begin, and how many there are."""
        start = _target(self._content, place)
        (length,) = struct.unpack_from("<I", self._content, start)
        return start + 4, length

    def _field(self, field: int) -> int:
        """Where the field is; 0 if it is not there."""
        entry = 4 + 2 * field
        if entry >= self._size:
            return 0
        (offset,) = struct.unpack_from("<H", self._content, self._fields + entry)
        return self._place + offset if offset else 0


def _target(content: bytes, place: int) -> int:
    return place + struct.unpack_from("<I", content, place)[0]
