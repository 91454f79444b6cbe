"""People are cut out of images as mp.solutions cuts them out."""

from __future__ import annotations

from collections.abc import Iterator

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
    with served_graph(folder, face_graphs.SELFIE, face_graphs.SELFIE_MODELS) as found:
        yield found


@pytest.mark.usefixtures("mediapipe")
@pytest.mark.parametrize("name", ["photographs", "carphone.mp4"])
@pytest.mark.parametrize("model", [0, 1])
def test_masks_are_those_of_mediapipe(catalog: Catalog, name: str, model: int):
    """Frame by frame, of any format and in landscape format: of 1000 pixels a mean off
    by less than one of 255 steps, and people that overlap by 99 %.
    """
    frames = faces.material()[name]
    found = streamed(catalog, "graph", frames, model=model)
    mine = [each["mask"][..., 0] for each in found]
    theirs = face_graphs.solved(
        "selfie_segmentation", {"model_selection": model}, frames
    )
    like = face_graphs.likeness(mine, theirs)
    assert like.mean < 1 / 255
    assert like.p99 < 0.05
    assert like.overlap > 0.99


def test_a_person_is_where_it_is(catalog: Catalog):
    """The astronaut's face is, the corner above is not; without a side packet the model
    for any format is asked.
    """
    frame = faces.material()["photographs"][0]
    (found,) = streamed(catalog, "graph", [frame])
    mask = found["mask"][..., 0]
    assert mask.shape == (512, 512)
    assert mask[100:150, 200:250].min() > 0.95
    assert mask[:60, :60].max() < 0.5
    cut = found["cut_out"]
    np.testing.assert_array_equal(cut[..., :3], frame)
    assert cut[125, 225, 3] > 240
    np.testing.assert_array_equal(found["blue"][125, 225] // 16, frame[125, 225] // 16)


@pytest.mark.parametrize("shape", [(1, 1, 3), (2, 700, 3)])
def test_a_mask_has_the_size_of_its_frame(catalog: Catalog, shape: tuple[int, ...]):
    (found,) = streamed(catalog, "graph", [np.full(shape, 90, np.uint8)])
    assert found["mask"].shape == (*shape[:2], 1)
    assert found["cut_out"].shape == (*shape[:2], 4)


def test_a_gray_frame_is_told_what_the_model_expects(catalog: Catalog):
    frame = np.full((40, 30, 1), 127, np.uint8)
    with pytest.raises(ServingError, match=r"\(1,256,256,3\); Actual: \(1,256,256,1\)"):
        streamed(catalog, "graph", [frame])
