"""JPEG and PNG become what a model takes: colours as OpenCV has them (BGR), in the size
of the model's input. Rules are OVMS's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np

from ovms_mp.core.errors import ServingError, Status
from ovms_mp.core.layout import REST, may_be
from ovms_mp.core.shape import UNBOUNDED, Dim
from ovms_mp.core.tensor import Datatype, describe_shape
from ovms_mp.servable import encoded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ovms_mp.core.messages import Buffer, InputTensor
    from ovms_mp.core.tensor import Array
    from ovms_mp.inference.engine import Port

_LAYOUT: Final = "N...HWC"
# Only of these is it known which dimension is which; OVMS resizes nothing else.
_RESIZED: Final = ("NHWC", "N?HWC", REST)
_DATATYPES: Final = frozenset(
    {
        Datatype.FP16,
        Datatype.FP32,
        Datatype.FP64,
        Datatype.INT8,
        Datatype.INT16,
        Datatype.INT32,
        Datatype.UINT8,
        Datatype.UINT16,
    }
)
# Other numbers OpenCV does not resize.
_RESIZABLE: Final = frozenset({"uint8", "uint16", "int16", "float32", "float64"})


def can_hold(port: Port) -> bool:
    """True if a pixel can be of the input's datatype."""
    return port.datatype in _DATATYPES


def read(found: Sequence[Buffer], tensor: InputTensor, port: Port) -> Array:
    """The pictures as one array [n, height, width, channels]. Raises ServingError."""
    shape = port.told or port.shape
    assert shape is not None
    assert port.datatype is not None
    if not may_be(port.layout, _LAYOUT, len(shape)):
        details = f"Actual: {port.layout}; input name: {tensor.name}"
        raise ServingError(Status.UNSUPPORTED_LAYOUT, details)
    decoded = encoded.decoded(found, tensor)
    _check_channels(decoded, shape[-1], tensor)
    is_resized = port.layout in _RESIZED and not any(map(_is_any, shape))
    first = decoded[0]
    if not is_resized:
        encoded.check_resolution(decoded, tensor)
    height, width = shape[1].nearest(first.shape[0]), shape[2].nearest(first.shape[1])
    dtype = port.datatype.dtype
    for index, picture in enumerate(decoded):
        if picture.shape[:2] == (height, width):
            decoded[index] = _converted(picture, dtype)
        elif is_resized:
            decoded[index] = _resized(picture, (width, height), dtype)
        else:
            expected = describe_shape(shape)
            actual = describe_shape((len(found), *first.shape))
            details = f"Expected: {expected}; Actual: {actual}"
            raise ServingError(
                Status.INVALID_SHAPE, f"{details}; input name: {tensor.name}"
            )
    return np.stack(decoded)


def _is_any(dim: Dim) -> bool:
    return dim.maximum == UNBOUNDED


def _check_channels(decoded: Sequence[Array], dim: Dim, tensor: InputTensor) -> None:
    expected = Dim(decoded[0].shape[2], decoded[0].shape[2]) if _is_any(dim) else dim
    for picture in decoded:
        if not expected.admits(picture.shape[2]):
            raise ServingError(
                Status.INVALID_NO_OF_CHANNELS,
                f"Expected: {expected}; Actual: {picture.shape[2]}; "
                f"input name: {tensor.name}",
            )


def _resized(picture: Array, size: tuple[int, int], dtype: np.dtype[Any]) -> Array:
    """In the model's numbers, so that what is between two pixels is not rounded where
    these have fractions (OVMS).
    """
    import cv2

    between = dtype if dtype.name in _RESIZABLE else np.dtype(np.float32)
    picture = np.ascontiguousarray(_converted(picture, between))
    resized = cast("Array", cv2.resize(picture, size))
    return _converted(resized.reshape(size[1], size[0], picture.shape[2]), dtype)


def _converted(picture: Array, dtype: np.dtype[Any]) -> Array:
    """To the nearest number that there is."""
    if picture.dtype == dtype:
        return picture
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        picture = np.clip(np.rint(picture), limits.min, limits.max)
    return picture.astype(dtype)
