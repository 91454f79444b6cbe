"""Frames through mediapipe's own mp.solutions.face_detection.

python solutions_child.py FRAMES.npz ANSWERS.npz
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

import numpy as np


def main() -> None:
    frames_path, answers_path = sys.argv[1:]
    solutions: Any = importlib.import_module("mediapipe").solutions
    frames = np.load(frames_path)
    answers: dict[str, Any] = {}
    with solutions.face_detection.FaceDetection(
        model_selection=0, min_detection_confidence=0.5
    ) as detector:
        for name in frames.files:
            found = detector.process(frames[name]).detections or []
            rows = []
            for each in found:
                box = each.location_data.relative_bounding_box
                row = [box.xmin, box.ymin, box.width, box.height, each.score[0], 0.0]
                for point in each.location_data.relative_keypoints:
                    row += [point.x, point.y]
                rows.append(row)
            answers[name] = np.array(rows, np.float32).reshape(-1, 18)
    np.savez(answers_path, **answers)


if __name__ == "__main__":
    main()
