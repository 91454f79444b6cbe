"""Frames through mediapipe's own mp.solutions of hands and bodies.

python body_solutions_child.py SOLUTION OPTIONS.json FRAMES.npz ANSWERS.npz

SOLUTION is hands, pose or holistic. An answer is there for each frame and thing that is
found, as FRAME/THING.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np


def points(landmarks: Any) -> Any:
    """[n, 4], the last column is the visibility."""
    rows = [(p.x, p.y, p.z, p.visibility) for p in landmarks.landmark]
    return np.array(rows, np.float32)


def hands(found: Any) -> Iterator[tuple[str, Any]]:
    if found.multi_hand_landmarks:
        yield "hands", np.stack([points(e) for e in found.multi_hand_landmarks])
        world = [points(each) for each in found.multi_hand_world_landmarks]
        yield "hands_in_metres", np.stack(world)
        pairs = [
            [(each.index, each.score) for each in one.classification]
            for one in found.multi_handedness
        ]
        yield "handedness", np.array(pairs, np.float32)


def pose(found: Any) -> Iterator[tuple[str, Any]]:
    if found.pose_landmarks:
        yield "body", points(found.pose_landmarks)
        yield "body_in_metres", points(found.pose_world_landmarks)
    if found.segmentation_mask is not None:
        yield "mask", found.segmentation_mask


def holistic(found: Any) -> Iterator[tuple[str, Any]]:
    for name, landmarks in (
        ("body", found.pose_landmarks),
        ("left_hand", found.left_hand_landmarks),
        ("right_hand", found.right_hand_landmarks),
        ("face", found.face_landmarks),
    ):
        if landmarks:
            yield name, points(landmarks)


# Options that Python does not know are lost between mp.solutions and its graph: a kernel
# of 9 for one of 7, and no mask smoothed. With these imported it runs what is written.
OPTIONS = (
    "image.segmentation_smoothing_calculator",
    "util.landmarks_refinement_calculator",
    "util.refine_landmarks_from_heatmap_calculator",
)
KINDS = {
    "hands": ("Hands", hands),
    "pose": ("Pose", pose),
    "holistic": ("Holistic", holistic),
}


def main() -> None:
    solution, options, frames_path, answers_path = sys.argv[1:]
    for each in OPTIONS:
        importlib.import_module(f"mediapipe.calculators.{each}_pb2")
    solutions: Any = importlib.import_module("mediapipe").solutions
    name, read = KINDS[solution]
    frames = np.load(frames_path)
    answers: dict[str, Any] = {}
    with getattr(getattr(solutions, solution), name)(**json.loads(options)) as running:
        for each in frames.files:
            for thing, found in read(running.process(frames[each])):
                answers[f"{each}/{thing}"] = found
    np.savez(answers_path, **answers)


if __name__ == "__main__":
    main()
