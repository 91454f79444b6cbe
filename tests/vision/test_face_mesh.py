"""Landmarks of faces are those of mp.solutions.face_mesh, found anew or tracked."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from ovms_mp.core.errors import ServingError
from ovms_mp.servable.catalog import Catalog
from tests.vision import face_graphs, faces
from tests.vision.streamed import served_graph, streamed

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Catalog]:
    folder = tmp_path_factory.mktemp("repository")
    with served_graph(folder, face_graphs.MESH, face_graphs.MESH_MODELS) as found:
        yield found


@pytest.mark.usefixtures("mediapipe")
@pytest.mark.parametrize(
    ("name", "tracks", "count"),
    [
        ("photographs", False, 2),
        ("photographs", False, 1),
        ("carphone.mp4", True, 1),
        ("carphone.mp4", True, 2),
    ],
)
def test_landmarks_are_those_of_mediapipe(
    catalog: Catalog, name: str, tracks: bool, count: int
):
    """Frame by frame: as many faces, landmarks off by less than 0.5 % of the diagonal in
    the mean and 1.5 % in 99 of 100.
    """
    frames = faces.material()[name]
    mine = face_graphs.mesh(catalog, frames, count=count, tracks=tracks)
    options = {"static_image_mode": not tracks, "max_num_faces": count}
    theirs = face_graphs.solved("face_mesh", options, frames)
    found = face_graphs.distance(mine, theirs, frames)
    assert found.faces > 5
    assert found.different == 0
    assert found.mean < 0.005
    assert found.p99 < 0.015
    assert found.z < 0.02


@pytest.fixture(scope="module")
def refining(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Catalog]:
    folder = tmp_path_factory.mktemp("refining")
    with served_graph(folder, face_graphs.REFINED, face_graphs.REFINED_MODELS) as found:
        yield found


@pytest.mark.usefixtures("mediapipe")
@pytest.mark.parametrize(
    ("name", "tracks", "count"),
    [("photographs", False, 2), ("carphone.mp4", True, 1), ("carphone.mp4", True, 2)],
)
def test_refined_landmarks_are_those_of_mediapipe(
    refining: Catalog, name: str, tracks: bool, count: int
):
    """With attention, frame by frame, as near as the others; irises by themselves, too."""
    frames = faces.material()[name]
    mine = face_graphs.mesh(refining, frames, count=count, tracks=tracks, refines=True)
    options = {
        "static_image_mode": not tracks,
        "max_num_faces": count,
        "refine_landmarks": True,
    }
    theirs = face_graphs.solved("face_mesh", options, frames)
    assert {each.shape[1] for each in mine if len(each)} == {478}
    for one, other in (
        (mine, theirs),
        (face_graphs.irises(mine), face_graphs.irises(theirs)),
    ):
        found = face_graphs.distance(one, other, frames)
        assert found.faces > 5
        assert found.different == 0
        assert found.mean < 0.005
        assert found.p99 < 0.015
        assert found.z < 0.02


def test_who_does_not_want_attention_gets_the_mesh_alone(
    catalog: Catalog, refining: Catalog
):
    """The same as from a graph that has no other model."""
    frames = faces.material()["photographs"][:2]
    for expected, found in zip(
        face_graphs.mesh(catalog, frames, count=1, tracks=True),
        face_graphs.mesh(refining, frames, count=1, tracks=True, refines=False),
        strict=True,
    ):
        assert expected.shape == (1, 468, 5)
        np.testing.assert_array_equal(found, expected)


def test_attention_needs_its_model_and_the_log_names_it(tmp_path: Path):
    """A graph that may ask for it is not loaded without it."""
    with (
        pytest.raises(AssertionError, match="face_landmark_with_attention"),
        served_graph(tmp_path, face_graphs.REFINED, face_graphs.MESH_MODELS),
    ):
        pass


def test_a_face_that_is_tracked_is_not_looked_for(catalog: Catalog):
    """The detector runs once, and again when the face was gone."""
    face = faces.material()["photographs"][0]
    nothing = np.full_like(face, 90)
    frames = [face, face, face, nothing, face]
    found = streamed(catalog, "graph", frames, count=1, tracks=True)
    assert ["landmarks" in each for each in found] == [True, True, True, False, True]
    assert ["found" in each for each in found] == [True, False, False, False, True]


def test_each_stream_tracks_its_own_face(catalog: Catalog):
    """A new one begins without what another has seen."""
    face = faces.material()["photographs"][0]
    first = streamed(catalog, "graph", [face, face], count=1, tracks=True)
    again = streamed(catalog, "graph", [face, face], count=1, tracks=True)
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one["landmarks"], other["landmarks"])
    assert "found" in again[0]


@pytest.mark.parametrize("shape", [(1, 1, 3), (2, 900, 3), (40, 30, 4)])
def test_frames_without_a_face_have_no_answer(catalog: Catalog, shape: tuple[int, ...]):
    frame = np.full(shape, 127, np.uint8)
    (found,) = streamed(catalog, "graph", [frame], count=1, tracks=True)
    assert "landmarks" not in found


def test_a_gray_frame_is_told_what_the_model_expects(catalog: Catalog):
    frame = np.full((40, 30, 1), 127, np.uint8)
    with pytest.raises(ServingError, match=r"\(1,128,128,3\); Actual: \(1,128,128,1\)"):
        streamed(catalog, "graph", [frame], count=1, tracks=True)
