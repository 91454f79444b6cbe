"""Native packets become items of a frame and items become packets; this side is in the
worker, and the only one that touches the wheel's classes.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ovms_mp.native.types import INTEGERS, Item, kind_of

if TYPE_CHECKING:
    from collections.abc import Callable

_CPP_TYPE: Final = re.compile(r"C\+\+ type: (.*)>$")


class Opaque(Exception):
    """A packet that nobody can read."""


class Packets:
    """Conversions with the wheel's `_framework_bindings`. Not thread-safe."""

    def __init__(self, bindings: Any) -> None:
        self._new = bindings._packet_creator  # noqa: SLF001 - the wheel has no public way in without its Python half
        self._get = bindings._packet_getter  # noqa: SLF001
        self._formats = bindings.image_frame.ImageFormat.__members__
        self._format_names = {value: name for name, value in self._formats.items()}

    def packet(self, cpp_type: str, item: Item) -> Any:  # noqa: C901 - a row per kind
        """A packet without a timestamp."""
        kind, meta, buffers = item
        new = self._new
        match kind:
            case "bool":
                return new.create_bool(meta)
            case "int":
                return getattr(new, f"create_{INTEGERS[cpp_type][0]}")(meta)
            case "float":
                return new.create_float(meta)
            case "double":
                return new.create_double(meta)
            case "string":
                return new.create_string(bytes(buffers[0]))
            case "floats":
                return new.create_float_vector(_array(buffers[0], np.float32).tolist())
            case "ints":
                return new.create_int_vector(meta)
            case "bools":
                return new.create_bool_vector(meta)
            case "strings":
                return new.create_string_vector(meta)
            case "matrix":
                values = _array(buffers[0], np.float32).reshape(meta)
                return new.create_matrix(values, transpose=False)
            case "proto":
                return new._create_proto(meta, bytes(buffers[0]))  # noqa: SLF001
            case _:
                return self._image(item)

    def _image(self, item: Item) -> Any:
        name, dtype, shape = item.meta
        pixels = _array(item.buffers[0], np.dtype(dtype)).reshape(shape)
        create: Callable[..., Any] = (
            self._new._create_image_from_pixel_data  # noqa: SLF001
            if item.kind == "image"
            else self._new._create_image_frame_from_pixel_data  # noqa: SLF001
        )
        # What it shared it would let go of in a thread of its own, without the GIL, and
        # crash once in some thousand images.
        return create(self._formats[name], pixels, copy=True)

    def item(self, packet: Any) -> Item:  # noqa: C901, PLR0912 - a row per kind
        """What a packet holds. Raises Opaque."""
        found = _CPP_TYPE.search(str(packet))
        cpp_type = "" if found is None else found[1]
        kind, get = kind_of(cpp_type), self._get
        match kind:
            case "bool":
                return Item(kind, get.get_bool(packet))
            case "int":
                is_signed = INTEGERS[cpp_type][1] < 0
                return Item(kind, (get.get_int if is_signed else get.get_uint)(packet))
            case "float" | "double":
                return Item(kind, get.get_float(packet))
            case "string":
                return Item(kind, None, (get.get_bytes(packet),))
            case "floats":
                values = np.array(get.get_float_list(packet), np.float32)
                return Item(kind, None, (values,))
            case "ints":
                return Item(kind, get.get_int_list(packet))
            case "bools":
                return Item(kind, get.get_bool_list(packet))
            case "strings":
                return Item(kind, get.get_str_list(packet))
            case "matrix":
                matrix = np.ascontiguousarray(get.get_matrix(packet))
                return Item(kind, list(matrix.shape), (matrix,))
            case "image_frame":
                return self._pixels(kind, (get.get_image_frame(packet),))
            case "image":
                return self._pixels(kind, (get.get_image(packet),))
            case "images":
                return self._pixels(kind, get.get_image_list(packet))
            case _:
                return self._message(kind, cpp_type, packet)

    def _pixels(self, kind: str, images: Any) -> Item:
        meta: list[Any] = []
        arrays: list[Any] = []
        for image in images:
            array = np.ascontiguousarray(image.numpy_view())
            name = self._format_names[image.image_format]
            meta.append((name, array.dtype.name, array.shape))
            arrays.append(array)
        return Item(kind, meta, arrays)

    def _message(self, kind: str, cpp_type: str, packet: Any) -> Item:
        get = self._get
        try:
            if kind == "proto":
                name = get._get_proto_type_name(packet)  # noqa: SLF001
                return Item(kind, name, (get._get_serialized_proto(packet),))  # noqa: SLF001
            if kind == "protos":
                if not get._get_proto_vector_size(packet):  # noqa: SLF001
                    return Item(kind, "")
                name = get._get_proto_vector_element_type_name(packet)  # noqa: SLF001
                return Item(kind, name, get._get_serialized_proto_list(packet))  # noqa: SLF001
        except (RuntimeError, ValueError) as error:
            raise Opaque(f"{cpp_type} cannot leave native code") from error
        raise Opaque(f"{cpp_type} cannot leave native code")


def _array(buffer: Any, dtype: Any) -> Any:
    return np.frombuffer(buffer, dtype)
