"""A tensor's values in JSON, and as the bytes that they are everywhere else.

JSON has numbers, and what does not fit the datatype is refused: nothing is cut, rounded to
another integer or turned into infinity. It has no NaN and no infinity: these are the
strings "NaN", "Infinity" and "-Infinity" (as in protobuf's JSON), which numpy reads, too.
BYTES are strings in UTF-8, or `{"b64": ...}` where they are none.
"""

from __future__ import annotations

import base64
import binascii
from itertools import chain
from math import inf, nan
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

import numpy as np
import orjson

from ovms_mp.core.tensor import BYTES, Array, Datatype
from ovms_mp.frontend.http.errors import Problem, Refusal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ovms_mp.core.messages import Buffer

MAX_DEPTH: Final = 100
"""Levels of arrays in `data` (OVMS's, of the whole document)."""

BF16: Final = "BF16"

Values: TypeAlias = "list[Any]"
"""What JSON has: numbers, bools, strings, objects, null, and arrays of these."""

_WORDS: Final[Mapping[str, float]] = {"NaN": nan, "Infinity": inf, "-Infinity": -inf}
_PREFIX: Final = 4
_FLOATS: Final[Mapping[str, np.dtype[Any]]] = {
    BF16: np.dtype("<f4"),
    **{each.name: each.dtype for each in Datatype if each.dtype.kind == "f"},
}


def element_size(datatype: str) -> int | None:
    """Bytes of one element; None if they differ, or nobody knows."""
    if datatype == BF16:
        return 2
    found = Datatype.from_name(datatype)
    return None if found is None else found.dtype.itemsize


# From JSON


def numbers(data: Values, datatype: str, name: str) -> Array:
    """`data`, flat or nested, as a flat array of the wire's elements (BF16: uint16).

    Raises Refusal, which names the input.
    """
    flat = flattened(data, name)
    kinds = set(map(type, flat))
    if datatype in _FLOATS:
        return _floats(flat, kinds, datatype, name)
    found = Datatype.from_name(datatype)
    if found is None:
        raise Refusal(Problem.UNSUPPORTED_PRECISION, f"{datatype}; input name: {name}")
    if found is Datatype.BOOL:
        _expect(kinds, {bool}, "true and false", name)
        return np.array(flat, np.bool_)
    _expect(kinds, {int}, f"integers for {datatype}", name)
    return _integers(flat, found, name)


def texts(data: Values, name: str) -> list[bytes]:
    """The elements of BYTES. Raises Refusal."""
    return [_text(each, name) for each in flattened(data, name)]


def flattened(data: Values, name: str) -> Values:
    """`data` without the arrays in it. Raises Refusal if they are not of one shape."""
    depth = 1
    while data and type(data[0]) is list:
        depth += 1
        if depth > MAX_DEPTH:
            raise Refusal(Problem.JSON_NESTING_DEPTH_EXCEEDED)
        if set(map(type, data)) != {list} or len(set(map(len, data))) > 1:
            details = f"arrays of different lengths; input name: {name}"
            raise Refusal(Problem.COULD_NOT_PARSE_INPUT, details)
        data = list(chain.from_iterable(data))
    return data


def _expect(kinds: set[type], known: set[type], what: str, name: str) -> None:
    if kinds <= known:
        return
    strange = min(_KINDS.get(each, each.__name__) for each in kinds - known)
    details = f"Expected: {what}; Actual: {strange}; input name: {name}"
    raise Refusal(Problem.COULD_NOT_PARSE_INPUT, details)


_KINDS: Final[Mapping[type, str]] = {
    type(None): "null",
    bool: "true or false",
    int: "an integer",
    float: "a number that is no integer",
    str: "a string",
    dict: "an object",
    list: "an array",
}


def _integers(flat: Values, datatype: Datatype, name: str) -> Array:
    limits = np.iinfo(datatype.dtype)
    if flat and not limits.min <= min(flat) <= max(flat) <= limits.max:
        worst = min(flat) if min(flat) < limits.min else max(flat)
        details = f"{worst} is no {datatype.name}; input name: {name}"
        raise Refusal(Problem.COULD_NOT_PARSE_INPUT, details)
    return np.array(flat, datatype.dtype)


