"""Payloads become items of a frame and items become payloads; this side is in the
server. What native code could fall over is refused here, before it gets there.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from google.protobuf.message import DecodeError, Message

from ovms_mp.core.image import ImageFormat, ImageFrame
from ovms_mp.formats import messages
from ovms_mp.formats.landmark import Landmarks
from ovms_mp.isolation.frames import FrameError
from ovms_mp.native import inventory
from ovms_mp.native.types import (
    IMAGE_FRAME,
    INTEGERS,
    MATRIX,
    ONLY_OUT,
    Item,
    kind_of,
    message_name,
)

MAX_SIDE: Final = 1 << 15
"""Pixels of an image's side: beyond, sizes in native code stop fitting its integers."""


class BadCrossing(Exception):
    """A payload that may not enter native code; the text says what was expected."""


def problem_in(cpp_type: str) -> str:
    """Why a stream of this type cannot enter native code, or an empty text."""
    if not cpp_type or (_is_known(cpp_type) and kind_of(cpp_type) not in ONLY_OUT):
        return ""
    return f"{cpp_type} cannot be made outside native code"


def problem_out(cpp_type: str) -> str:
    """Why a stream of this type cannot leave native code, or an empty text."""
    if not cpp_type or _is_known(cpp_type):
        return ""
    return f"{cpp_type} cannot be read outside native code"


def _is_known(cpp_type: str) -> bool:
    kind = kind_of(cpp_type)
    if kind not in {"proto", "protos"}:
        return bool(kind)
    try:
        inventory.message_class(message_name(cpp_type))
    except KeyError:
        return False
    return True


def encode(payload: Any, cpp_type: str) -> tuple[str, Item]:
    """A payload for a stream of that type, or of the type that it looks like when none
    is known. Raises BadCrossing.
    """
    cpp_type = cpp_type or _looks_like(payload)
    kind = kind_of(cpp_type)
    match kind:
        case "image_frame" | "image":
            return cpp_type, _image(kind, payload)
        case "matrix":
            return cpp_type, _matrix(payload)
        case "proto":
            return cpp_type, _message(message_name(cpp_type), payload)
        case "floats":
            return cpp_type, _floats(payload)
        case "ints" | "bools" | "strings":
            return cpp_type, _list(kind, payload)
        case "string" if isinstance(payload, str | bytes):
            data = payload.encode() if isinstance(payload, str) else payload
            return cpp_type, Item(kind, None, (data,))
        case "bool" if _is_a(payload, bool, np.bool_):
            return cpp_type, Item(kind, bool(payload))
        case "int":
            return cpp_type, Item(kind, _integer(payload, cpp_type))
        case "float" | "double":
            return cpp_type, Item(kind, _real(payload))
        case _:
            raise BadCrossing(f"expected {cpp_type}, found {_name(payload)}")


def _looks_like(payload: Any) -> str:
    if name := messages.message_name(payload):
        return "::" + name.replace(".", "::")
    match payload:
        case bool():
            return "bool"
        case int() | np.integer():
            return "int"
        case float() | np.floating():
            return "float"
        case str() | bytes():
            return "string"
        case ImageFrame():
            return IMAGE_FRAME
        case np.ndarray() if payload.ndim == 2:
            return MATRIX
        case Message():
            return "::" + payload.DESCRIPTOR.full_name.replace(".", "::")
        case _:
            raise BadCrossing(f"{_name(payload)} cannot enter native code")


def _is_a(payload: Any, *types: type[Any]) -> bool:
    return isinstance(payload, types)


def _image(kind: str, payload: Any) -> Item:
    if not isinstance(payload, ImageFrame):
        raise BadCrossing(f"expected an ImageFrame, found {_name(payload)}")
    if payload.format is ImageFormat.VEC32F4:
        raise BadCrossing("an image of VEC32F4 cannot enter native code")
    height, width = payload.height, payload.width
    if not (0 < height <= MAX_SIDE and 0 < width <= MAX_SIDE):
        raise BadCrossing(
            f"expected an image of 1x1 to {MAX_SIDE}x{MAX_SIDE}, found {width}x{height}"
        )
    pixels = np.ascontiguousarray(payload.pixels)
    shape = pixels.shape[:2] if pixels.shape[2] == 1 else pixels.shape
    meta = (payload.format.name, pixels.dtype.name, shape)
    return Item(kind, meta, (pixels.reshape(-1).view(np.uint8),))


def _matrix(payload: Any) -> Item:
    if not (_is_a(payload, np.ndarray) and payload.ndim == 2 and payload.size):
        raise BadCrossing(
            f"expected a matrix with elements, found {_name(payload)} "
            f"of shape {list(getattr(payload, 'shape', []))}"
        )
    return Item("matrix", list(payload.shape), (_finite(payload),))


def _floats(payload: Any) -> Item:
    if not _is_a(payload, list, tuple, np.ndarray):
        raise BadCrossing(f"expected a list of float, found {_name(payload)}")
    return Item("floats", None, (_finite(payload),))


