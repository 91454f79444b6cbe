"""Videos streamed through the graphs of a whole server: state is a stream's own."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import pytest

from graphs import assets
from tests.graphs.in_process import Answer, Pixels, clip
from tests.graphs.over_the_wire import serving, show
from tests.wire.servers import Server

PEOPLE = "people_tracking"
FACES = "face_tracking"
PART = 20  # frames

pytestmark = pytest.mark.timeout(180)  # four videos, on a machine that is busy


def ids(answers: list[Answer]) -> list[list[int]]:
    return [each.ids for each in answers]


@pytest.fixture(scope="module")
def street() -> list[Pixels]:
    """Frames 150 to 249 of people who cross a place."""
    try:
        path = assets.fetch("vtest.avi")
    except assets.AssetUnavailable as error:
        pytest.skip(str(error))
    return clip(path, 150, 100)


@pytest.fixture(scope="module")
def people(
    tmp_path_factory: pytest.TempPathFactory, street: list[Pixels]
) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("people"), PEOPLE) as server:
        yield server


@pytest.fixture(scope="module")
def answers(people: Server, street: list[Pixels]) -> list[Answer]:
    """The whole of it, by itself."""
    return show(people.address, PEOPLE, street)


def test_a_hundred_frames_are_answered_in_order(answers: list[Answer]) -> None:
    assert [each.timestamp for each in answers] == list(range(100))


def test_few_people_are_seen_and_keep_their_ids(answers: list[Answer]) -> None:
    seen = ids(answers)
    assert 5 <= len({each for frame in seen for each in frame}) <= 25
    # Most of those who are in a frame are in the next one, too.
    stayed = sum(len(set(before) & set(after)) for before, after in pairwise(seen))
    assert stayed > 0.9 * sum(map(len, seen[1:]))


def test_every_frame_comes_back_with_something_drawn_on_it(
    answers: list[Answer], street: list[Pixels]
) -> None:
    for answer, frame in zip(answers, street, strict=True):
        assert answer.annotated.shape == frame.shape
        assert answer.ids
        assert not np.array_equal(answer.annotated, frame)


def test_four_videos_at_a_time_have_each_the_ids_that_they_have_alone(
    people: Server, answers: list[Answer], street: list[Pixels]
) -> None:
    # The first part's answers are known: a stream's beginning knows no end.
    parts = [street[start : start + PART] for start in (0, 25, 50, 75)]
    others = [show(people.address, PEOPLE, part) for part in parts[1:]]
    alone = [answers[:PART], *others]
    with ThreadPoolExecutor(len(parts)) as pool:
        together = list(
            pool.map(lambda part: show(people.address, PEOPLE, part), parts)
        )
    for one, other in zip(together, alone, strict=True):
        assert ids(one) == ids(other)
        for mine, expected in zip(one, other, strict=True):
            np.testing.assert_allclose(mine.tracks, expected.tracks, atol=1e-4)
    assert people.is_idle()


def test_a_face_is_followed_without_anything_of_debian(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    frames = clip(assets.fetch("carphone.mp4"), 0, 40)
    with (
        serving(tmp_path_factory.mktemp("faces"), FACES) as server,
        ThreadPoolExecutor(2) as pool,
    ):
        first, second = pool.map(
            lambda part: show(server.address, FACES, part),
            (frames[:PART], frames[PART:]),
        )
    assert ids(first) == [[1]] * PART
    assert ids(second) == [[1]] * PART
    assert not np.array_equal(first[0].annotated, frames[0])
