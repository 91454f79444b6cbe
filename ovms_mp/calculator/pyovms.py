"""What handlers of Python nodes import as `pyovms`: OVMS's Tensor, with OVMS's rules."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from typing import Any, Final, Self, SupportsIndex, TypeAlias, cast

import numpy as np

from ovms_mp.calculator.exporter import Exporter, SupportsBuffer
from ovms_mp.core.tensor import Array, Datatype

# numpy's stubs say that arrays have the buffer protocol from Python 3.12 on.
Memory: TypeAlias = SupportsBuffer | Array | np.generic

__all__ = ("Tensor",)

_BEYOND_INT64: Final = 2**63


class Tensor(Exporter):
    """A named view on somebody's memory; it never changes and never copies.

    `buffer` is anything with the buffer protocol: an array, bytes, a memoryview.
    `shape` and `datatype` are what the tensor says of itself, and default to what the
    buffer says; nothing checks that they fit it, only that a message can hold them:
    integers of 64 bits, and text that is Unicode. A datatype is a KServe name where
    there is one for the buffer's elements, else their format in PEP 3118's language,
    or whatever name its author chose.

    `bytes(t)`, `memoryview(t)`, `np.array(t)` and `np.frombuffer(t)` see the buffer,
    read-only and in the buffer's own shape.

    Raises TypeError or ValueError when `buffer` has no memory to show.
    """

    __slots__ = ("_array", "_datatype", "_name", "_ref_obj", "_shape")

    _array: Array
    _datatype: str
    _name: str
    _ref_obj: Any
    _shape: tuple[int, ...]

    def __new__(
        cls,
        name: str,
        buffer: Memory,
        shape: Iterable[SupportsIndex] | None = None,
        datatype: str | None = None,
    ) -> Self:
        """Refuses names that are not text."""
        _check_text("name", name)
        if datatype is not None:
            _check_text("datatype", datatype)
        array = _read_only(buffer)
        self = super().__new__(cls, array)
        self._array = array
        self._datatype = _datatype(array, buffer) if datatype is None else datatype
        self._name = name
        self._ref_obj = buffer
        self._shape = array.shape if shape is None else _told(shape)
        return self

    @property
    def name(self) -> str:
        """The stream that it came from or goes to."""
        return self._name

    @property
    def data(self) -> memoryview:
        """The buffer, read-only."""
        return self._array.data

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape that was given, else the buffer's."""
        return self._shape

    @property
    def datatype(self) -> str:
        """The datatype that was given, else the one of the buffer's elements."""
        return self._datatype

    @property
    def size(self) -> int:
        """Bytes."""
        return self._array.nbytes

    @property
    def ptr(self) -> int:
        """Address of the first element."""
        return self._array.__array_interface__["data"][0]

    @property
    def ref_obj(self) -> Any:
        """The object that `buffer` was: it owns the memory, or keeps it alive."""
        return self._ref_obj

    def __repr__(self) -> str:
        return (
            f"Tensor(name={self._name!r}, datatype={self._datatype!r}, "
            f"shape={self._shape!r})"
        )


def _check_text(what: str, value: object) -> None:
    if not isinstance(value, str):
        raise TypeError(f"{what} must be str, not {type(value).__name__}")
    if not value.isascii():
        value.encode()  # a lone surrogate is a UnicodeEncodeError, which is a ValueError


def _told(shape: Iterable[SupportsIndex]) -> tuple[int, ...]:
    told = tuple(map(operator.index, shape))
    if any(not -_BEYOND_INT64 <= each < _BEYOND_INT64 for each in told):
        raise ValueError("a shape has integers of 64 bits")
    return told


def _read_only(buffer: Memory) -> Array:
    # A subclass of ndarray may have its own idea of a view.
    is_array = type(buffer) is np.ndarray
    source = buffer if is_array else memoryview(cast("SupportsBuffer", buffer))
    array: Array = np.asarray(source).view()
    if array.dtype.hasobject:
        raise TypeError("a tensor cannot hold Python objects")
    array.data  # noqa: B018  # refuses what no buffer can describe: dates, for one
    array.flags.writeable = False
    return array


def _datatype(array: Array, buffer: Memory) -> str:
    # Not by the format's letter, which is `l` for one INT64 and `q` for another.
    datatype = Datatype.from_dtype(array.dtype)
    if datatype is not None:
        return datatype.name
    return memoryview(cast("SupportsBuffer", buffer)).format
