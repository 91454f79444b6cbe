"""Long arrays of numbers in JSON are read and written in pieces, between which other
threads have their turn: who reads or writes JSON keeps the interpreter to himself, for
some 10 ms each megabyte.

An array is long if a flat one of numbers; of a nested one the text does not tell quickly
where it ends, and it is read at once.
"""

from __future__ import annotations

import re
import secrets
import time
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np
import orjson

from ovms_mp.core.tensor import BYTES
from ovms_mp.frontend.http import values
from ovms_mp.frontend.http.errors import Problem, Refusal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ovms_mp.core.tensor import Array

PIECE: Final = 1 << 16
"""Bytes of JSON that are read at a time, and written roughly: less than a millisecond."""

_ELEMENTS: Final = PIECE // 16
_KEY: Final = b'"data"'
_OPENS: Final = re.compile(rb"[ \t\r\n]*:[ \t\r\n]*\[")
_NO_NUMBERS: Final = (b'"', b"[", b"{")
# Stands where a long array was. Nobody else can know it.
_TOKEN: Final = secrets.token_hex(16)


class LongArrays:
    """The long arrays that were cut out of a document, and what is left of it."""

    def __init__(self, text: bytes) -> None:
        self._arrays: list[bytes] = []
        self.rest: Final = b"".join(self._cut(text))

    def of(self, data: list[Any]) -> bytes | None:
        """The array that stood where `data` is now; None if that is as it was."""
        if len(data) == 1 and type(data[0]) is dict:
            number: int | None = cast("dict[str, int]", data[0]).get(_TOKEN)
            return None if number is None else self._arrays[number]
        return None

    def _cut(self, text: bytes) -> Iterator[bytes]:
        done = at = 0
        while (at := text.find(_KEY, at)) >= 0:
            # Behind a backslash it is the end of another string.
            is_key = text[at - 1 : at] != b"\\"
            at += len(_KEY)
            opens = _OPENS.match(text, at)
            if opens is None or not is_key:
                continue
            begin = opens.end()
            end = text.find(b"]", begin)
            if end - begin <= PIECE or any(
                text.find(each, begin, end) >= 0 for each in _NO_NUMBERS
            ):
                continue
            yield text[done:begin]
            yield b'{"%s":%d}' % (_TOKEN.encode(), len(self._arrays))
            self._arrays.append(text[begin:end])
            done = at = end
        yield text[done:]


def read(text: bytes, datatype: str, name: str) -> Array:
    """The numbers of a long array, see `values.numbers`. Raises Refusal."""
    arrays: list[Array] = []
    at = 0
    while at <= len(text):
        end = text.find(b",", at + PIECE)
        end = len(text) if end < 0 else end
        piece = text[at:end]
        try:
            data = orjson.loads(b"[%s]" % piece)
        except orjson.JSONDecodeError as error:
            raise Refusal(Problem.JSON_INVALID, error.msg) from None
        if not data:
            raise Refusal(Problem.JSON_INVALID, "an array ends with a comma")
        if datatype == BYTES:
            values.texts(data, name)  # which these are not
        arrays.append(values.numbers(data, datatype, name))
        at = end + 1
        time.sleep(0)
    return np.concatenate(arrays)


def write(data: Array | list[Any]) -> Iterator[bytes]:
    """An array in JSON; what has not got the interpreter may have it in between."""
    if len(data) <= _ELEMENTS:
        yield _json(data)
        return
    for at in range(0, len(data), _ELEMENTS):
        yield b"," if at else b"["
        yield _json(data[at : at + _ELEMENTS])[1:-1]
        time.sleep(0)
    yield b"]"


def _json(data: Array | list[Any]) -> bytes:
    return orjson.dumps(data, option=orjson.OPT_SERIALIZE_NUMPY)
