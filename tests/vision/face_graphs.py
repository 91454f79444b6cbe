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
from numpy.typing import NDArray

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

MESH = """
input_stream: "IMAGE:frame" input_side_packet: "count" input_side_packet: "tracks"
output_stream: "OVTENSOR:0:landmarks" output_stream: "OVTENSOR:1:found"
node { calculator: "FaceLandmarkFrontCpu" input_stream: "IMAGE:frame"
       input_side_packet: "NUM_FACES:count"
       input_side_packet: "USE_PREV_LANDMARKS:tracks"
       output_stream: "LANDMARKS:landmarks" output_stream: "DETECTIONS:found" }
"""
MESH_MODELS = {
    "face_detection": "mediapipe_face_detection",
    "face_landmark": "face_landmark",
}
# Lips, eyes and irises by another model, if the client wants it so.
REFINED = MESH.replace(
    'input_side_packet: "tracks"\n',
    'input_side_packet: "tracks" input_side_packet: "refines"\n',
).replace(
    'input_side_packet: "USE_PREV',
    'input_side_packet: "WITH_ATTENTION:refines" input_side_packet: "USE_PREV',
)
REFINED_MODELS = {
    **MESH_MODELS,
    "face_landmark_with_attention": "face_landmark_with_attention",
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


@dataclass(frozen=True)
class Distance:
    """Errors of landmarks as parts of the image's diagonal. `different` are frames with
    more or fewer faces than mp.solutions finds; `z` is the largest error of a depth, in
    widths of the image.
    """

    frames: int
    faces: int
    different: int
    mean: float
    p99: float
    largest: float
    z: float


def distance(
    mine: Sequence[NDArray[np.float32]],
    theirs: Sequence[NDArray[np.float32]],
    frames: Sequence[Pixels],
) -> Distance:
    """Of [faces, landmarks, 3 or more] for each frame; faces are paired by their order."""
    errors, depths, different = [np.zeros(0)], [np.zeros(0)], 0
    for found, expected, frame in zip(mine, theirs, frames, strict=True):
        if len(found) != len(expected):
            different += 1
            continue
        size = np.array([frame.shape[1], frame.shape[0]], float)
        apart = (found[..., :2] - expected[..., :2]) * size
        errors.append(np.hypot(apart[..., 0], apart[..., 1]).ravel() / np.hypot(*size))
        depths.append(np.abs(found[..., 2] - expected[..., 2]).ravel())
    every, z = np.concatenate(errors), np.concatenate(depths)
    return Distance(
        len(frames),
        sum(map(len, mine)),
        different,
        float(every.mean()) if len(every) else 0.0,
        float(np.percentile(every, 99)) if len(every) else 0.0,
        float(every.max(initial=0)),
        float(z.max(initial=0)),
    )


def mesh(
    catalog: Catalog,
    frames: Sequence[Pixels],
    *,
    count: int,
    tracks: bool,
    refines: bool = False,
) -> list[NDArray[np.float32]]:
    """[faces, 468 or 478, 5] for each frame."""
    none = np.empty((0, 468, 5), np.float32)
    found = streamed(
        catalog, "graph", frames, count=count, tracks=tracks, refines=refines
    )
    return [each.get("landmarks", none) for each in found]


def irises(lists: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
    """What there is beyond the mesh."""
    return [each[:, 468:] for each in lists]


def _dotted(
    frame: Pixels, lists: Any, part: tuple[slice, slice], scale: int = 1
) -> Pixels:
    """A part of the frame, so many times as large."""
    rows, columns = part
    picture = cv2.resize(frame[part], None, fx=scale, fy=scale)
    size = np.array([frame.shape[1], frame.shape[0]])
    corner = np.array([columns.start, rows.start])
    for points in lists:
        for x, y in ((points[:, :2] * size - corner) * scale).astype(int).tolist():
            cv2.circle(picture, (x, y), 1, (60, 255, 60), -1)
    return picture.astype(np.uint8)


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


def _mesh_figures(folder: Path, work: Path) -> None:
    with served_graph(work / "mesh", MESH, MESH_MODELS) as catalog:
        for name, frames in faces.material().items():
            is_static = name == "photographs"
            mine = mesh(catalog, frames, count=2, tracks=not is_static)
            options = {"static_image_mode": is_static, "max_num_faces": 2}
            theirs = solved("face_mesh", options, frames)
            found = distance(mine, theirs, frames)
            sys.stdout.write(f"mesh, {name}: {found}\n")
            if is_static:
                part = slice(20, 300), slice(80, 380)
                sides = [_dotted(frames[0], each[0], part) for each in (theirs, mine)]
                _save(folder, "face_mesh", *sides)


def _refined_figures(folder: Path, work: Path) -> None:
    with served_graph(work / "refined", REFINED, REFINED_MODELS) as catalog:
        for name, frames in faces.material().items():
            is_static = name == "photographs"
            mine = mesh(catalog, frames, count=2, tracks=not is_static, refines=True)
            options = {
                "static_image_mode": is_static,
                "max_num_faces": 2,
                "refine_landmarks": True,
            }
            theirs = solved("face_mesh", options, frames)
            found = distance(mine, theirs, frames)
            sys.stdout.write(f"mesh with attention, {name}: {found}\n")
            found = distance(irises(mine), irises(theirs), frames)
            sys.stdout.write(f"irises of it, {name}: {found}\n")
            if is_static:
                part = slice(60, 180), slice(165, 285)
                both = theirs[0], mine[0]
                sides = [_dotted(frames[0], each, part, scale=3) for each in both]
                _save(folder, "face_mesh_refined", *sides)


def main(arguments: Sequence[str]) -> int:
    """Prints, and makes pictures."""
    folder = Path(arguments[0])
    with tempfile.TemporaryDirectory() as work:
        _full_range_figures(folder, Path(work))
        _selfie_figures(folder, Path(work))
        _mesh_figures(folder, Path(work))
        _refined_figures(folder, Path(work))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
