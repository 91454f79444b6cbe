"""How the numbers of an SSD detector are meant: relative to anchors, in one of three
orders. Computed in float32, for the boxes that are wanted only.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray
from ovms_mp_protos import graph

from ovms_mp.calculator import ContractError
from ovms_mp_calculators.model_tensors import named

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Self

    from ovms_mp.calculator import Foreseen

_OPTIONS: Final = graph.TensorsToDetectionsCalculatorOptions
_BOX: Final = 4
_FLOAT: Final = np.dtype(np.float32)
# Arrays of one number: numpy takes them in half the time that np.float32(1) takes.
_ONE: Final[NDArray[np.float32]] = np.array(1, np.float32)
_HALF: Final[NDArray[np.float32]] = np.array(0.5, np.float32)
_PLACES: Final = {
    "detections": 0,
    "classes": 1,
    "anchors": 2,
    "num_detections": 3,
}

Floats: TypeAlias = NDArray[np.float32]


class Places(NamedTuple):
    """Where boxes are: xmin, ymin, xmax and ymax of each, as float32 has them, and their
    key points, float32 [n, k, 2].
    """

    corners: Sequence[Sequence[float]]
    points: Floats


@dataclass(frozen=True)
class Coding:
    """The options, of either message. `box_indices` are the places of ymin, xmin, ymax
    and xmax in a box that needs no decoding; `mapping` is empty for the usual order of
    tensors.
    """

    num_classes: int
    num_boxes: int
    num_coords: int
    scales: tuple[float, float, float, float]
    """x, y, w, h."""
    keypoint_offset: int
    num_keypoints: int
    values_per_keypoint: int
    box_offset: int
    is_exponential: bool
    is_sigmoid: bool
    clipping: float | None
    flip_vertically: bool
    min_score: float | None
    ignored: frozenset[int]
    allowed: frozenset[int]
    max_results: int
    classes_per_box: int
    box_format: int
    box_indices: tuple[int, ...]
    mapping: dict[str, int]

    @cached_property
    def least_logit(self) -> Floats | None:
        """No number below it makes a score that is good enough, and some above make none:
        it is lower by more than a score is rounded. None where that is not known.
        """
        least = self.min_score
        if not self.is_sigmoid or least is None or not 0.001 < least < 0.999:
            return None
        # Beyond 20 it is all the same: 1 and what is added to it are 1 in float32.
        if self.clipping is not None and self.clipping < 20:
            return None
        logit = math.log(least / (1 - least)) - 0.01
        return np.array(logit, np.float32)

    @cached_property
    def is_of_corners(self) -> bool:
        """Boxes are told by their corners."""
        return self.box_format == _OPTIONS.XYXY

    @cached_property
    def is_in_order(self) -> bool:
        """The columns are those of a row as it is."""
        return self.columns.tolist() == list(range(self.num_coords))

    @cached_property
    def limits(self) -> tuple[Floats, Floats] | None:
        """The least and the largest of what is activated, if there are such."""
        most = self.clipping
        if most is None:
            return None
        return np.array(-most, np.float32), np.array(most, np.float32)

    @cached_property
    def columns(self) -> NDArray[np.intp]:
        """Where in a row are x and y of the centre, of the size and of the key points."""
        box, points = self.box_offset, self.keypoint_offset
        begins = box, box + 2, *range(points, points + 2 * self.num_keypoints, 2)
        is_turned = self.box_format == _OPTIONS.YXHW
        pair = (1, 0) if is_turned else (0, 1)
        return np.array([begin + each for begin in begins for each in pair])

    @cached_property
    def divisors(self) -> Floats:
        """Of the same pairs, [2 + key points, 2]."""
        x, y, w, h = self.scales
        pairs = [(x, y), (w, h), *[(x, y)] * self.num_keypoints]
        return np.array(pairs, np.float32)

    @classmethod
    def of(cls, options: Any) -> Self:
        """Of a message; what OpenVINOTensorsToDetections has no option for is as if it
        was not set.
        """
        has_all = isinstance(options, _OPTIONS)
        box_format = _OPTIONS.XYWH if options.reverse_output_order else _OPTIONS.YXHW
        indices: tuple[int, ...] = (0, 1, 2, 3)
        mapping: dict[str, int] = {}
        if has_all:
            if options.HasField("box_format"):
                box_format = options.box_format or _OPTIONS.YXHW
            if options.HasField("box_boundaries_indices"):
                given = options.box_boundaries_indices
                indices = (given.ymin, given.xmin, given.ymax, given.xmax)
            mapping = {
                descriptor.name.removesuffix("_tensor_index"): number
                for descriptor, number in options.tensor_mapping.ListFields()
            }
        has_clipping = options.HasField("score_clipping_thresh")
        has_minimum = options.HasField("min_score_thresh")
        return cls(
            num_classes=options.num_classes,
            num_boxes=options.num_boxes,
            num_coords=options.num_coords,
            scales=(options.x_scale, options.y_scale, options.w_scale, options.h_scale),
            keypoint_offset=options.keypoint_coord_offset,
            num_keypoints=options.num_keypoints,
            values_per_keypoint=options.num_values_per_keypoint,
            box_offset=options.box_coord_offset,
            is_exponential=options.apply_exponential_on_box_size,
            is_sigmoid=options.sigmoid_score,
            clipping=options.score_clipping_thresh if has_clipping else None,
            flip_vertically=options.flip_vertically,
            min_score=options.min_score_thresh if has_minimum else None,
            ignored=frozenset(options.ignore_classes),
            allowed=frozenset(options.allow_classes if has_all else ()),
            max_results=options.max_results if has_all else -1,
            classes_per_box=options.max_classes_per_detection if has_all else 1,
            box_format=box_format,
            box_indices=indices,
            mapping=mapping,
        )

    def place(self, tensor: str, usual: int | None = None) -> int:
        """Where in the list a tensor is."""
        if self.mapping:
            if tensor not in self.mapping:
                raise ValueError(f"tensor_mapping has no {tensor}_tensor_index")
            return self.mapping[tensor]
        return _PLACES[tensor] if usual is None else usual


def check(coding: Coding) -> None:
    """Raises ContractError for numbers that contradict each other."""
    if coding.num_classes < 1 or coding.num_coords < _BOX or coding.num_boxes < 0:
        raise ContractError("num_classes, num_boxes and num_coords must be set")
    if coding.values_per_keypoint != 2:
        raise ContractError("num_values_per_keypoint is 2")
    if coding.num_keypoints < 0 or coding.num_keypoints * 2 + _BOX != coding.num_coords:
        raise ContractError(
            f"{coding.num_keypoints} keypoints and a box are "
            f"{coding.num_keypoints * 2 + _BOX} numbers, num_coords is "
            f"{coding.num_coords}"
        )
    ends = (
        coding.keypoint_offset + 2 * coding.num_keypoints
        if coding.num_keypoints
        else 0,
        coding.box_offset + _BOX,
    )
    if min(coding.keypoint_offset, coding.box_offset) < 0 or max(ends) > (
        coding.num_coords
    ):
        raise ContractError("the offsets of box and keypoints are within num_coords")
    if coding.max_results == 0 or coding.classes_per_box < 1:
        raise ContractError("max_results and max_classes_per_detection are not 0")
    if sorted(coding.box_indices) != [0, 1, 2, 3]:
        raise ContractError("box_boundaries_indices are 0, 1, 2 and 3 in some order")
    _check_mapping(coding.mapping)


def _check_mapping(mapping: dict[str, int]) -> None:
    if not mapping:
        return
    sets = (
        {"detections", "scores"},
        {"detections", "scores", "anchors"},
        {"detections", "scores", "classes", "num_detections"},
    )
    if set(mapping) not in sets or sorted(mapping.values()) != list(
        range(len(mapping))
    ):
        raise ContractError(
            "tensor_mapping numbers the detections and the scores, and either the "
            "anchors or the classes and num_detections, from 0 without a gap"
        )


def as_floats(tensor: object, what: str = "a tensor") -> Floats:
    """Raises TypeError for what is no array, ValueError for another than of float32."""
    if not isinstance(tensor, np.ndarray):
        raise TypeError(f"expected an array, found {type(tensor).__name__}")
    array = cast("NDArray[Any]", tensor)
    if array.dtype != _FLOAT:
        raise ValueError(f"{what} of {array.dtype}; expected float32")
    return array


def floats_at(tensors: Sequence[object], place: int) -> Floats:
    """One of a model's tensors, whose name is made for an error only. Raises as
    `as_floats`.
    """
    tensor = tensors[place]
    if isinstance(tensor, np.ndarray):
        array = cast("NDArray[Any]", tensor)
        if array.dtype == _FLOAT:
            return array
    return as_floats(cast("object", tensor), named(tensors, place))


def foresee_floats(tensors: Iterable[Foreseen]) -> None:
    """Raises ValueError for those that `as_floats` would refuse."""
    for each in tensors:
        if each.datatype not in {"", "FP32"}:
            raise ValueError(f"{each.whose} of {each.datatype}; expected FP32")


def foresee_first(tensors: Sequence[Foreseen], nothing: str) -> Foreseen:
    """The first one, which `as_floats` would take. Raises ValueError if it would not, and
    with the text `nothing` for a list without tensors.
    """
    if not tensors:
        raise ValueError(nothing)
    foresee_floats(tensors[:1])
    return tensors[0]


def expect(what: str, tensor: Floats, shape: tuple[int, ...]) -> None:
    """Raises ValueError for a tensor of another shape."""
    if tensor.shape != shape:
        raise ValueError(
            f"{what} of shape {list(tensor.shape)}; expected {list(shape)}"
        )


def foresee_shape(tensor: Foreseen, *shapes: tuple[int, ...]) -> None:
    """Raises ValueError for one that can have none of these shapes, -1 is any length."""
    if not tensor.may_be(*shapes):
        raise ValueError(
            f"{tensor.whose} of shape {list(tensor.shape)}; expected {list(shapes[0])}"
        )


def check_rows(tensors: Sequence[Floats], place: int, count: int, columns: int) -> None:
    """Raises ValueError for one of another shape than [1, count, columns] and
    [1, 1, count, columns].
    """
    shape = tensors[place].shape
    if shape not in ((1, count, columns), (1, 1, count, columns)):
        raise _no_rows(named(tensors, place), shape, count, columns)


def foresee_rows(tensor: Foreseen, count: int, columns: int) -> None:
    """Raises ValueError for one that `check_rows` would refuse."""
    if not tensor.may_be((1, count, columns), (1, 1, count, columns)):
        raise _no_rows(tensor.whose, tensor.shape, count, columns)


def _no_rows(what: str, shape: tuple[int, ...], count: int, columns: int) -> ValueError:
    return ValueError(
        f"{what} of shape {list(shape)}; expected [1, {count}, {columns}]"
    )


def anchors_of(tensor: Floats) -> Floats:
    """A model's own anchors, in the order of SsdAnchorsCalculator."""
    if tensor.ndim != 2 or tensor.shape[1] != _BOX:
        raise ValueError(f"anchors of shape {list(tensor.shape)}; expected [n, 4]")
    return tensor[:, [1, 0, 2, 3]]


