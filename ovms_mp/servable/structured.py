"""Detections, rects, landmarks, numbers and texts leave a graph as tensors, too."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from ovms_mp.core.errors import ServingError, Status
from ovms_mp.formats.tensors import Texts, tensor_of

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


def texts_of(payload: object) -> list[bytes] | None:
    """The elements of BYTES that a str, bytes, or a list of them is: str in UTF-8. None
    for anything else, and for an empty list that is not one of Texts.
    """
    if isinstance(payload, str | bytes):
        return [_octets(payload)]
    if not isinstance(payload, list) or not (payload or isinstance(payload, Texts)):
        return None
    items = cast("list[object]", payload)
    texts = [_octets(each) for each in items if isinstance(each, str | bytes)]
    return texts if len(texts) == len(items) else None


def _octets(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else text
