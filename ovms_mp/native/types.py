"""C++ types that can cross into native code and out of it, by the names that the native
runtime gives them, and the kind of frame item that carries each.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence


class Item(NamedTuple):
    """A payload on its way: what it is, its JSON half, its buffers."""

    kind: str
    meta: Any
    buffers: Sequence[Any] = ()


IMAGE_FRAME: Final = "::mediapipe::ImageFrame"
IMAGE: Final = "::mediapipe::Image"
MATRIX: Final = "Eigen::Matrix<float, -1, -1, 0, -1, -1>"

INTEGERS: Final = {
    "signed char": ("int8", -(2**7), 2**7 - 1),
    "short": ("int16", -(2**15), 2**15 - 1),
    "int": ("int32", -(2**31), 2**31 - 1),
    "int64_t": ("int64", -(2**63), 2**63 - 1),
    "unsigned char": ("uint8", 0, 2**8 - 1),
    "unsigned short": ("uint16", 0, 2**16 - 1),
    "unsigned int": ("uint32", 0, 2**32 - 1),
    "uint64_t": ("uint64", 0, 2**64 - 1),
}
"""Name of the creator, smallest and largest value."""

KINDS: Final = {
    "bool": "bool",
    **dict.fromkeys(INTEGERS, "int"),
    "float": "float",
    "double": "double",
    "string": "string",
    "::std::vector<float>": "floats",
    "::std::vector<int>": "ints",
    "::std::vector<bool>": "bools",
    "::std::vector<std::string>": "strings",
    IMAGE_FRAME: "image_frame",
    IMAGE: "image",
    "::std::vector<::mediapipe::Image>": "images",
    MATRIX: "matrix",
    "::mediapipe::Matrix": "matrix",
}

ONLY_OUT: Final = frozenset({"images", "protos"})
"""Python can read these, and make none."""

_MESSAGE: Final = re.compile(r"(?:::)?(mediapipe(?:::\w+)+)")
_MESSAGES: Final = re.compile(r"(?:::)?std::vector<(?:::)?(mediapipe(?:::\w+)+)>")


def message_name(cpp_type: str) -> str:
    """The full name of the message that a C++ type may be, of one or of a vector."""
    found = _MESSAGE.fullmatch(cpp_type) or _MESSAGES.fullmatch(cpp_type)
    return "" if found is None else found[1].replace("::", ".")


def kind_of(cpp_type: str) -> str:
    """The kind that carries a type, or an empty text; what looks like a message is
    taken for one.
    """
    if kind := KINDS.get(cpp_type):
        return kind
    if not message_name(cpp_type):
        return ""
    return "protos" if _MESSAGES.fullmatch(cpp_type) else "proto"