def _floats(flat: Values, kinds: set[type], datatype: str, name: str) -> Array:
    words = (
        'numbers, "NaN", "Infinity" or "-Infinity"' if str in kinds else "numbers"
    ) + f" for {datatype}"
    if str in kinds:
        flat = [_WORDS.get(each, each) if type(each) is str else each for each in flat]
        kinds = set(map(type, flat))
    _expect(kinds, {int, float}, words, name)
    wide = np.array(flat, np.float64)
    with np.errstate(over="ignore"):
        narrow = wide.astype(_FLOATS[datatype])
    made = _to_bf16(narrow) if datatype == BF16 else narrow
    check = _from_bf16(made) if datatype == BF16 else narrow
    lost = np.isinf(check) & np.isfinite(wide)
    if lost.any():
        details = f"{wide[lost][0]:g} is no {datatype}; input name: {name}"
        raise Refusal(Problem.COULD_NOT_PARSE_INPUT, details)
    return made


def _to_bf16(values: Array) -> Array:
    """To the nearest, the even one of two, as processors do."""
    bits = values.view(np.uint32)
    rounded = (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> (
        np.uint32(16)
    )
    return np.where(np.isnan(values), 0x7FC0, rounded).astype("<u2")


def _from_bf16(bits: Array) -> Array:
    return (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)


def _text(value: Any, name: str) -> bytes:
    if type(value) is str:
        return value.encode()
    if type(value) is dict:
        coded = cast("dict[str, object]", value)
        text = coded.get("b64")
        if len(coded) == 1 and type(text) is str:
            try:
                return base64.b64decode(text, validate=True)
            except (binascii.Error, ValueError):
                details = f"b64 is not base64; input name: {name}"
                raise Refusal(Problem.COULD_NOT_PARSE_INPUT, details) from None
    strange = _KINDS.get(cast("object", value).__class__, "something else")
    details = f'Expected: strings or {{"b64": ...}} for BYTES; Actual: {strange}; '
    raise Refusal(Problem.COULD_NOT_PARSE_INPUT, f"{details}input name: {name}")


# To JSON


def in_json(data: Buffer, datatype: str, name: str) -> Array | Values:
    """The content of an output as what orjson makes a flat array of. Raises Refusal if
    JSON has no form for it.
    """
    if datatype == BYTES:
        return [_word(each) for each in _elements(data, name)]
    found = Datatype.from_name(datatype)
    if datatype == BF16:
        array = _from_bf16(np.frombuffer(data, "<u2"))
    elif found is not None:
        array = np.frombuffer(data, found.dtype)
    else:
        details = f"JSON has no form for {datatype}, ask for binary_data; output name: "
        raise Refusal(Problem.COULD_NOT_PARSE_OUTPUT, f"{details}{name}")
    if array.dtype.kind != "f" or (is_number := np.isfinite(array)).all():
        return array
    # As short as other numbers are, not as long as Python would have them.
    values: Values = orjson.loads(
        orjson.dumps(array, option=orjson.OPT_SERIALIZE_NUMPY)
    )
    for index in np.flatnonzero(~is_number):
        value = array[index]
        values[index] = "NaN" if np.isnan(value) else _SIGNS[bool(value > 0)]
    return values


_SIGNS: Final = {True: "Infinity", False: "-Infinity"}


def _word(element: memoryview) -> str | dict[str, str]:
    try:
        return str(element, "utf-8")
    except UnicodeDecodeError:
        return {"b64": base64.b64encode(element).decode()}


def _elements(data: Buffer, name: str) -> list[memoryview]:
    """Each stands behind its length, four bytes little-endian (KServe)."""
    view = memoryview(data)
    found: list[memoryview] = []
    at = 0
    while at < len(view):
        start = at + _PREFIX
        at = start + int.from_bytes(view[at:start], "little")
        if start > len(view) or at > len(view):
            details = (
                f"not BYTES as KServe has them, ask for binary_data; output: {name}"
            )
            raise Refusal(Problem.COULD_NOT_PARSE_OUTPUT, details)
        found.append(view[start:at])
    return found
