"""Irises and contours of eyes are where another model of MediaPipe sees them: nothing in
the wheel has the subgraph, but face_mesh can refine its landmarks.
"""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import pytest

from ovms_mp.servable.catalog import Catalog
from tests.vision import face_graphs, faces
from tests.vision.streamed import served_graph, streamed

pytestmark = pytest.mark.timeout(300)

BOUNDARY = """
node {{ calculator: "SplitNormalizedLandmarkListCalculator" input_stream: "face"
       output_stream: "{side}"
       node_options {{ [type.googleapis.com/mediapipe.SplitVectorCalculatorOptions] {{
         ranges {{ begin: {first} end: {first_end} }}
         ranges {{ begin: {last} end: {last_end} }} combine_outputs: true }} }} }}
"""
IRISES = """
input_stream: "IMAGE:frame"
output_stream: "OVTENSOR:0:left_iris" output_stream: "OVTENSOR:1:right_iris"
output_stream: "OVTENSOR:2:left_eye" output_stream: "OVTENSOR:3:right_eye"
node { calculator: "FaceLandmarkFrontCpu" input_stream: "IMAGE:frame"
       output_stream: "LANDMARKS:faces" }
node { calculator: "SplitNormalizedLandmarkListVectorCalculator" input_stream: "faces"
       output_stream: "face"
       node_options { [type.googleapis.com/mediapipe.SplitVectorCalculatorOptions] {
         ranges { begin: 0 end: 1 } element_only: true } } }
node { calculator: "IrisLandmarkLeftAndRightCpu" input_stream: "IMAGE:frame"
       input_stream: "LEFT_EYE_BOUNDARY_LANDMARKS:left"
       input_stream: "RIGHT_EYE_BOUNDARY_LANDMARKS:right"
       output_stream: "LEFT_EYE_CONTOUR_LANDMARKS:left_eye"
       output_stream: "LEFT_EYE_IRIS_LANDMARKS:left_iris"
       output_stream: "RIGHT_EYE_CONTOUR_LANDMARKS:right_eye"
       output_stream: "RIGHT_EYE_IRIS_LANDMARKS:right_iris" }
""" + "".join(
    BOUNDARY.format(
        side=side, first=first, first_end=first + 1, last=last, last_end=last + 1
    )
    for side, first, last in (("left", 33, 133), ("right", 362, 263))
)
MODELS = {**face_graphs.MESH_MODELS, "iris_landmark": "iris_landmark"}
# Of a face, contours of its eyes in the order that the iris model has them.
LEFT_EYE = [33, 7, 163, 144, 145, 153, 154, 155, 133, 246, 161, 160, 159, 158, 157]
RIGHT_EYE = [263, 249, 390, 373, 374, 380, 381, 382, 362, 466, 388, 387, 386, 385, 384]


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Catalog]:
    folder = tmp_path_factory.mktemp("repository")
    with served_graph(folder, IRISES, MODELS) as found:
        yield found


@pytest.mark.usefixtures("mediapipe")
def test_irises_are_where_refined_landmarks_are(catalog: Catalog):
    """Two models, one eye: within 1 % of the image's diagonal where a face is half as
    high as the image, and middles of irises within half of it.
    """
    photo = faces.material()["photographs"][0]
    part = cv2.resize(photo[40:220, 130:310], (640, 640), interpolation=cv2.INTER_CUBIC)
    frame = part.astype(np.uint8)
    (found,) = streamed(catalog, "graph", [frame])
    options = {"static_image_mode": True, "refine_landmarks": True}
    ((expected,),) = face_graphs.solved("face_mesh", options, [frame])
    assert len(expected) == 478
    for name, places, most in (
        ("left_iris", range(468, 473), 0.01),
        ("right_iris", range(473, 478), 0.01),
        ("left_eye", LEFT_EYE, 0.01),
        ("right_eye", RIGHT_EYE, 0.01),
    ):
        mine = found[name][: len(places), :2]
        theirs = expected[list(places), :2]
        if "iris" in name:  # points around are in another order
            assert np.linalg.norm(mine[0] - theirs[0]) / np.sqrt(2) < 0.005
            mine, theirs = mine.mean(axis=0), theirs.mean(axis=0)
        apart = np.linalg.norm(np.atleast_2d(mine - theirs), axis=1) / np.sqrt(2)
        assert apart.max() < most, name


def test_eyes_of_a_mirrored_face_change_places(catalog: Catalog):
    """A right eye goes through the model mirrored: what is found is mirrored, too."""
    photo = faces.material()["photographs"][0]
    mirrored = np.ascontiguousarray(photo[:, ::-1])
    (found,) = streamed(catalog, "graph", [photo])
    (other,) = streamed(catalog, "graph", [mirrored])
    left, right = found["left_iris"][:, :2], other["right_iris"][:, :2]
    np.testing.assert_allclose(left[0, 0], 1 - right[0, 0], atol=0.004)
    np.testing.assert_allclose(left[0, 1], right[0, 1], atol=0.004)


def test_a_frame_without_a_face_has_no_eyes(catalog: Catalog):
    frame = np.full((60, 80, 3), 120, np.uint8)
    assert streamed(catalog, "graph", [frame]) == [{}]
