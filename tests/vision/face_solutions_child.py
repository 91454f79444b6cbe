"""Frames through mediapipe's own mp.solutions of faces and of people.

python face_solutions_child.py SOLUTION OPTIONS.json FRAMES.npz ANSWERS.npz

SOLUTION is face_detection, face_mesh or selfie_segmentation.
"""

from __future__ import annotations

import importlib
import json
import sys
from typing import Any

import numpy as np


def detections(found: Any) -> Any:
    """[n, 18]"""
    rows: list[Any] = []
    for each in found.detections or []:
        box = each.location_data.relative_bounding_box
        row = [box.xmin, box.ymin, box.width, box.height, each.score[0], 0.0]
        for point in each.location_data.relative_keypoints:
            row += [point.x, point.y]
        rows.append(row)
    return np.array(rows, np.float32).reshape(-1, 18)


def faces(found: Any) -> Any:
    """[n, 468, 3], with irises 478"""
    lists = found.multi_face_landmarks or []
    points = [[(p.x, p.y, p.z) for p in each.landmark] for each in lists]
    return np.array(points, np.float32) if points else np.empty((0, 468, 3), np.float32)


def mask(found: Any) -> Any:
    """[height, width]"""
    return found.segmentation_mask


KINDS = {
    "face_detection": ("FaceDetection", detections),
    "face_mesh": ("FaceMesh", faces),
    "selfie_segmentation": ("SelfieSegmentation", mask),
}


def main() -> None:
    solution, options, frames_path, answers_path = sys.argv[1:]
    solutions: Any = importlib.import_module("mediapipe").solutions
    name, read = KINDS[solution]
    frames = np.load(frames_path)
    made = getattr(getattr(solutions, solution), name)
    with made(**json.loads(options)) as running:
        answers = {each: read(running.process(frames[each])) for each in frames.files}
    np.savez(answers_path, **answers)


if __name__ == "__main__":
    main()
