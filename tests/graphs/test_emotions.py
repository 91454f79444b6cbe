"""Laws of the emotions graph: three models, one behind the other."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from graphs import assets, repository
from ovms_mp.core.messages import InferRequest, InputTensor
from ovms_mp.servable.catalog import Catalog
from tests.graphs.in_process import rgb, serving

pytestmark = pytest.mark.timeout(300)

GRAPH = "emotions"


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Catalog]:
    folder = tmp_path_factory.mktemp("repository")
    repository.add_graph(folder, GRAPH)
    with serving(folder) as catalog:
        yield catalog


def photo() -> NDArray[np.uint8]:
    picture = cv2.imread(str(assets.fetch("astronaut.png")))
    assert picture is not None
    return rgb(picture)


def asked(catalog: Catalog, frame: NDArray[np.uint8]) -> tuple[Any, Any, Any]:
    """The frame that comes back, landmarks, and emotions."""
    tensor = InputTensor("frame", "UINT8", frame.shape, raw=frame.tobytes())
    request = InferRequest(GRAPH, inputs=(tensor,), raw_count=1)
    response = catalog.infer(request).result(timeout=60)
    found = {each.name: each for each in response.outputs}
    annotated = np.frombuffer(found["annotated"].data, np.uint8).reshape(frame.shape)
    landmarks = found["landmarks"]
    points = np.frombuffer(landmarks.data, np.float32).reshape(landmarks.shape)
    assert (found["emotions"].datatype, found["emotions"].shape) == ("BYTES", (1,))
    return annotated, points, json.loads(bytes(found["emotions"].data)[4:])


def test_the_astronaut_is_happy(catalog: Catalog):
    annotated, landmarks, emotions = asked(catalog, photo())
    assert landmarks.shape == (1, 468, 5)
    ((first, second),) = (each["classification"] for each in emotions)
    assert first["label"] == "happy"
    assert first["score"] > 0.9 > second["score"]
    is_drawn = (annotated == [255, 220, 0]).all(axis=2)
    assert is_drawn[75:175, 175:275].sum() > 300  # the lines of the face
    assert is_drawn[:50, :200].sum() > 100  # and the word


def test_each_face_has_its_own(catalog: Catalog):
    """In the order of their landmarks, one of them as in a mirror."""
    face = photo()[20:220, 120:320]
    frame = np.ascontiguousarray(np.concatenate([face, face[:, ::-1]], axis=1))
    _, landmarks, emotions = asked(catalog, frame)
    assert landmarks.shape == (2, 468, 5)
    labels = [each["classification"][0]["label"] for each in emotions]
    assert labels == ["happy", "happy"]
    middles = landmarks[..., 0].mean(axis=1)
    assert sorted(middles > 0.5) == [False, True]
