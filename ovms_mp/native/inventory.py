"""What the wheel of the extra registers, known without importing it and without having
it: `native-calculators.txt` beside this file, which a test holds against the wheel.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from typing import TYPE_CHECKING, Final

from ovms_mp_protos import graph as protos

from ovms_mp.native import descriptors

if TYPE_CHECKING:
    from collections.abc import Mapping

    from google.protobuf.message import Message

EXTRA: Final = "ovms_mp[native]"
WHEEL: Final = "mediapipe"
VERSION: Final = "0.10.21"
"""The last with the graph runtime, and the one that the list was made from."""

# Families whose members share the options of one, and options of another package; a name
# is else its options' name.
_SHARED_OPTIONS: Final = (
    (r"Concatenate\w+VectorCalculator", "ConcatenateVectorCalculatorOptions"),
    (r"Split\w+VectorCalculator", "SplitVectorCalculatorOptions"),
    (r"Get\w+VectorItemCalculator", "GetVectorItemCalculatorOptions"),
    (r"Clip\w+VectorSizeCalculator", "ClipVectorSizeCalculatorOptions"),
    (r"\w+HasMinSizeCalculator", "CollectionHasMinSizeCalculatorOptions"),
    (r"Multi\w*LandmarksSmoothingCalculator", "LandmarksSmoothingCalculatorOptions"),
    (r"InferenceCalculator\w+", "InferenceCalculatorOptions"),
    (r"WarpAffineCalculator\w+", "WarpAffineCalculatorOptions"),
    (
        r"(DetectionsToRects|FaceToRect|AlignmentPointsRects)Calculator",
        "DetectionsToRectsCalculatorOptions",
    ),
    (r"Split\w*LandmarkListCalculator", "SplitVectorCalculatorOptions"),
    (r"ModelResourcesCalculator", "tasks.core.proto.ModelResourcesCalculatorOptions"),
    (r"ScoreCalibrationCalculator", "tasks.ScoreCalibrationCalculatorOptions"),
)


@cache
def _sections() -> Mapping[str, frozenset[str]]:
    text = files("ovms_mp.native").joinpath("native-calculators.txt").read_text("ascii")
    found: dict[str, list[str]] = {}
    names: list[str] = []
    for line in text.splitlines():
        if section := re.match(r"\[(\w+)\]", line):
            names = found.setdefault(section[1], [])
        elif line and not line.startswith("#"):
            names.append(line.strip())
    return {section: frozenset(each) for section, each in found.items()}


def names() -> frozenset[str]:
    """Calculators and subgraphs that a node may name."""
    sections = _sections()
    return sections["calculators"] | sections["subgraphs"]


def input_handlers() -> frozenset[str]:
    """The input stream handlers that a native node may name."""
    return _sections()["input_stream_handlers"]


def problem() -> str:
    """Why no native node can run here, or an empty text."""
    try:
        found = version(WHEEL)
    except PackageNotFoundError:
        return f"it needs the extra {EXTRA}"
    if found != VERSION:
        return f"it needs {WHEEL} {VERSION} (extra {EXTRA}), {found} is installed"
    return ""


def message_class(full_name: str) -> type[Message]:
    """A message by its full name: ours where we have it, else as the wheel describes
    it. Raises KeyError.
    """
    try:
        return protos.message_class(full_name)
    except KeyError:
        if problem():
            raise
        return descriptors.wheel().message_class(full_name)


def options(calculator: str) -> type[Message] | None:
    """The options message of a native calculator or subgraph, if it has one."""
    if calculator not in names():
        return None
    package, _, name = calculator.rpartition(".")
    candidates = (
        f"{package or 'mediapipe'}.{name}Options",
        f"{package}.proto.{name}Options",
        *(
            f"mediapipe.{shared}"
            for pattern, shared in _SHARED_OPTIONS
            if re.fullmatch(pattern, name)
        ),
    )
    for candidate in candidates:
        try:
            return message_class(candidate)
        except KeyError:
            continue
    return None
