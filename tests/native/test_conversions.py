"""What OpenVINO makes of MediaPipe's own operators is what MediaPipe makes of them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from graphs import assets
from ovms_mp.inference.openvino import OpenVINOEngine
from tests.unit.inference import tiny

pytestmark = [pytest.mark.timeout(120), pytest.mark.usefixtures("wheel")]

# In a process of its own, as all of the wheel.
THEIRS = """
import sys
import numpy as np
from mediapipe.python.solutions.selfie_segmentation import SelfieSegmentation

frame, selection, mask = sys.argv[1:]
with SelfieSegmentation(model_selection=int(selection)) as segmentation:
    found = segmentation.process(np.load(frame))
np.save(mask, found.segmentation_mask)
"""


# The model by itself, with MediaPipe's resolver of its operators.
THEIR_FACE = """
import sys
import numpy as np
from mediapipe.python import packet_creator, packet_getter
from mediapipe.python._framework_bindings import calculator_graph, image_frame
import mediapipe.python.solutions.face_mesh  # makes the options known

frame, model, found = sys.argv[1:]
count = range(7)
streams = [f"floats_{n}" for n in count]
graph = calculator_graph.CalculatorGraph(
    graph_config='input_stream: "image"'
    + "".join(f'output_stream: "{each}"' for each in streams)
    + 'node { calculator: "ImageToTensorCalculator" '
    'input_stream: "IMAGE:image" output_stream: "TENSORS:in" '
    "options { [mediapipe.ImageToTensorCalculatorOptions.ext] { "
    "output_tensor_width: 192 output_tensor_height: 192 "
    "output_tensor_float_range { min: 0 max: 1 } } } }"
    'node { calculator: "TfLiteCustomOpResolverCalculator" '
    'output_side_packet: "OP_RESOLVER:resolver" '
    "options { [mediapipe.TfLiteCustomOpResolverCalculatorOptions.ext] "
    "{ use_gpu: false } } }"
    'node { calculator: "InferenceCalculator" input_side_packet: "OP_RESOLVER:resolver" '
    'input_stream: "TENSORS:in" output_stream: "TENSORS:out" '
    "options { [mediapipe.InferenceCalculatorOptions.ext] { "
    f'model_path: "{model}" delegate {{ xnnpack {{}} }} }} }} }}'
    'node { calculator: "SplitTensorVectorCalculator" input_stream: "out" '
    + "".join(f'output_stream: "tensor_{n}" ' for n in count)
    + "options { [mediapipe.SplitVectorCalculatorOptions.ext] { "
    + "".join(f"ranges: {{ begin: {n} end: {n + 1} }} " for n in count)
    + "} } }"
    + "".join(
        'node { calculator: "TensorsToFloatsCalculator" '
        f'input_stream: "TENSORS:tensor_{n}" output_stream: "FLOATS:floats_{n}" }}'
        for n in count
    )
)
given = {}
for each in streams:
    graph.observe_output_stream(
        each, lambda name, packet: given.update({name: packet_getter.get_float_list(packet)})
    )
graph.start_run()
image = packet_creator.create_image_frame(
    np.load(frame), image_format=image_frame.ImageFormat.SRGB
)
graph.add_packet_to_input_stream("image", image.at(0))
graph.close_all_packet_sources()
graph.wait_until_done()
np.savez(found, **{name: np.array(values, np.float32) for name, values in given.items()})
"""


# Faces as a detector would cut them out, and one that is turned by a quarter.
@pytest.mark.parametrize(
    ("top", "left", "size", "turns"),
    [(30, 150, 150, 0), (40, 160, 160, 0), (30, 150, 150, 1)],
)
def test_the_landmarks_of_a_face_with_attention_are_those_of_mediapipe(
    tmp_path: Path, top: int, left: int, size: int, turns: int
) -> None:
    image = cv2.imread(str(assets.fetch("astronaut.png")))
    assert image is not None
    face = np.rot90(image[top : top + size, left : left + size, ::-1], turns)
    frame = cv2.resize(np.ascontiguousarray(face), (192, 192))
    np.save(tmp_path / "frame.npy", frame)
    model = assets.fetch("mediapipe/face_landmark_with_attention.tflite")
    arguments = (tmp_path / "frame.npy", model, tmp_path / "found.npz")
    subprocess.run(
        [sys.executable, "-c", THEIR_FACE, *map(str, arguments)], check=True, timeout=90
    )
    theirs = np.load(tmp_path / "found.npz")

    engine = OpenVINOEngine()
    loaded = engine.load(model, tiny.EXACT)
    ours = loaded.infer([frame[None].astype(np.float32) / 255]).result(30).outputs
    loaded.close()
    engine.close()
    assert len(ours) == 7
    for number, output in enumerate(ours):
        expected = theirs[f"floats_{number}"]
        assert np.abs(expected).max() > 5
        np.testing.assert_allclose(output.reshape(-1), expected, rtol=0, atol=1e-3)


@pytest.mark.parametrize(
    ("model", "selection", "size"),
    [
        ("selfie_segmentation", 0, (256, 256)),
        ("selfie_segmentation_landscape", 1, (256, 144)),
    ],
)
def test_the_mask_of_selfie_segmentation_is_that_of_mediapipe(
    tmp_path: Path, model: str, selection: int, size: tuple[int, int]
) -> None:
    image = cv2.imread(str(assets.fetch("astronaut.png")))
    assert image is not None
    # As large as the model takes it: nothing is resized on the way.
    frame = np.ascontiguousarray(cv2.resize(image, size)[:, :, ::-1])
    np.save(tmp_path / "frame.npy", frame)
    arguments = (tmp_path / "frame.npy", selection, tmp_path / "mask.npy")
    subprocess.run(
        [sys.executable, "-c", THEIRS, *map(str, arguments)], check=True, timeout=90
    )
    theirs = np.load(tmp_path / "mask.npy")

    engine = OpenVINOEngine()
    loaded = engine.load(assets.fetch(f"mediapipe/{model}.tflite"), tiny.EXACT)
    tensor = frame[None].astype(np.float32) / 255
    (ours,) = loaded.infer([tensor]).result(30).outputs
    loaded.close()
    engine.close()
    assert 0.4 < theirs.mean() < 0.7
    np.testing.assert_allclose(ours[0, :, :, 0], theirs, rtol=0, atol=2e-4)
