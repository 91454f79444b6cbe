"""The same graph in mediapipe itself, in a process of its own.

python direct.py GRAPH FRAMES.npy ANSWERS.npy
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import numpy as np


def main() -> None:
    graph_path, frames_path, answers_path = map(Path, sys.argv[1:])
    # Without types, and of another environment than the one that checks types.
    mediapipe: Any = importlib.import_module("mediapipe")
    bindings: Any = importlib.import_module("mediapipe.python._framework_bindings")
    bindings.resource_util.set_resource_dir(str(Path(mediapipe.__file__).parents[1]))
    graph = mediapipe.CalculatorGraph(graph_config=graph_path.read_text())
    matrices: list[np.ndarray] = []
    graph.observe_output_stream(
        "matrix",
        lambda _, packet: matrices.append(mediapipe.packet_getter.get_matrix(packet)),
    )
    graph.start_run()
    for number, frame in enumerate(np.load(frames_path)):
        packet = mediapipe.packet_creator.create_image_frame(
            image_format=mediapipe.ImageFormat.SRGB, data=frame
        )
        graph.add_packet_to_input_stream("image", packet.at(number))
        graph.wait_until_idle()
    np.save(answers_path, np.stack(matrices))


if __name__ == "__main__":
    main()
