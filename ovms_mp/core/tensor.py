"""A tensor's datatype has one name on the wire and one dtype in numpy; the table here
is the only place that knows both (KServe v2, OVMS's set of types).
"""

from __future__ import annotations

from enum import Enum
from math import prod
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Sequence

Array: TypeAlias = NDArray[Any]


class Datatype(Enum):
    """KServe datatypes with a fixed element size. BYTES has none and is no member."""

    BOOL = np.dtype(np.bool_)
    UINT8 = np.dtype(np.uint8)
    UINT16 = np.dtype("<u2")
    UINT32 = np.dtype("<u4")
    UINT64 = np.dtype("<u8")
    INT8 = np.dtype(np.int8)
    INT16 = np.dtype("<i2")
    INT32 = np.dtype("<i4")
    INT64 = np.dtype("<i8")
    # numpy has no such number: two bytes, to be passed on. Models have it; to graphs and
    # their handlers it is a datatype of somebody's own, as to OVMS.
    BF16 = np.dtype("V2")
    FP16 = np.dtype("<f2")
    FP32 = np.dtype("<f4")
    FP64 = np.dtype("<f8")

    @property
    def dtype(self) -> np.dtype[Any]:
        """The numpy dtype, little-endian as on the wire."""
        return self.value

    @classmethod
    def from_dtype(cls, dtype: np.dtype[Any]) -> Datatype | None:
        """The datatype of arrays of `dtype`, or None where graphs have no name for it."""
        return _BY_DTYPE.get(dtype)

    @classmethod
    def from_name(cls, name: str) -> Datatype | None:
        """The member called `name` that graphs know, or None."""
        return _BY_NAME.get(name)


IN_GRAPHS: Final = tuple(each for each in Datatype if each is not Datatype.BF16)

_BY_DTYPE: Final = {datatype.value: datatype for datatype in IN_GRAPHS}
_BY_NAME: Final = {datatype.name: datatype for datatype in IN_GRAPHS}

_LETTERS: Final = {np.dtype("<i8"): np.dtype("q"), np.dtype("<u8"): np.dtype("Q")}

BYTES: Final = "BYTES"


def describe_shape(shape: Sequence[object]) -> str:
    """A shape as OVMS's messages print it: `(1,3,224,224)`."""
    return f"({','.join(map(str, shape))})"


def lettered(array: Array) -> Array:
    """The same elements under the letters that OVMS's handlers know: `q` and `Q` for
    INT64 and UINT64, which are `l` and `L` to numpy, and four bytes to some readers.
    """
    letter = _LETTERS.get(array.dtype)
    return array if letter is None else array.view(letter)


def byte_size(shape: Sequence[int], datatype: Datatype) -> int:
    """Bytes of a dense tensor; exact however large, as Python's integers are."""
    return prod(shape) * datatype.dtype.itemsize
