"""Laws of the face-tracking graph, on a real clip and a real photograph."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import pytest

from graphs import assets, repository
from ovms_mp.servable.catalog import Catalog
from tests.graphs.in_process import clip, rgb, serving, show

GRAPH = "face_tracking"


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Catalog]:
    folder = tmp_path_factory.mktemp("repository")
    repository.add_graph(folder, GRAPH)
    with serving(folder) as catalog:
        yield catalog


def test_a_talking_head_has_one_id_in_every_frame(catalog: Catalog):
    frames = clip(assets.fetch("carphone.mp4"), 0, 120)
    answers = show(catalog, GRAPH, frames)
    assert [each.timestamp for each in answers] == list(range(120))
    assert [each.ids for each in answers] == [[1]] * 120
    assert {each.annotated.shape for each in answers} == {(144, 176, 3)}


def test_the_box_is_around_the_face(catalog: Catalog):
    picture = cv2.imread(str(assets.fetch("astronaut.png")))
    assert picture is not None
    (answer,) = show(catalog, GRAPH, [rgb(picture)])
    ((x0, y0, x1, y1, score, _, _),) = answer.tracks.tolist()
    assert score > 0.9
    # Forehead, chin, and both ears in pixels of the photograph.
    assert [x0 * 512, y0 * 512, x1 * 512, y1 * 512] == pytest.approx(
        [175, 75, 272, 172], abs=15
    )
