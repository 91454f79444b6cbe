"""Tensors and handlers' words between the server and a worker process; what comes from a
worker is judged field by field.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np

from ovms_mp.calculator.pyovms import Tensor
from ovms_mp.isolation.frames import FrameError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ovms_mp_calculators.python_model import Tensors

_MAX_RANK: Final = 32


def encode(tensors: Tensors) -> tuple[list[Any], list[Any]]:
    """Headers and buffers. Elements that lie scattered are copied."""
    headers: list[Any] = []
    buffers: list[Any] = []
    for tensor in tensors:
        array = np.asarray(tensor)
        buffers.append(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
        element = _element(array.dtype)
        headers.append(
            (tensor.name, tensor.datatype, tensor.shape, element, array.shape)
        )
    return headers, buffers


def _element(dtype: np.dtype[Any]) -> str:
    # `q` is another letter for what `<i8` makes an `l`; handlers may look at it.
    return dtype.char if dtype.char in "qQ" and dtype.isnative else dtype.str


def decode(headers: object, buffers: Sequence[Any]) -> Tensors:
    """Tensors on the buffers. Raises FrameError."""
    if not isinstance(headers, list):
        raise FrameError("the tensors are no list")
    rows = cast("list[object]", headers)
    if len(rows) != len(buffers):
        raise FrameError("there are not as many tensors as buffers")
    return [_tensor(*each) for each in zip(rows, buffers, strict=True)]


def _tensor(header: object, buffer: Any) -> Tensor:
    try:
        name, datatype, shape, element, lies = cast("Sequence[Any]", header)
        dtype = np.dtype(_text(element))
        if dtype.hasobject or len(lies) > _MAX_RANK:
            raise FrameError("a tensor of elements that no memory holds")
        flat = np.frombuffer(buffer, dtype) if len(buffer) else np.empty(0, dtype)
        return Tensor(
            _text(name),
            flat.reshape([int(each) for each in lies]),
            [int(each) for each in shape],
            _text(datatype),
        )
    except (TypeError, ValueError, OverflowError) as error:
        raise FrameError("a tensor that cannot be read") from error


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise FrameError(f"expected a text, found {type(value).__name__}")
    return value


def text(header: dict[str, Any], key: str) -> str:
    """A text of a header. Raises FrameError."""
    return _text(header.get(key))


def number(header: dict[str, Any], key: str) -> int:
    """An integer of a header. Raises FrameError."""
    value = header.get(key)
    if type(value) is not int:
        raise FrameError(f"expected a number, found {type(value).__name__}")
    return value
