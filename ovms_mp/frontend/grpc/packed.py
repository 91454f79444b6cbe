"""Packed numbers of the wire become an array without a Python object for each."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ovms_mp.core.tensor import Array

_Octets = NDArray[np.uint8]

# What is decoded at a time: the work needs some 40 bytes for each of its bytes.
_BLOCK: Final = 1 << 18
_MAX_SIZE: Final = 10
_MORE: Final = 0x80


class BrokenNumbers(Exception):
    """What was to hold packed numbers does not."""


def unpack(data: memoryview, dtype: np.dtype[Any]) -> Array:
    """The numbers in `data`, the value of one packed field, as `dtype`.

    Floats are a read-only view on `data`; integers and bools, which are varints, are
    cut to the size of `dtype` as protobuf does. Raises BrokenNumbers.
    """
    octets = np.frombuffer(data, np.uint8)
    if dtype.kind == "f":
        if len(octets) % dtype.itemsize:
            raise BrokenNumbers
        return octets.view(dtype)
    if not len(octets) or octets.max() < _MORE:
        return _cut(octets, dtype)
    blocks: list[Array] = []
    at = 0
    while at < len(octets):
        end = min(at + _BLOCK, len(octets))
        while octets[end - 1] >= _MORE and end < len(octets) and end > at + 1:
            end -= 1
        blocks.append(_cut(_varints(octets[at:end]), dtype))
        at = end
    return np.concatenate(blocks)


def _varints(octets: _Octets) -> NDArray[np.uint64]:
    """The numbers in `octets`, which are not empty."""
    ends = np.flatnonzero(octets < _MORE)
    if not len(ends) or ends[-1] != len(octets) - 1:
        raise BrokenNumbers
    starts = np.empty_like(ends)
    starts[0] = 0
    starts[1:] = ends[:-1] + 1
    sizes = ends - starts + 1
    if sizes.max() > _MAX_SIZE:
        raise BrokenNumbers
    values = np.zeros(len(ends), np.uint64)
    for index in range(int(sizes.max())):
        reach = np.flatnonzero(sizes > index)
        digits = octets[starts[reach] + index] & 0x7F
        values[reach] |= digits.astype(np.uint64) << np.uint64(7 * index)
    return values


def _cut(values: NDArray[np.unsignedinteger[Any]], dtype: np.dtype[Any]) -> Array:
    if dtype.kind == "b":
        return values != 0
    return values.astype(f"u{dtype.itemsize}").view(dtype)
