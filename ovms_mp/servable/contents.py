"""The contents of an input tensor, raw or typed, become an array of the shape that the
client claims, once size and shape agree. Texts are OVMS's.

Arrays are read-only; those of raw contents are views on the request, possibly not
aligned for their dtype.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ovms_mp.core.errors import ServingError, Status
from ovms_mp.core.messages import WITHOUT_LENGTH
from ovms_mp.core.tensor import Array, Datatype, byte_size, describe_shape

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ovms_mp.core.messages import Buffer, InputTensor

# numpy 1 has 32 axes. A shape beyond that comes from no model, and would make long
# error texts; so this is judged before anything that prints a shape.
MAX_DIMENSIONS: Final = 32
_MAX_BYTES: Final = 2**64 - 1  # size_t

_FIELDS: Final[Mapping[Datatype, str]] = {
    Datatype.BOOL: "bool_contents",
    Datatype.INT8: "int_contents",
    Datatype.INT16: "int_contents",
    Datatype.INT32: "int_contents",
    Datatype.INT64: "int64_contents",
    Datatype.UINT8: "uint_contents",
    Datatype.UINT16: "uint_contents",
    Datatype.UINT32: "uint_contents",
    Datatype.UINT64: "uint64_contents",
    Datatype.FP32: "fp32_contents",
    Datatype.FP64: "fp64_contents",
    Datatype.FP16: "fp32_contents",
    Datatype.BF16: "fp32_contents",
}
"""Where the wire has typed values of a datatype. FP16 and BF16 have no place of their
own: KServe and OVMS know them raw only.
"""


def numeric(tensor: InputTensor) -> Datatype:
    """The datatype of a tensor of numbers. Raises ServingError for any other."""
    datatype = Datatype.from_name(tensor.datatype)
    if datatype is not None:
        return datatype
    details = f"Unknown datatype: {tensor.datatype}; input name: {tensor.name}"
    raise ServingError(Status.INVALID_PRECISION, details)


def check_dimensions(tensor: InputTensor, *, least: int = 0) -> None:
    """Raises ServingError when a dimension is below `least`, or when there are more of
    them than an array can have.
    """
    if len(tensor.shape) > MAX_DIMENSIONS:
        details = (
            f"Expected: at most {MAX_DIMENSIONS} dimensions; "
            f"Actual: {len(tensor.shape)}; input name: {tensor.name}"
        )
        raise ServingError(Status.INVALID_SHAPE, details)
    if min(tensor.shape, default=least) < least:
        problem = "Negative" if least == 0 else "Negative or zero"
        details = (
            f"{problem} dimension size is not acceptable: "
            f"{describe_shape(tensor.shape)}; input name: {tensor.name}"
        )
        raise ServingError(Status.INVALID_SHAPE, details)


def expected_bytes(tensor: InputTensor, datatype: Datatype) -> int:
    """Bytes that the shape asks for. Raises ServingError when nothing can hold them."""
    expected = byte_size(tensor.shape, datatype)
    if expected > _MAX_BYTES:
        raise _too_large()
    return expected


def array(tensor: InputTensor, datatype: Datatype) -> Array:
    """The tensor's values in its shape: a view of raw contents, typed ones converted.

    Raises ServingError when there are too few or too many.
    """
    expected = expected_bytes(tensor, datatype)
    if tensor.raw is None:
        flat = _typed(tensor, datatype, expected // datatype.dtype.itemsize)
    elif len(tensor.raw) == expected:
        flat = view(tensor.raw, datatype.dtype)
    else:
        details = (
            f"Expected: {expected} bytes; Actual: {len(tensor.raw)} bytes; "
            f"input name: {tensor.name}"
        )
        raise ServingError(Status.INVALID_CONTENT_SIZE, details)
    try:
        return flat.reshape(tensor.shape)
    except ValueError:
        # No element at all, and yet an axis longer than numpy can count.
        raise _too_large() from None


def view(raw: Buffer, dtype: np.dtype[Any]) -> Array:
    """Raw contents as a flat array without a copy."""
    return _frozen(np.frombuffer(raw, dtype) if len(raw) else np.empty(0, dtype))


def length_prefixed(tensor: InputTensor) -> bytes:
    """Typed BYTES as raw contents would have them: each with its length, 4 bytes
    little-endian, before it, unless they were raw. Raises ServingError when they are not
    BYTES.
    """
    values = tensor.contents
    if isinstance(values, np.ndarray):
        details = (
            f"Expected: values in bytes_contents; Actual: {tensor.contents_field}; "
            f"input name: {tensor.name}"
        )
        raise ServingError(Status.INVALID_VALUE_COUNT, details)
    if tensor.contents_field == WITHOUT_LENGTH:
        return b"".join(values or ())
    return prefixed(values or ())


def prefixed(texts: Iterable[bytes]) -> bytes:
    """BYTES as raw contents have them: each behind its length."""
    return b"".join(
        part for each in texts for part in (len(each).to_bytes(4, "little"), each)
    )


def _typed(tensor: InputTensor, datatype: Datatype, count: int) -> Array:
    field = _FIELDS[datatype]
    values = tensor.contents
    # Values in another field are no values, as OVMS counts.
    if not isinstance(values, np.ndarray) or tensor.contents_field not in {field, ""}:
        values = np.empty(0, np.float32)
    if len(values) != count:
        details = (
            f"Expected: {count} values; Actual: {len(values)} values; "
            f"input name: {tensor.name}"
        )
        raise ServingError(Status.INVALID_VALUE_COUNT, details)
    if datatype is Datatype.BF16:
        return _frozen(_bfloat16(values))
    # The wire has no narrow integers; one that does not fit wraps, as a cast in C does.
    return _frozen(values.astype(datatype.dtype, copy=False).view())


def _bfloat16(values: Array) -> Array:
    """To the nearest one, to the even one of two; what is no number stays none."""
    bits = values.astype(np.float32, copy=False).view(np.uint32)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    kept = np.where(np.isnan(values), bits >> 16 | 0x40, rounded)
    return kept.astype("<u2").view(Datatype.BF16.dtype)


def _frozen(values: Array) -> Array:
    values.flags.writeable = False
    return values


def _too_large() -> ServingError:
    details = "Provided shape and datatype declare too large buffer."
    return ServingError(Status.INVALID_CONTENT_SIZE, details)
