"""Detections, rects and landmarks leave a graph as tensors, too."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ovms_mp.core.errors import ServingError, Status
from ovms_mp.formats.tensors import tensor_of

if TYPE_CHECKING:
    from ovms_mp.core.tensor import Array


def structured(stream: str, payload: object) -> Array | None:
    """The tensor of a payload on an output stream of tensors; None where it has none.

    Raises ServingError for a list whose items make no tensor together.
    """
    try:
        return tensor_of(payload)
    except ValueError as error:
        details = f'output stream "{stream}": {error}'
        raise ServingError(Status.OV_INTERNAL_SERIALIZATION_ERROR, details) from error
