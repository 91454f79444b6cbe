"""What leaves a graph as a tensor has the documented shape, and the values in it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ovms_mp_protos import graph

from ovms_mp.formats.detection import Box, Detection
from ovms_mp.formats.landmark import Landmarks, NormalizedLandmarkList
from ovms_mp.formats.rect import NormalizedRect
from ovms_mp.formats.render_data import RenderData
from ovms_mp.formats.tensors import tensor_of
from tests.unit.formats import strategies


@given(st.lists(strategies.detections(keypoints=2), min_size=1, max_size=3))
def test_detections_are_rows_of_box_score_label_and_key_points(
    found: list[Detection],
):
    tensor = tensor_of(found)
    assert tensor is not None
    assert tensor.dtype == np.float32
    assert tensor.shape == (len(found), 10)
    for row, each in zip(tensor, found, strict=True):
        np.testing.assert_array_equal(row[:4], np.array(each.box, np.float32))
        assert row[4] == (np.float32(each.scores[0]) if each.scores else 0)
        assert row[5] == (np.float32(each.label_ids[0]) if each.label_ids else -1)
        np.testing.assert_array_equal(row[6:], each.keypoints.ravel())


def test_a_row_with_fewer_key_points_ends_in_nan():
    box = Box(0, 0, 1, 1)
    more = Detection(box, keypoints=np.zeros((2, 2), np.float32))
    tensor = tensor_of([Detection(box), more])
    assert tensor is not None
    assert np.isnan(tensor[0, 6:]).all()
    assert not np.isnan(tensor[1]).any()


def test_one_thing_is_one_row():
    rect = NormalizedRect(0.5, 0.25, 0.125, 1.0, rotation=-0.5)
    tensor = tensor_of(rect)
    assert tensor is not None
    assert tensor.tolist() == [0.5, 0.25, 0.125, 1.0, -0.5]
    many = tensor_of([rect, rect])
    assert many is not None
    assert many.tolist() == [tensor.tolist()] * 2


def test_classes_are_rows_of_index_and_score_and_several_have_as_many():
    one = graph.ClassificationList()
    one.classification.add(index=3, score=0.5)
    none = graph.ClassificationList()
    found = tensor_of([one, one])
    assert found is not None
    assert found.tolist() == [[[3, 0.5]], [[3, 0.5]]]
    with pytest.raises(ValueError, match="different lengths"):
        tensor_of([one, none])


@given(st.integers(1, 4).flatmap(strategies.landmarks))
def test_landmarks_are_rows_with_zeros_for_what_is_not_known(found: Landmarks):
    tensor = tensor_of(found)
    assert tensor is not None
    assert tensor.shape == (len(found), 5)
    np.testing.assert_array_equal(tensor[:, :3], found.points)
    for column, values in ((3, found.visibility), (4, found.presence)):
        expected = np.zeros(len(found)) if values is None else values
        np.testing.assert_array_equal(tensor[:, column], expected)


def test_lists_of_landmarks_have_one_length():
    def of(count: int) -> NormalizedLandmarkList:
        return NormalizedLandmarkList(np.zeros((count, 3), np.float32))

    tensor = tensor_of([of(2), of(2), of(2)])
    assert tensor is not None
    assert tensor.shape == (3, 2, 5)
    with pytest.raises(ValueError, match="of 2, 3 landmarks"):
        tensor_of([of(2), of(3)])


def test_nothing_is_an_empty_tensor_and_a_pair_is_two_numbers():
    nothing, pair = tensor_of([]), tensor_of((640, 480))
    assert nothing is not None
    assert nothing.shape == (0, 0)
    assert pair is not None
    assert pair.tolist() == [640, 480]


@pytest.mark.parametrize("payload", [RenderData(), "text", [RenderData()], ("a",), ()])
def test_what_has_no_form_as_a_tensor_has_none(payload: object):
    assert tensor_of(payload) is None


def test_landmarks_that_do_not_belong_together_are_refused():
    with pytest.raises(ValueError, match=r"\[n, 3\]"):
        Landmarks(np.zeros((2, 2), np.float32))
    with pytest.raises(ValueError, match="2 landmarks have visibility"):
        Landmarks(np.zeros((2, 3), np.float32), np.zeros(3, np.float32))