def activated(scores: Floats, coding: Coding) -> Floats:
    """Scores between 0 and 1 of what a model gives, if it gives logits."""
    if not coding.is_sigmoid:
        return scores
    if coding.limits is not None:
        least, most = coding.limits
        scores = np.minimum(np.maximum(scores, least), most)
    shares = np.exp(-scores)
    shares += _ONE
    return np.divide(_ONE, shares, out=shares)


def activated_few(logits: Floats) -> list[float]:
    """Of some that `least_logit` tells: without what numpy need not do for them."""
    shares: list[float] = np.exp(-logits).tolist()
    wholes = array("f", [1 + each for each in shares])
    return array("f", [1 / each for each in wholes]).tolist()


def decoded(boxes: Floats, anchors: Floats, coding: Coding) -> Places:
    """Of rows that are the caller's to keep, each with its anchor."""
    # Pairs of x and y: the centre, the size, and the key points.
    rows = boxes if coding.is_in_order else boxes.take(coding.columns, axis=1)
    pairs = rows.reshape(-1, *coding.divisors.shape)
    if coding.is_of_corners:
        first, last = pairs[:, 0].copy(), pairs[:, 1].copy()
        pairs[:, 0], pairs[:, 1] = (last - first) * _HALF, first + last
    pairs /= coding.divisors
    if coding.is_exponential:
        pairs[:, 1] = np.exp(pairs[:, 1])
    pairs *= anchors[:, np.newaxis, :1:-1]
    sizes = pairs[:, 1].tolist()
    pairs += anchors[:, np.newaxis, :2]
    corners = [
        array("f", (x - wide / 2, y - high / 2, x + wide / 2, y + high / 2))
        for (x, y), (wide, high) in zip(pairs[:, 0].tolist(), sizes, strict=True)
    ]
    points = pairs[:, 2:]
    if coding.keypoint_offset < _BOX and coding.num_keypoints:
        # As MediaPipe: the box is written at the beginning, wherever it was.
        flat = np.zeros_like(rows)
        told = flat[:, coding.keypoint_offset :][:, : 2 * coding.num_keypoints]
        told[:] = points.reshape(told.shape)
        flat[:, [1, 0, 3, 2]] = corners
        points = told.reshape(points.shape)
    return Places(corners, points)


def as_they_are(boxes: Floats, coding: Coding) -> Places:
    """Of rows that need no decoding: corners, and key points as x, y."""
    top, left, bottom, right = coding.box_indices
    begin = coding.keypoint_offset
    points = boxes[:, begin : begin + 2 * coding.num_keypoints]
    return Places(
        boxes.take((left, top, right, bottom), axis=1).tolist(),
        points.reshape(len(boxes), coding.num_keypoints, 2).copy(),
    )
