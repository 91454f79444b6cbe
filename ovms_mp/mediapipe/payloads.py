"""What packets hold, where a Python value alone would not say which C++ type is meant.

Each is the value that our calculators take, with a name for its type: an int that is a
uint8 goes through a graph and is one when it comes out.
"""

from __future__ import annotations

from typing import Any, ClassVar, Final

import numpy as np
from google.protobuf.message import Message

from ovms_mp.core.image import ImageFrame as Pixels
from ovms_mp.formats.messages import message_name


class SizedInt(int):
    """An int of a certain size; a plain int is C++'s `int`."""

    type_name: ClassVar[str] = "int"


class Int8(SizedInt):
    """-2**7 to 2**7 - 1."""

    type_name = "signed char"


class Int16(SizedInt):
    """-2**15 to 2**15 - 1."""

    type_name = "short"


class Int64(SizedInt):
    """-2**63 to 2**63 - 1."""

    type_name = "int64_t"


class UInt8(SizedInt):
    """0 to 2**8 - 1."""

    type_name = "unsigned char"


class UInt16(SizedInt):
    """0 to 2**16 - 1."""

    type_name = "unsigned short"


class UInt32(SizedInt):
    """0 to 2**32 - 1."""

    type_name = "unsigned int"


class UInt64(SizedInt):
    """0 to 2**64 - 1."""

    type_name = "uint64_t"


UNSIGNED: Final = (UInt8, UInt16, UInt32, UInt64)


class Double(float):
    """A float of 64 bits; a plain one is C++'s `float`."""

    __slots__ = ()


class IntArray(list[int]):
    """int[], which no getter takes."""


class FloatArray(list[float]):
    """float[]."""


class ImagePixels(Pixels):
    """What an Image holds; an ImageFrame holds the same without this name."""

    __slots__ = ()


_SCALARS: Final = {
    bool: "bool",
    int: "int",
    float: "float",
    Double: "double",
    str: "string",
    bytes: "string",
    IntArray: "int []",
    FloatArray: "float []",
    ImagePixels: "::mediapipe::Image",
    Pixels: "::mediapipe::ImageFrame",
}
_ELEMENTS: Final = {
    "string": "std::string",
}


def type_name(payload: Any) -> str:
    """The C++ type that mediapipe's texts would name for it."""
    if isinstance(payload, SizedInt):
        return payload.type_name
    if (known := _SCALARS.get(payload.__class__)) is not None:
        return known
    if known := message_name(payload):
        return f"::{known.replace('.', '::')}"
    if isinstance(payload, Message):
        return f"::{payload.DESCRIPTOR.full_name.replace('.', '::')}"
    if isinstance(payload, np.ndarray):
        return "Eigen::Matrix<float, -1, -1, 0, -1, -1>"
    if isinstance(payload, list):
        first: Any = payload[0] if payload else None  # pyright: ignore[reportUnknownVariableType]
        inner = type_name(first) if payload else "?"
        return f"::std::vector<{_ELEMENTS.get(inner, inner)}>"
    if isinstance(payload, dict):
        return "::std::map<std::string,::mediapipe::Packet>"
    if type(payload).__name__ == "Packet":
        return "::mediapipe::Packet"
    return type(payload).__name__
