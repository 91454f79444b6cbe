"""The ports of a model: what OpenVINO calls them, and what we publish."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Final

import openvino as ov

from ovms_mp.core.tensor import Datatype
from ovms_mp.inference.engine import UNBOUNDED, Dim, Port, Ports

_DATATYPES: Final[Mapping[str, Datatype]] = {
    "boolean": Datatype.BOOL,
    "u8": Datatype.UINT8,
    "u16": Datatype.UINT16,
    "u32": Datatype.UINT32,
    "u64": Datatype.UINT64,
    "i8": Datatype.INT8,
    "i16": Datatype.INT16,
    "i32": Datatype.INT32,
    "i64": Datatype.INT64,
    "f16": Datatype.FP16,
    "f32": Datatype.FP32,
    "f64": Datatype.FP64,
}


def ports_of(read: Sequence[Any], compiled: Sequence[Any], unnamed: str) -> Ports:
    """Ports that go by the names in the file, of which the published one is chosen, and
    by those that compiling adds.

    Two outputs of one tensor share its names; the second is published by its number, as
    is a port without a name.
    """
    ports: list[Port] = []
    taken: set[str] = set()
    for index, (in_file, port) in enumerate(zip(read, compiled, strict=True)):
        names: frozenset[str] = frozenset(in_file.get_names())
        name = published_name(names - taken) or f"{unnamed}_{index}"
        taken.add(name)
        element_type: str = port.get_element_type().get_type_name()
        ports.append(
            Port(
                name=name,
                names=names | port.get_names(),
                datatype=_DATATYPES.get(element_type),
                element_type=element_type,
                shape=_shape(port.get_partial_shape()),
            )
        )
    return Ports(ports)


def published_name(names: AbstractSet[str]) -> str | None:
    """The first name, in the order of characters, that is not a path; where there are
    only paths, the first one. OVMS publishes the first one, path or not.
    """
    return min(names, key=lambda name: ("/" in name, name), default=None)


def _shape(shape: ov.PartialShape) -> tuple[Dim, ...] | None:
    if shape.rank.is_dynamic:
        return None
    # For no limit OpenVINO says -1 as well.
    return tuple(Dim(dim.min_length, max(dim.max_length, UNBOUNDED)) for dim in shape)