def _finite(values: Any) -> Any:
    try:
        array: Any = np.ascontiguousarray(values, np.float32)
    except (TypeError, ValueError) as error:
        raise BadCrossing("expected numbers") from error
    if not np.isfinite(array).all():
        raise BadCrossing("expected finite numbers")
    return array.reshape(-1).view(np.uint8)


def _list(kind: str, payload: Any) -> Item:
    if kind == "ints" and _is_a(payload, list, tuple, np.ndarray):
        return Item(kind, [_integer(each, "int") for each in payload])
    expected = {"ints": int, "bools": bool}.get(kind, str)
    if not _is_a(payload, list, tuple) or not all(
        _is_a(each, expected) for each in payload
    ):
        raise BadCrossing(f"expected a list of {expected.__name__}")
    return Item(kind, list(payload))


def _integer(payload: Any, cpp_type: str) -> int:
    _, smallest, largest = INTEGERS[cpp_type]
    is_integer = _is_a(payload, int, np.integer) and not _is_a(payload, bool)
    if not is_integer or not smallest <= int(payload) <= largest:
        found = str(payload) if is_integer else _name(payload)
        raise BadCrossing(
            f"expected an integer of {smallest} to {largest}, found {found}"
        )
    return int(payload)


def _real(payload: Any) -> float:
    is_real = _is_a(payload, int, float, np.integer, np.floating)
    if not is_real or _is_a(payload, bool) or not math.isfinite(payload):
        raise BadCrossing(f"expected a finite number, found {_name(payload)}")
    return float(payload)


def _message(full_name: str, payload: Any) -> Item:
    if messages.message_name(payload):
        if isinstance(payload, Landmarks) and not len(payload):
            # MediaPipe's calculators send no packet instead, and take the first of one.
            raise BadCrossing(f"expected landmarks in {full_name}, found none")
        payload = messages.to_message(payload, inventory.message_class)
    found = payload.DESCRIPTOR.full_name if isinstance(payload, Message) else None
    if found != full_name:
        raise BadCrossing(f"expected {full_name}, found {found or _name(payload)}")
    if not payload.IsInitialized():
        raise BadCrossing(f"a required field of {full_name} is not set")
    if not _is_finite(payload):
        raise BadCrossing(f"expected finite numbers in {full_name}")
    return Item("proto", full_name, (payload.SerializeToString(),))


def _is_finite(message: Any) -> bool:
    for descriptor, value in message.ListFields():
        values: Any = value if hasattr(value, "__len__") else (value,)
        if descriptor.type in {descriptor.TYPE_FLOAT, descriptor.TYPE_DOUBLE}:
            if not all(map(math.isfinite, values)):
                return False
        elif descriptor.type == descriptor.TYPE_MESSAGE:
            # The values of a map are no fields that could be walked; isolation is left.
            inner = [each for each in values if isinstance(each, Message)]
            if not all(map(_is_finite, inner)):
                return False
    return True


def _name(payload: Any) -> str:
    return type(payload).__name__


def decode(item: Item) -> Any:  # noqa: C901 - one row per kind
    """The payload of an item. Arrays are read-only and share the item's buffer. Raises
    FrameError for an item that contradicts itself.
    """
    kind, meta, buffers = item
    try:
        match kind:
            case "bool" | "int" | "float" | "double":
                return meta
            case "ints" | "bools" | "strings":
                return list(meta)
            case "string":
                return _text(bytes(buffers[0]))
            case "floats":
                return np.frombuffer(buffers[0], np.float32).tolist()
            case "matrix":
                return _frozen(np.frombuffer(buffers[0], np.float32).reshape(meta))
            case "image_frame" | "image":
                return _frame(meta[0], buffers[0])
            case "images":
                return [_frame(*each) for each in zip(meta, buffers, strict=True)]
            case "proto":
                return _parsed(meta, buffers[0])
            case "protos":
                return [_parsed(meta, each) for each in buffers]
            case _:
                raise FrameError(f"an item of kind {kind[:40]}")
    except (TypeError, ValueError, KeyError, LookupError, DecodeError) as error:
        raise FrameError(f"an item of kind {kind[:40]} that cannot be read") from error


def _text(data: bytes) -> str | bytes:
    # A std::string holds either.
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data


def _frame(meta: Any, buffer: Any) -> ImageFrame:
    name, dtype, shape = meta
    pixels = np.frombuffer(buffer, np.dtype(dtype)).reshape(shape)
    pixels = pixels.reshape(*pixels.shape[:2], -1)
    return ImageFrame(ImageFormat[name], _frozen(pixels))


def _parsed(name: str, buffer: Any) -> Any:
    message = inventory.message_class(name).FromString(bytes(buffer))
    return messages.from_message(message)


def _frozen(array: Any) -> Any:
    array.flags.writeable = False
    return array
