"""BYTES that a model is given: its input says whether they are texts, texts padded to
rows of numbers, or pictures (OVMS).
"""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING

import numpy as np

from ovms_mp.core.errors import ServingError, Status
from ovms_mp.core.tensor import Datatype
from ovms_mp.inference.engine import TEXT
from ovms_mp.servable import encoded, pictures
from ovms_mp.servable.contents import check_dimensions
from ovms_mp.servable.shape_rules import check_batch, check_shape

if TYPE_CHECKING:
    from ovms_mp.core.messages import Buffer, InputTensor
    from ovms_mp.core.tensor import Array
    from ovms_mp.inference.engine import Port


class Meaning(Enum):
    """What BYTES are to an input."""

    TEXTS = auto()
    PADDED_TEXTS = auto()
    PICTURES = auto()
    NOTHING = auto()


def meaning_of(port: Port) -> Meaning:
    """By the datatype and the number of dimensions."""
    rank = None if port.shape is None else len(port.shape)
    if port.element_type == TEXT:
        return Meaning.TEXTS
    if port.datatype is Datatype.UINT8 and rank == 2:
        return Meaning.PADDED_TEXTS
    if rank == 4 and pictures.can_hold(port):
        return Meaning.PICTURES
    return Meaning.NOTHING


def read(tensor: InputTensor, port: Port) -> Array:
    """BYTES as the array that the input takes; pictures take milliseconds.

    Raises ServingError for the first thing that does not fit.
    """
    match meaning_of(port):
        case Meaning.TEXTS:
            return _texts(tensor, port)
        case Meaning.PADDED_TEXTS:
            return _padded(_elements(tensor, port), tensor, port)
        case Meaning.PICTURES:
            return pictures.read(_elements(tensor, port), tensor, port)
        case Meaning.NOTHING:
            raise ServingError(
                Status.NOT_IMPLEMENTED,
                f"Datatype BYTES is not supported; input name: {port.name}",
            )


def _texts(tensor: InputTensor, port: Port) -> Array:
    check_dimensions(tensor)
    check_shape(tensor.shape, port)
    found = [bytes(each) for each in encoded.values(tensor)]
    encoded.check_count(len(found), tensor)
    if not found:
        # Of no text OpenVINO's CPU gives what it had last, which may be another's.
        raise _nothing(tensor)
    # OpenVINO's binding takes them in rows of the longest one.
    encoded.check_width(len(found), max(map(len, found)), tensor)
    if any(each.endswith(b"\0") for each in found):
        details = f"a text ends with a zero byte; input name: {tensor.name}"
        raise ServingError(Status.INVALID_STRING_INPUT, details)
    texts = np.empty(len(found), object)
    texts[:] = found
    return texts.reshape(tensor.shape)


def _elements(tensor: InputTensor, port: Port) -> list[Buffer]:
    """As many as the one dimension says, which is the batch."""
    if len(tensor.shape) != 1:
        raise ServingError(
            Status.INVALID_NO_OF_SHAPE_DIMENSIONS,
            "Expected number of input shape dimensions: 1; "
            f"Actual: {len(tensor.shape)}; input name: {tensor.name}",
        )
    found = encoded.values(tensor)
    if tensor.shape[0] != len(found):
        raise ServingError(
            Status.INVALID_BATCH_SIZE,
            f"Expected: {tensor.shape[0]}; Actual: {len(found)}; "
            f"input name: {tensor.name}",
        )
    check_batch(len(found), port)
    if not found:
        raise _nothing(tensor)
    return found


def _nothing(tensor: InputTensor) -> ServingError:
    details = f"no element; input name: {tensor.name}"
    return ServingError(Status.BYTES_CONTENTS_EMPTY, details)


def _padded(found: list[Buffer], tensor: InputTensor, port: Port) -> Array:
    padded = encoded.padded(found, tensor)
    assert port.shape is not None
    batch, width = port.shape
    if not (batch.admits(padded.shape[0]) and width.admits(padded.shape[1])):
        raise ServingError(
            Status.INVALID_SHAPE,
            f"Expected batch size: {batch}; got: {padded.shape[0]}; "
            f"Expected max null terminated string length: {width}; "
            f"got: {padded.shape[1]}; input name: {tensor.name}",
        )
    return padded
