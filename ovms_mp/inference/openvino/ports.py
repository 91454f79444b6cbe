"""The ports of a model: what OpenVINO calls them, and what we publish."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Final

import openvino as ov

from ovms_mp.core import layout as layouts
from ovms_mp.core.shape import UNBOUNDED, Dim, Shape
from ovms_mp.core.tensor import Datatype
from ovms_mp.inference.engine import Port, Ports

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
    "bf16": Datatype.BF16,
    "f32": Datatype.FP32,
    "f64": Datatype.FP64,
}
_NOTHING: Final[Mapping[str, str]] = {}


def ports_of(
    read: Sequence[Any],
    compiled: Sequence[Any],
    unnamed: str,
    mapping: Mapping[str, str] = _NOTHING,
) -> Ports:
    """Ports that go by the names in the file, of which the published one is chosen, and
    by those that compiling adds; one that is in `mapping` goes by that name only.

    Two outputs of one tensor share its names; the second is published by its number, as
    is a port without a name.
    """
    ports: list[Port] = []
    taken: set[str] = set()
    for index, (in_file, port) in enumerate(zip(read, compiled, strict=True)):
        names: frozenset[str] = frozenset(in_file.get_names())
        mapped = mapped_name(names, mapping)
        name = mapped or published_name(names - taken) or f"{unnamed}_{index}"
        taken.add(name)
        element_type: str = port.get_element_type().get_type_name()
        shape = shape_of(port.get_partial_shape())
        ports.append(
            Port(
                name=name,
                names=frozenset({mapped}) if mapped else names | port.get_names(),
                datatype=_DATATYPES.get(element_type),
                element_type=element_type,
                shape=shape,
                layout=layout_of(in_file, shape),
            )
        )
    return Ports(ports)


def mapped_name(names: AbstractSet[str], mapping: Mapping[str, str]) -> str | None:
    """What a port with these names is called instead."""
    return next((mapping[name] for name in sorted(names) if name in mapping), None)


def published_name(names: AbstractSet[str]) -> str | None:
    """The first name, in the order of characters, that is not a path; where there are
    only paths, the first one. OVMS publishes the first one, path or not.
    """
    return min(names, key=lambda name: ("/" in name, name), default=None)


def layout_of(port: Any, shape: Shape | None) -> str:
    """The layout that a model says its input or output has, else the default one."""
    node = port.get_node()
    said = getattr(node, "layout", None)  # Parameter and Result have one
    if said is not None and not said.empty:
        return said.to_string().strip("[]").replace(",", "")
    return layouts.DEFAULT if shape else layouts.REST


def shape_of(shape: ov.PartialShape) -> Shape | None:
    """A shape of OpenVINO's, None if not even its rank is known."""
    if shape.rank.is_dynamic:
        return None
    # For no limit OpenVINO says -1 as well.
    return tuple(Dim(dim.min_length, max(dim.max_length, UNBOUNDED)) for dim in shape)
