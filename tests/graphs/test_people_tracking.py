"""Laws of the people-tracking graph, on a real clip. What the people of the clip do was
looked up in its pictures.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from graphs import assets, repository
from ovms_mp.servable.catalog import Catalog
from tests.graphs.in_process import Answer, Pixels, Viewer, clip, serving, show

GRAPH = "people_tracking"
FIRST = 150


@pytest.fixture(scope="module")
def frames() -> list[Pixels]:
    try:
        path = assets.fetch("vtest.avi")
    except assets.AssetUnavailable as error:
        pytest.skip(str(error))
    return clip(path, FIRST, 100)


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Catalog]:
    folder = tmp_path_factory.mktemp("repository")
    repository.add_graph(folder, GRAPH)
    with serving(folder) as catalog:
        yield catalog


@pytest.fixture(scope="module")
def answers(catalog: Catalog, frames: list[Pixels]) -> list[Answer]:
    return show(catalog, GRAPH, frames)


def id_at(answers: list[Answer], frame: int, x: int, y: int) -> int:
    """Whose box has its centre within 15 pixels of x, y."""
    answer = answers[frame - FIRST]
    boxes = answer.tracks[:, :4] * np.array([768, 576, 768, 576])
    distances = np.abs((boxes[:, :2] + boxes[:, 2:]) / 2 - (x, y)).max(axis=1)
    assert distances.min() <= 15, f"nobody at {x}, {y} in frame {frame}"
    return answer.ids[int(distances.argmin())]


def test_every_frame_is_answered_in_order(answers: list[Answer], frames: list[Pixels]):
    assert [each.timestamp for each in answers] == list(range(len(frames)))
    assert {each.annotated.shape for each in answers} == {(576, 768, 3)}


def test_a_hundred_frames_show_few_people_and_nobody_is_counted_often(
    answers: list[Answer],
):
    ids = {each for answer in answers for each in answer.ids}
    assert 10 <= len(ids) <= 25
    seen = [len(answer.ids) for answer in answers]
    assert min(seen) >= 3
    assert 4.5 <= sum(seen) / len(seen) <= 6


@pytest.mark.parametrize(
    "path",
    [
        # The light jacket, from the sign out to the left.
        [(170, 294, 204), (180, 215, 201), (195, 129, 193), (205, 70, 186)],
        # The striped pullover, from the right through a crowd to the left.
        [
            (152, 584, 288),
            (155, 560, 276),
            (180, 375, 251),
            (195, 259, 233),
            (205, 202, 224),
            (240, 54, 207),
        ],
        # Black jacket and jeans: to the right, round, and back.
        [(180, 515, 269), (195, 599, 306), (205, 662, 344), (245, 428, 291)],
        # All in black, coming in from the right.
        [(225, 720, 270), (240, 624, 247), (245, 593, 237)],
    ],
)
def test_who_walks_through_the_picture_keeps_one_id(
    answers: list[Answer], path: list[tuple[int, int, int]]
):
    assert len({id_at(answers, *place) for place in path}) == 1


def test_an_annotated_frame_differs_from_the_frame_only_around_its_tracks(
    answers: list[Answer], frames: list[Pixels]
):
    for answer, frame in zip(answers[::20], frames[::20], strict=True):
        changed = (answer.annotated != frame).any(axis=2)
        assert changed.any()
        for box in answer.tracks[:, :4] * np.array([768, 576, 768, 576]):
            left, top, right, bottom = box.astype(int)
            # The label stands above the box and may be wider.
            changed[max(0, top - 25) : bottom + 4, max(0, left - 4) : right + 30] = (
                False
            )
        assert not changed.any()


def test_two_streams_at_once_do_not_share_people(
    catalog: Catalog, frames: list[Pixels]
):
    first, second = Viewer(catalog, GRAPH), Viewer(catalog, GRAPH)
    # The second sees the same people, later ones first.
    for one, other in zip(frames[:20], frames[20:40], strict=True):
        first.send(one)
        second.send(other)
    for viewer, part in ((first, frames[:20]), (second, frames[20:40])):
        mixed = viewer.finish()
        alone = show(catalog, GRAPH, part)
        assert [each.tracks.tolist() for each in mixed] == [
            each.tracks.tolist() for each in alone
        ]
        assert min(mixed[0].ids) == 1


def test_a_frame_without_people_comes_back_as_it_was(catalog: Catalog):
    grass = np.full((240, 320, 3), (40, 120, 40), np.uint8)
    (answer,) = show(catalog, GRAPH, [grass])
    assert answer.tracks.shape == (0, 7)
    assert np.array_equal(answer.annotated, grass)


def test_frames_may_change_their_size(catalog: Catalog, frames: list[Pixels]):
    small = np.ascontiguousarray(frames[45][::2, ::2])
    large, half = show(catalog, GRAPH, [frames[45], small])
    assert large.annotated.shape == (576, 768, 3)
    assert half.annotated.shape == (288, 384, 3)
    # Boxes are fractions of a frame: those who are still seen are the same.
    assert set(large.ids) & set(half.ids)
