"""How an operator wants a model to look to its clients: OVMS's `shape`, `batch_size`,
`layout`, `mean`, `scale`, `color_format` and `precision`, which are texts in a config and
in flags, become values here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple, NoReturn, TypeAlias, TypeVar

from ovms_mp.core.errors import ServingError, Status
from ovms_mp.core.layout import LayoutPair, is_layout
from ovms_mp.core.shape import ANY_LENGTH, Dim, Shape

T = TypeVar("T")

Auto: TypeAlias = Literal["auto"]
AUTO: Final[Auto] = "auto"
"""Whatever a request has: the model is compiled for it."""

WHICHEVER: Final = ""
"""The name of an input, or of a tensor, where only one can be meant."""

Written: TypeAlias = str | Mapping[str, str]
"""One text, or one for each name."""

# OpenVINO counts with an int32 here and there; no tensor has so long a side.
MAX_LENGTH: Final = 2**31 - 1
_COLORS: Final = ("RGB", "BGR", "GRAY", "NV12", "NV12_2", "I420", "I420_3")
_PRECISIONS: Final = {
    "BOOL": "boolean",
    "BF16": "bf16",
    **{f"FP{bits}": f"f{bits}" for bits in (16, 32, 64)},
    **{f"INT{bits}": f"i{bits}" for bits in (4, 8, 16, 32, 64)},
    **{f"UINT{bits}": f"u{bits}" for bits in (1, 4, 8, 16, 32, 64)},
}
_DIM: Final = re.compile(r"(-1|\d+)(?::(\d+))?", re.ASCII)
_NUMBERS: Final = re.compile(r"[\[(](.+)[\])]|([^\[\](),]+)", re.ASCII)


class Conversion(NamedTuple):
    """What clients send, and what the model has."""

    tensor: str
    model: str


@dataclass(frozen=True, slots=True)
class Adaptation:
    """Nothing by default: the model is as its file says. Shapes and batch size are those
    that clients see, after the layout. `mean` and `scale` have one number, or one for
    each channel; precisions are OpenVINO's names of element types.
    """

    batch_size: Dim | Auto | None = None
    shapes: Mapping[str, Shape | Auto] = field(
        default_factory=dict[str, "Shape | Auto"]
    )
    layouts: Mapping[str, LayoutPair] = field(default_factory=dict[str, LayoutPair])
    mean: tuple[float, ...] = ()
    scale: tuple[float, ...] = ()
    color_format: Conversion | None = None
    precision: Conversion | None = None

    @property
    def is_auto(self) -> bool:
        """True if there is an input that takes what comes."""
        return self.batch_size == AUTO or AUTO in self.shapes.values()

    @property
    def converts(self) -> bool:
        """True if numbers are changed before the model sees them."""
        return bool(self.mean or self.scale or self.color_format or self.precision)


NO_ADAPTATION: Final = Adaptation()


def parse(written: Mapping[str, Written]) -> Adaptation:
    """What was written under OVMS's names; an empty text says nothing. A batch size
    beside shapes is ignored (OVMS).

    Raises ServingError with OVMS's statuses of a wrong format.
    """
    given = {name: text for name, text in written.items() if text}
    shapes = _by_name(given.get("shape", ""), _shape)
    return Adaptation(
        batch_size=None if shapes else _one(given, "batch_size", _batch_size),
        shapes=shapes,
        layouts=_by_name(given.get("layout", ""), _layout),
        mean=_one(given, "mean", _numbers) or (),
        scale=_one(given, "scale", _numbers) or (),
        color_format=_one(given, "color_format", _color_format),
        precision=_one(given, "precision", _precision),
    )


def _one(given: Mapping[str, Written], name: str, read: Callable[[str], T]) -> T | None:
    text = given.get(name)
    if not isinstance(text, str):
        return None
    try:
        return read(text)
    except ServingError as error:
        # Two of them may be of one format.
        raise ServingError(error.status, f"{name}: {error.details}") from None


def _by_name(written: Written, read: Callable[[str], T]) -> dict[str, T]:
    if isinstance(written, str):
        return {WHICHEVER: read(written)} if written else {}
    return {name: read(text) for name, text in written.items()}


def _shape(text: str) -> Shape | Auto:
    if text == AUTO:
        return AUTO
    bare = "".join(text.split())
    if not (bare.startswith("(") and bare.endswith(")")):
        _refuse(Status.SHAPE_WRONG_FORMAT, text, "(1,3,-1,200:500), or auto")
    return tuple(
        _dim(part, Status.SHAPE_WRONG_FORMAT, text)
        for part in bare[1:-1].removesuffix(",").split(",")
    )


def _batch_size(text: str) -> Dim | Auto | None:
    if text == AUTO:
        return AUTO
    bare = "".join(text.split())
    if bare == "0":  # OVMS's word for: as it is
        return None
    return _dim(bare, Status.DIM_WRONG_FORMAT, text)


def _dim(part: str, status: Status, text: str) -> Dim:
    found = _DIM.fullmatch(part)
    if found is None or len(part) > 2 * len(str(MAX_LENGTH)) + 1:
        _refuse(status, text, "a number, -1, or a range as 1:8")
    low, high = int(found[1]), int(found[2] or 0)
    if found[2] is None:
        if not low or low > MAX_LENGTH:
            _refuse(status, text, f"-1, or a number from 1 to {MAX_LENGTH}")
        return ANY_LENGTH if low < 0 else Dim(low, low)
    if not 1 <= low < high <= MAX_LENGTH:
        _refuse(status, text, "a range from at least 1 that ends above its beginning")
    return Dim(low, high)


def _layout(text: str) -> LayoutPair:
    """One layout is that of clients and of the model."""
    tensor, colon, model = "".join(text.upper().split()).partition(":")
    pair = LayoutPair(tensor, model if colon else tensor)
    if not all(map(is_layout, pair)):
        _refuse(Status.LAYOUT_WRONG_FORMAT, text, "NHWC, or NHWC:NCHW")
    return pair


def _numbers(text: str) -> tuple[float, ...]:
    found = _NUMBERS.fullmatch("".join(text.split()))
    try:
        numbers = tuple(map(float, (found[1] or found[2]).split(","))) if found else ()
    except ValueError:
        numbers = ()
    if not numbers or not all(map(math.isfinite, numbers)):
        _refuse(Status.FLOAT_WRONG_FORMAT, text, "127.5, or [123.6,116.7,103.9]")
    return numbers


def _color_format(text: str) -> Conversion:
    source, _, target = "".join(text.upper().split()).partition(":")
    if source not in _COLORS or target not in _COLORS:
        known = ", ".join(_COLORS)
        _refuse(Status.COLOR_FORMAT_WRONG_FORMAT, text, f"BGR:RGB, each one of {known}")
    return Conversion(source, target)


def _precision(text: str) -> Conversion:
    source, _, target = "".join(text.upper().split()).partition(":")
    if source not in _PRECISIONS or target not in _PRECISIONS:
        known = ", ".join(_PRECISIONS)
        _refuse(Status.PRECISION_WRONG_FORMAT, text, f"UINT8:FP32, each one of {known}")
    return Conversion(_PRECISIONS[source], _PRECISIONS[target])


def _refuse(status: Status, text: str, expected: str) -> NoReturn:
    raise ServingError(status, f"{text!r}: expected {expected}")
