"""What a ModelInferRequest holds is known from its wire before it is parsed: too many
fields are refused while that is cheap, and bulk data is found by offset, not copied.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple, NoReturn

import numpy as np

from ovms_mp.core.tensor import Array
from ovms_mp.frontend.grpc.packed import BrokenNumbers, unpack

# Thousands of tensors are an attack: 32 MiB of empty inputs parse to 1.4 GiB in seconds.
MAX_FIELDS: Final = 4096
# No layer of a network has half as many; numpy ends at 32 or 64.
MAX_RANK: Final = 16
# No field is shorter than two bytes, so what is not longer cannot break the limit.
HARMLESS_SIZE: Final = 2 * MAX_FIELDS

_VARINT, _FIXED64, _DELIMITED, _FIXED32 = 0, 1, 2, 5
_MAX_TAG: Final = 2**32 - 1
_MAX_TAG_SIZE: Final = 5
_MAX_VARINT_SIZE: Final = 10


def delimited(number: int) -> int:
    """The tag of field `number` where its value has a length: strings, messages."""
    return number << 3 | _DELIMITED


# ModelInferRequest
_PARAMETERS: Final = delimited(4)
_INPUTS: Final = delimited(5)
_OUTPUTS: Final = delimited(6)
_RAW_INPUT_CONTENTS: Final = delimited(7)
# ModelInferRequest.InferInputTensor
_INPUT_SHAPE: Final = delimited(3)
_INPUT_PARAMETERS: Final = delimited(4)
_INPUT_CONTENTS: Final = delimited(5)
# ModelInferRequest.InferRequestedOutputTensor
_OUTPUT_PARAMETERS: Final = delimited(2)
# InferTensorContents, but for bytes_contents: one packed field holds all elements.
_PACKED: Final = {
    delimited(number): (name, np.dtype(dtype))
    for number, name, dtype in (
        (1, "bool_contents", np.bool_),
        (2, "int_contents", "<i4"),
        (3, "int64_contents", "<i8"),
        (4, "uint_contents", "<u4"),
        (5, "uint64_contents", "<u8"),
        (6, "fp32_contents", "<f4"),
        (7, "fp64_contents", "<f8"),
    )
}


class MalformedMessage(Exception):
    """The bytes are not the message that the method expects; the text says why."""


class PackedContents(NamedTuple):
    """Contents of an input in one packed field; floats are a view on the message."""

    contents_field: str
    values: Array


_NOTHING: Final[Mapping[int, PackedContents]] = {}


class Scan(NamedTuple):
    """`rest` is the message without what the other two hold: protobuf, to be parsed.

    `raw` are the raw_input_contents in order, views that keep the message alive;
    `packed` has typed contents by the index of their input.
    """

    rest: bytes
    raw: tuple[memoryview, ...] = ()
    packed: Mapping[int, PackedContents] = _NOTHING


_OCTETS: Final = tuple(bytes((value,)) for value in range(0x80))


def scan(message: bytes, view: memoryview | None = None) -> Scan:
    """Take a ModelInferRequest apart. Elements of `bytes_contents` are not limited. What
    is found by offset is a part of `view`, which is one of the message.

    Raises MalformedMessage for an invalid wire, for more than 4096 inputs, outputs,
    parameters and raw contents together, and for a shape that no tensor can have.
    """
    try:
        return _Scanner(message, view).scan()
    except IndexError:
        _refuse("it ends within a field")


def varint(value: int) -> bytes:
    """`value`, which is not negative, as protobuf writes it."""
    if value <= 0x7F:
        return _OCTETS[value]
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def first_text(message: bytes) -> str:
    """The text of field 1, by which KServe's requests name what they are for; "" if the
    message does not begin with it, or is broken.
    """
    size = message[1] if len(message) > 1 and message[0] == delimited(1) else 0
    begin = 2
    if size > 0x7F:
        if len(message) < 3 or message[2] > 0x7F:
            return ""  # no name is that long
        size, begin = size & 0x7F | message[2] << 7, 3
    return message[begin : begin + size].decode(errors="replace")


class _Scanner:
    __slots__ = ("_budget", "_inputs", "_kept", "_message", "_packed", "_rest", "_view")

    def __init__(self, message: bytes, view: memoryview | None) -> None:
        self._message = message
        self._view = memoryview(message) if view is None else view
        self._budget = MAX_FIELDS
        self._inputs = 0
        self._packed: dict[int, PackedContents] = {}
        self._rest: list[bytes | memoryview] = []
        self._kept = 0

    def scan(self) -> Scan:
        raw: list[memoryview] = []
        for tag, begin, value, end in _fields(self._message, 0, len(self._message)):
            if tag == _RAW_INPUT_CONTENTS:
                self._charge()
                raw.append(self._view[value:end])
                self._replace(begin, end, b"")
            elif tag == _INPUTS:
                self._charge()
                self._input(begin, value, end)
                self._inputs += 1
            elif tag == _OUTPUTS:
                self._charge()
                self._output(value, end)
            elif tag == _PARAMETERS:
                self._charge()
        self._rest.append(self._view[self._kept :])
        return Scan(b"".join(self._rest), tuple(raw), self._packed)

    def _charge(self) -> None:
        self._budget -= 1
        if self._budget < 0:
            _refuse(
                f"more than {MAX_FIELDS} inputs, outputs, parameters and raw contents"
            )

    def _input(self, begin: int, value: int, end: int) -> None:
        contents: list[tuple[int, int, int]] = []
        shape_size = 0
        for tag, part, part_value, part_end in _fields(self._message, value, end):
            if tag == _INPUT_PARAMETERS:
                self._charge()
            elif tag == _INPUT_CONTENTS:
                contents.append((part, part_value, part_end))
            elif tag >> 3 == _INPUT_SHAPE >> 3:
                shape_size += part_end - part_value
        if shape_size > MAX_RANK * _MAX_VARINT_SIZE:
            _refuse(f"a shape has more than {MAX_RANK} dimensions")
        if len(contents) != 1:
            return
        part, part_value, part_end = contents[0]
        if self._take_packed(part_value, part_end):
            size = end - value - (part_end - part)
            self._replace(begin, value, varint(_INPUTS) + varint(size))
            self._replace(part, part_end, b"")

    def _output(self, value: int, end: int) -> None:
        for tag, *_ in _fields(self._message, value, end):
            if tag == _OUTPUT_PARAMETERS:
                self._charge()

    def _take_packed(self, begin: int, end: int) -> bool:
        """Keep the contents in message[begin:end] if they are one packed field, which
        is not empty: empty ones are as good as none.
        """
        tag, _, value, first_end = next(
            _fields(self._message, begin, end), (0, 0, end, end)
        )
        if tag not in _PACKED or first_end != end or value == end:
            return False
        name, dtype = _PACKED[tag]
        try:
            values = unpack(self._view[value:end], dtype)
        except BrokenNumbers:
            _refuse(f"{name} does not hold numbers")
        self._packed[self._inputs] = PackedContents(name, values)
        return True

    def _replace(self, begin: int, end: int, by: bytes) -> None:
        self._rest.append(self._view[self._kept : begin])
        self._rest.append(by)
        self._kept = end


def _fields(data: bytes, at: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """The fields in data[at:end]: tag, where each begins, where its value does, and
    where it ends. Groups, which no KServe message has, are refused.
    """
    while at < end:
        begin = at
        tag, at = _read_varint(data, at)
        if not 8 <= tag <= _MAX_TAG or at - begin > _MAX_TAG_SIZE:
            _refuse("a field has no valid number")
        value = at
        kind = tag & 7
        if kind == _DELIMITED:
            size, value = _read_varint(data, at)
            at = value + size
        elif kind == _VARINT:
            _, at = _read_varint(data, at)
        elif kind == _FIXED64:
            at += 8
        elif kind == _FIXED32:
            at += 4
        else:
            _refuse("a field has a wire type that no field has")
        if at > end:
            _refuse("a field is longer than what holds it")
        yield tag, begin, value, at


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    """The number at `at`, and where it ends. Raises IndexError at the message's end."""
    value = data[at]
    if value < 0x80:
        return value, at + 1
    value &= 0x7F
    for size in range(1, _MAX_VARINT_SIZE):
        byte = data[at + size]
        value |= (byte & 0x7F) << 7 * size
        if byte < 0x80:
            return value, at + size + 1
    return _refuse("a number takes more than ten bytes")


def _refuse(why: str) -> NoReturn:
    raise MalformedMessage(f"Invalid message: {why}")
