"""Frames through the subgraphs of faces and people and through mp.solutions, and how far
apart what they find is.

    python -m tests.vision.face_graphs FOLDER

prints the figures of docs/accuracy.md, and puts its pictures into the folder.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ovms_mp.servable.catalog import Catalog
from tests.differential.oracle import interpreter
from tests.vision import faces
from tests.vision.faces import Pixels, Rows
from tests.vision.streamed import served_graph, streamed

_CHILD = Path(__file__).with_name("face_solutions_child.py")

FULL_RANGE = """
input_stream: "IMAGE:frame" output_stream: "OVTENSOR:faces"
node { calculator: "FaceDetectionFullRangeCpu" input_stream: "IMAGE:frame"
       output_stream: "DETECTIONS:faces" }
"""
FULL_RANGE_MODELS = {"face_detection_full_range": "face_detection_full_range"}

SELFIE = """
input_stream: "IMAGE:frame" input_side_packet: "model"
output_stream: "IMAGE:0:mask" output_stream: "IMAGE:1:cut_out"
output_stream: "IMAGE:2:blue"
node { calculator: "SelfieSegmentationCpu" input_stream: "IMAGE:frame"
       input_side_packet: "MODEL_SELECTION:model"
       output_stream: "SEGMENTATION_MASK:mask" }
node { calculator: "SetAlphaCalculator" input_stream: "IMAGE:frame"
       input_stream: "ALPHA:mask" output_stream: "IMAGE:cut_out" }
node { calculator: "RecolorCalculator" input_stream: "IMAGE:frame"
       input_stream: "MASK:mask" output_stream: "IMAGE:blue"
       node_options { [type.googleapis.com/mediapipe.RecolorCalculatorOptions] {
         color { r: 0 g: 0 b: 255 } invert_mask: true
         adjust_with_luminance: false } } }
"""
SELFIE_MODELS = {
    each: each for each in ("selfie_segmentation", "selfie_segmentation_landscape")
}


def solved(
    solution: str, options: Mapping[str, Any], frames: Sequence[Pixels]
) -> list[Any]:
    """What one of mp.solutions gives for the frames."""
    python = interpreter()
    assert python is not None
    with tempfile.TemporaryDirectory() as folder:
        given, answers = Path(folder, "frames.npz"), Path(folder, "answers.npz")
        named: dict[str, Any] = {f"{at:05}": each for at, each in enumerate(frames)}
        np.savez(given, **named)
        told = [solution, json.dumps(options), str(given), str(answers)]
        subprocess.run(
            [str(python), str(_CHILD), *told],
            check=True,
            capture_output=True,
            timeout=300,
        )
        found = np.load(answers)
        return [found[f"{at:05}"] for at in range(len(frames))]


def full_range(catalog: Catalog, frames: Sequence[Pixels]) -> list[Rows]:
    """Rows of faces for each frame."""
    none = np.empty((0, 18), np.float32)
    return [each.get("faces", none) for each in streamed(catalog, "graph", frames)]


@dataclass(frozen=True)
class Likeness:
    """How masks differ. `mean` and `p99` are of all pixels' absolute differences;
    `overlap` is the least intersection over union of people, masks above one half.
    """

    frames: int
    mean: float
    p99: float
    largest: float
    overlap: float


def likeness(mine: Sequence[Any], theirs: Sequence[Any]) -> Likeness:
    """Of [height, width] each."""
    gaps = [np.abs(a - b).ravel() for a, b in zip(mine, theirs, strict=True)]
    overlaps = [1.0]
    for a, b in zip(mine, theirs, strict=True):
        either = ((a > 0.5) | (b > 0.5)).sum()
        if either:
            overlaps.append(float(((a > 0.5) & (b > 0.5)).sum() / either))
    every = np.concatenate(gaps)
    return Likeness(
        len(mine),
        float(every.mean()),
        float(np.percentile(every, 99)),
        float(every.max()),
        min(overlaps),
    )


def _save(folder: Path, name: str, *parts: Pixels) -> None:
    sides = np.concatenate(parts, axis=1)
    picture = cv2.cvtColor(sides, cv2.COLOR_RGB2BGR)
    quality = [cv2.IMWRITE_WEBP_QUALITY, 70]
    cv2.imwrite(str(folder / f"{name}.webp"), picture, quality)


def _shaded(frame: Pixels, mask: Any) -> Pixels:
    return (frame * (0.25 + 0.75 * mask[..., None])).astype(np.uint8)


def _full_range_figures(folder: Path, work: Path) -> None:
    with served_graph(work / "full", FULL_RANGE, FULL_RANGE_MODELS) as catalog:
        options = {"model_selection": 1, "min_detection_confidence": 0.6}
        for name, frames in faces.material().items():
            mine = full_range(catalog, frames)
            theirs = solved("face_detection", options, frames)
            found = faces.distance(mine, theirs, frames)
            sys.stdout.write(f"full range, {name}: {found}\n")


def _selfie_figures(folder: Path, work: Path) -> None:
    with served_graph(work / "selfie", SELFIE, SELFIE_MODELS) as catalog:
        for model in (0, 1):
            for name, frames in faces.material().items():
                found = streamed(catalog, "graph", frames, model=model)
                mine = [each["mask"][..., 0] for each in found]
                theirs = solved(
                    "selfie_segmentation", {"model_selection": model}, frames
                )
                like = likeness(mine, theirs)
                sys.stdout.write(f"selfie {model}, {name}: {like}\n")
                if name == "photographs" and model == 0:
                    native = _shaded(frames[0], theirs[0])
                    ours = _shaded(frames[0], mine[0])
                    _save(folder, "selfie_segmentation", native, ours, found[0]["blue"])


def main(arguments: Sequence[str]) -> int:
    """Prints, and makes pictures."""
    folder = Path(arguments[0])
    with tempfile.TemporaryDirectory() as work:
        _full_range_figures(folder, Path(work))
        _selfie_figures(folder, Path(work))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
