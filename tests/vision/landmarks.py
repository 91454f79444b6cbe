"""Landmarks for tests, and how near two of them are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from ovms_mp.formats.landmark import Landmarks, NormalizedLandmarkList
from tests.vision.both import image

checked = settings(
    max_examples=40,
    phases=[Phase.explicit, Phase.generate],
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
NORMALIZED = "proto:mediapipe.NormalizedLandmarkList"
WORLD = "proto:mediapipe.LandmarkList"
RECT = "proto:mediapipe.NormalizedRect"

parts = st.floats(-0.5, 1.5, width=32)
angles = st.floats(-3, 3, width=32)
sizes = st.tuples(st.integers(1, 60), st.integers(1, 60))

SIZED = """
input_stream: "image"
node { calculator: "ImagePropertiesCalculator" input_stream: "IMAGE:image"
       output_stream: "SIZE:size" }
"""

# Python cannot make a vector of tensors for native code; this makes one of a matrix.
TENSORS = """
input_stream: "matrix"
node { calculator: "TensorConverterCalculator" input_stream: "MATRIX:matrix"
       output_stream: "TENSORS:tensors" options {
  [mediapipe.TensorConverterCalculatorOptions.ext] { row_major_matrix: true } } }
"""


@st.composite
def lists(
    draw: st.DrawFn, kind: type[Landmarks] = NormalizedLandmarkList, count: int = 0
) -> Any:
    """Of one to seven landmarks unless `count` says how many."""
    count = count or draw(st.integers(1, 7))
    points = draw(arrays.arrays(np.float32, (count, 3), elements=parts))
    scores = arrays.arrays(np.float32, count, elements=st.floats(0, 1, width=32))
    visibility = draw(st.none() | scores)
    # Natively nobody knows the one without the other.
    presence = None if visibility is None else draw(st.none() | scores)
    return kind(points, visibility, presence)


def frame(shape: tuple[int, int], at: int = 0) -> tuple[str, Any, int]:
    """An image of a size."""
    return "image", image(np.zeros((*shape, 3), np.uint8)), at


def near(
    mine: Landmarks, theirs: Landmarks, atol: float = 2e-5, rtol: float = 1e-5
) -> None:
    """Points within tolerances, what is known of them as well, and nothing else."""
    assert type(mine) is type(theirs)
    np.testing.assert_allclose(mine.points, theirs.points, atol=atol, rtol=rtol)
    for name in ("visibility", "presence"):
        found, expected = getattr(mine, name), getattr(theirs, name)
        assert (found is None) == (expected is None), name
        if found is not None:
            np.testing.assert_allclose(found, expected, atol=1e-6)


def points_of(lists: Sequence[Landmarks]) -> Any:
    """[m, n, 3]."""
    return np.stack([each.points for each in lists])
