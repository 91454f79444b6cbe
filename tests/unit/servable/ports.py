"""Ports of models, for tests that need no model."""

from __future__ import annotations

from collections.abc import Sequence

from ovms_mp.core.shape import Dim
from ovms_mp.core.tensor import Datatype
from ovms_mp.inference.engine import Port


def port(
    name: str,
    shape: Sequence[int | tuple[int, int]] | None,
    datatype: Datatype | None = Datatype.FP32,
    element_type: str = "f32",
) -> Port:
    dims = None if shape is None else tuple(dim(length) for length in shape)
    return Port(name, frozenset({name}), datatype, element_type, dims)


def dim(length: int | tuple[int, int]) -> Dim:
    if isinstance(length, tuple):
        return Dim(*length)
    return Dim(0, -1) if length == -1 else Dim(length, length)
