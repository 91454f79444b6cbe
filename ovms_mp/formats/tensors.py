"""What a graph serves of values that are no tensors: FP32, as the modules beside this one
lay them out, of the messages that calculators send, and numbers as they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np
from google.protobuf.message import Message

from ovms_mp.formats import detection, landmark, rect
from ovms_mp.formats.detection import Detection
from ovms_mp.formats.landmark import LandmarkList, Landmarks, NormalizedLandmarkList
from ovms_mp.formats.rect import NormalizedRect, Rect

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from ovms_mp.core.tensor import Array

_NUMBERS: Final = (int, float)
_CLASSIFICATIONS: Final = "mediapipe.ClassificationList"
_ENCODED: Final = "mediapipe.OpenCvImageEncoderCalculatorResults"


class Texts(list[str | bytes]):
    """Texts of which there may be none: as an output of a graph BYTES [n], of n = 0, too,
    where an empty list tells not what it is empty of.
    """


def tensor_of(payload: object) -> Array | None:
    """The tensor of a detection, a rect, a landmark list, a pair or another tuple of
    numbers, a number, or of a list of any of them but tuples; None for anything else. Of
    one detection or rect there is one row without an axis for more; an empty list is
    [0, 0], since nothing tells what it is empty of.

    Of a number it is [1], of a list of numbers [n]: bool, int64 or float64.

    Of a ClassificationList it is float32 [n, 2], index and score, of a list of them
    [m, n, 2]; of what an image encoder sends uint8 [n], the file.

    Raises ValueError for a list whose items make no tensor together, and for an int
    beyond 64 bits.
    """
    if isinstance(payload, _NUMBERS):
        return _of_numbers([payload])
    if isinstance(payload, list):
        return _of_list(cast("list[object]", payload))
    if isinstance(payload, Detection):
        return detection.tensor_of([payload])[0]
    if isinstance(payload, NormalizedRect | Rect):
        return rect.tensor_of([payload])[0]
    if isinstance(payload, Landmarks):
        return landmark.tensor_of(payload)
    if isinstance(payload, tuple):
        numbers = cast("tuple[object, ...]", payload)
        if numbers and all(isinstance(each, _NUMBERS) for each in numbers):
            return np.array(payload, np.float32)
    if isinstance(payload, Message):
        return _of_message(payload)
    return None


def _of_message(message: Any) -> Array | None:
    name = message.DESCRIPTOR.full_name
    if name == _CLASSIFICATIONS:
        return _of_classifications(message)
    if name == _ENCODED:
        return np.frombuffer(message.encoded_image, np.uint8)
    return None


def _of_classifications(message: Any) -> NDArray[np.float32]:
    return np.array(_pairs(message), np.float32).reshape(-1, 2)


def _pairs(message: Any) -> list[tuple[int, float]]:
    return [(each.index, each.score) for each in message.classification]


def _of_list(items: Sequence[Any]) -> Array | None:
    if not items:
        return np.empty((0, 0), np.float32)
    kinds = {*map(type, items)}
    # Nearly always they are of one class, and no other one needs to be asked about.
    made = _OF_LISTS.get(kinds.pop()) if len(kinds) == 1 else None
    if made is not None:
        return made(items)
    if all(isinstance(each, Detection) for each in items):
        return detection.tensor_of(items)
    if all(isinstance(each, NormalizedRect | Rect) for each in items):
        return rect.tensor_of(items)
    if all(isinstance(each, Landmarks) for each in items):
        return landmark.tensor_of_lists(items)
    if all(isinstance(each, _NUMBERS) for each in items):
        return _of_numbers(items)
    if all(_is_classifications(each) for each in items):
        pairs = [_pairs(each) for each in items]
        if len({len(each) for each in pairs}) > 1:
            raise ValueError("classifications of different lengths make no tensor")
        return np.array(pairs, np.float32).reshape(len(items), -1, 2)
    return None


def _of_numbers(numbers: Sequence[bool | int | float]) -> Array:
    """Of the narrowest type that all of them have; a bool beside ints is one of them."""
    dtype = np.dtype(np.float64)
    if all(isinstance(each, bool) for each in numbers):
        dtype = np.dtype(np.bool_)
    elif all(isinstance(each, int) for each in numbers):
        dtype = np.dtype(np.int64)
    try:
        return np.array(numbers, dtype)
    except OverflowError as error:
        raise ValueError("a number of more than 64 bits") from error


_OF_LISTS: Final[Mapping[type[Any], Callable[[Any], Array]]] = {
    Detection: detection.tensor_of,
    NormalizedRect: rect.tensor_of,
    Rect: rect.tensor_of,
    LandmarkList: landmark.tensor_of_lists,
    NormalizedLandmarkList: landmark.tensor_of_lists,
}


def _is_classifications(item: object) -> bool:
    return isinstance(item, Message) and item.DESCRIPTOR.full_name == _CLASSIFICATIONS
