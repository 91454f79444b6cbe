"""Texts go to OpenVINO and come back as arrays of bytes objects.

Its binding takes and gives them as numpy's strings of one length, which end at their last
byte that is not zero: what ends with zeros cannot be said so, and is refused before.
"""

from __future__ import annotations

import numpy as np
import openvino as ov

from ovms_mp.core.tensor import Array
from ovms_mp.inference.engine import Port, TensorData


class TextInput:
    """OpenVINO's own strings, for one inference."""

    def __init__(self, request: ov.InferRequest, index: int, port: Port) -> None:
        self._request = request
        self._index = index
        self._rank = None if port.shape is None else len(port.shape)

    def take(self, tensor: TensorData) -> None:
        """Raises ValueError for what is no array of bytes objects."""
        if not isinstance(tensor, np.ndarray) or tensor.dtype != object:
            raise ValueError(f"input {self._index} takes texts")
        if self._rank is not None and tensor.ndim != self._rank:
            raise ValueError(f"input {self._index} has {self._rank} dimensions")
        self._request.set_input_tensor(self._index, _tensor(tensor))


class TextOutput:
    """Strings that are read by `texts_of`."""

    def give(self, result: Array) -> Array:
        """The same: it is a copy already."""
        return result


def texts_of(tensor: ov.Tensor) -> Array:
    """A copy of its strings, as bytes objects."""
    if not tensor.size:  # the binding would divide by zero, which ends the process
        return np.empty(tuple(tensor.shape), object)
    texts: Array = tensor.bytes_data
    if texts.dtype.itemsize == 1 and not any(tensor.str_data.flat):
        # For texts that are all empty the binding has one byte, and writes nothing there.
        return np.full(texts.shape, b"", object)
    return texts.astype(object)


def _tensor(texts: Array) -> ov.Tensor:
    if not texts.size:
        return ov.Tensor(ov.Type.string, ov.Shape(list(texts.shape)))
    return ov.Tensor(np.array(texts.ravel().tolist(), "S").reshape(texts.shape))
