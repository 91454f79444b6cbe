"""Whether the shape that a request claims is one that a port admits, in OVMS's order of
checks and words.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ovms_mp.core.errors import ServingError, Status
from ovms_mp.core.tensor import describe_shape

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ovms_mp.inference.engine import Port


def check_shape(shape: Sequence[int], port: Port) -> None:
    """Raises ServingError: for the number of dimensions, then for the batch, where the
    layout says it is, then for any other.
    """
    dims = port.shape
    if dims is None:
        return
    if len(shape) != len(dims):
        raise _misfit(Status.INVALID_NO_OF_SHAPE_DIMENSIONS, port, shape)
    axis = port.batch_axis
    if axis is not None and axis < len(dims):
        check_batch(shape[axis], port)
    for dim, length in zip(dims, shape, strict=True):
        if not dim.admits(length):
            raise _misfit(Status.INVALID_SHAPE, port, shape)


def check_batch(batch: int, port: Port) -> None:
    """Raises ServingError if a port whose layout has a batch does not admit this one."""
    axis = port.batch_axis
    if axis is None or port.shape is None or axis >= len(port.shape):
        details = f"Batch not present in input name: {port.name}"
        raise ServingError(Status.INVALID_BATCH_SIZE, details)
    dim = port.shape[axis]
    if not dim.admits(batch):
        details = f"Expected: {dim}; Actual: {batch}; input name: {port.name}"
        raise ServingError(Status.INVALID_BATCH_SIZE, details)


def _misfit(status: Status, port: Port, shape: Sequence[int]) -> ServingError:
    return ServingError(
        status,
        f"Expected: {describe_shape(port.shape or ())}; "
        f"Actual: {describe_shape(shape)}; input name: {port.name}",
    )
