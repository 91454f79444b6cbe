"""The graph `faces` finds what mp.solutions.face_detection finds."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import pytest

from graphs import assets, repository
from ovms_mp.core.errors import ServingError
from ovms_mp.servable.catalog import Catalog
from tests.graphs.in_process import rgb, serving
from tests.vision import faces

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Catalog]:
    folder = tmp_path_factory.mktemp("repository")
    repository.add_graph(folder, faces.GRAPH)
    with serving(folder) as catalog:
        yield catalog


@pytest.mark.usefixtures("mediapipe")
@pytest.mark.parametrize("name", ["photographs", "carphone.mp4"])
def test_faces_and_their_key_points_are_those_of_mediapipe(catalog: Catalog, name: str):
    """Frame by frame: as many faces, key points off by less than 0.5 % of the diagonal
    in the mean and 1.5 % in 99 of 100.
    """
    frames = faces.material()[name]
    mine, _ = faces.served(catalog, frames)
    found = faces.distance(mine, faces.solved(frames), frames)
    assert found.faces > 5
    assert found.different == 0
    assert found.mean < 0.005
    assert found.p99 < 0.015
    assert found.score < 0.01


def test_the_face_of_a_photograph_is_where_it_is_and_is_drawn(catalog: Catalog):
    picture = cv2.imread(str(assets.fetch("astronaut.png")))
    assert picture is not None
    frame = rgb(picture)
    (rows,), (annotated,) = faces.served(catalog, [frame])
    assert rows.shape == (1, 18)
    left, top, width, height, score, label = rows[0, :6].tolist()
    assert score > 0.9
    assert label == 0
    right_eye, left_eye, nose, *_ = rows[0, 6:].reshape(-1, 2)
    assert left < right_eye[0] < nose[0] < left_eye[0] < left + width
    assert top < right_eye[1] < nose[1] < top + height
    inside = (rows[0, :2] * 512).astype(int)
    # The corner of the box has the colour of the graph's options.
    assert annotated[inside[1], inside[0]].tolist() == [255, 60, 20]
    assert np.mean(annotated != frame) < 0.1


@pytest.mark.parametrize("shape", [(1, 1, 3), (2, 900, 3), (40, 30, 4)])
def test_frames_of_odd_shapes_have_no_faces_and_come_back(
    catalog: Catalog, shape: tuple[int, ...]
):
    frame = np.full(shape, 127, np.uint8)
    (rows,), (annotated,) = faces.served(catalog, [frame])
    assert rows.shape == (0, 18)
    assert annotated.shape == shape


def test_a_gray_frame_is_told_what_the_model_expects(catalog: Catalog):
    """As natively: an image of one channel is a tensor of one."""
    frame = np.full((40, 30, 1), 127, np.uint8)
    with pytest.raises(ServingError, match=r"\(1,128,128,3\); Actual: \(1,128,128,1\)"):
        faces.served(catalog, [frame])


def test_sixteen_bits_are_told_what_is_expected(catalog: Catalog):
    frame = np.full((40, 30, 3), 127, np.uint16)
    with pytest.raises(ServingError, match="expected GRAY8, SRGB or SRGBA"):
        faces.served(catalog, [frame])
