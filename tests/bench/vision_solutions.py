"""What one of mp.solutions does with frames, by itself; a child of `vision.py`, in an
environment that has mediapipe.

    python -m tests.bench.vision_solutions SOLUTION FRAMES.npy

Says that it is ready, then reads seconds, a number per line, and answers each with what
it took for every frame of so many seconds, in JSON.
"""

from __future__ import annotations

import json
import sys
import time
from importlib import import_module
from itertools import cycle
from typing import Any, Final

import numpy as np

solutions: Any = import_module("mediapipe").solutions  # it has no types

# With the options that the graphs have: two hands, complexity 1, short range.
MADE: Final = {
    "faces": solutions.face_detection.FaceDetection,
    "hands": solutions.hands.Hands,
    "pose": solutions.pose.Pose,
    "holistic": solutions.holistic.Holistic,
}


def played(running: Any, frames: Any, seconds: float) -> dict[str, Any]:
    """The video from its beginning, again and again."""
    running.reset()
    running.process(frames[0])
    taken: list[float] = []
    spent, begun = time.process_time(), time.perf_counter()
    last = begun
    for frame in cycle(frames):
        running.process(frame)
        now = time.perf_counter()
        taken.append(now - last)
        last = now
        if now - begun > seconds:
            break
    used = time.process_time() - spent
    return {"seconds": last - begun, "latencies": taken, "cpu": used}


def main() -> None:
    """Until there is no line any more."""
    frames = np.load(sys.argv[2])
    with MADE[sys.argv[1]]() as running:
        print("ready", flush=True)
        for line in sys.stdin:
            print(json.dumps(played(running, frames, float(line))), flush=True)


if __name__ == "__main__":
    main()
