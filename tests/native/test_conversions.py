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
