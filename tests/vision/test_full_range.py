"""Faces that are far away are found as mp.solutions finds them."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import pytest

from ovms_mp.core.errors import ServingError
from ovms_mp.servable.catalog import Catalog
from tests.vision import face_graphs, faces
from tests.vision.streamed import served_graph

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Catalog]:
    folder = tmp_path_factory.mktemp("repository")
    with served_graph(
        folder, face_graphs.FULL_RANGE, face_graphs.FULL_RANGE_MODELS
    ) as found:
        yield found


@pytest.mark.usefixtures("mediapipe")
@pytest.mark.parametrize("name", ["photographs", "carphone.mp4"])
def test_faces_and_their_key_points_are_those_of_mediapipe(catalog: Catalog, name: str):
    """Frame by frame: as many faces, key points off by less than 0.5 % of the diagonal
    in the mean and 1.5 % in 99 of 100.
    """
    frames = faces.material()[name]
    mine = face_graphs.full_range(catalog, frames)
    options = {"model_selection": 1, "min_detection_confidence": 0.6}
    theirs = face_graphs.solved("face_detection", options, frames)
    found = faces.distance(mine, theirs, frames)
    assert found.faces > 5
    assert found.different == 0
    assert found.mean < 0.005
    assert found.p99 < 0.015
    assert found.score < 0.01


def test_several_faces_are_found_where_they_are(catalog: Catalog):
    """Four in a frame, one in each corner."""
    photo = faces.material()["photographs"][0]
    small = cv2.resize(photo[:400, 40:440], (256, 256), interpolation=cv2.INTER_AREA)
    frame = np.ascontiguousarray(np.tile(small, (2, 2, 1)), np.uint8)
    (rows,) = face_graphs.full_range(catalog, [frame])
    assert len(rows) == 4
    centers = (rows[:, :2] + rows[:, 2:4] / 2).round(2)
    places = {(bool(x > 0.5), bool(y > 0.5)) for x, y in centers.tolist()}
    assert len(places) == 4


@pytest.mark.parametrize("shape", [(1, 1, 3), (2, 900, 3), (40, 30, 4)])
def test_frames_of_odd_shapes_have_no_faces(catalog: Catalog, shape: tuple[int, ...]):
    frame = np.full(shape, 127, np.uint8)
    (rows,) = face_graphs.full_range(catalog, [frame])
    assert rows.shape == (0, 18)


def test_a_gray_frame_is_told_what_the_model_expects(catalog: Catalog):
    frame = np.full((40, 30, 1), 127, np.uint8)
    with pytest.raises(ServingError, match=r"\(1,192,192,3\); Actual: \(1,192,192,1\)"):
        face_graphs.full_range(catalog, [frame])
