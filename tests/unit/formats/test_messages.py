"""A value and its message stand for each other."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ovms_mp_protos import graph

from ovms_mp.formats import messages
from ovms_mp.formats.detection import Detection, LocationFormat
from ovms_mp.formats.landmark import NormalizedLandmarkList
from tests.unit.formats import strategies


def same(one: Any, other: Any) -> bool:
    """Arrays by their values."""
    return type(one) is type(other) and all(
        np.array_equal(getattr(one, each.name), getattr(other, each.name))
        if isinstance(getattr(one, each.name), np.ndarray)
        else getattr(one, each.name) == getattr(other, each.name)
        for each in fields(one)
    )


VALUES = st.one_of(
    strategies.detections(),
    strategies.normalized_rects,
    strategies.rects,
    strategies.landmarks(),
    strategies.pictures,
)


@given(VALUES)
def test_a_value_comes_back_from_its_message(value: Any):
    message = messages.to_message(value, graph.message_class)
    assert message.DESCRIPTOR.full_name == messages.message_name(value)
    # As it would come from others: through bytes.
    read = type(message).FromString(message.SerializeToString())
    assert same(messages.from_message(read), value)


def test_a_message_that_stands_for_no_value_stays_as_it_is():
    message = graph.ClassificationList()
    assert messages.from_message(message) is message
    with pytest.raises(TypeError, match="no message for int"):
        messages.to_message(3, graph.message_class)


def test_a_detection_without_a_location_is_of_the_whole_image():
    found = messages.from_message(graph.Detection(score=[0.5], label=["cat"]))
    assert isinstance(found, Detection)
    assert found.format is LocationFormat.GLOBAL
    assert found.box == (0, 0, 1, 1)


def test_a_mask_is_refused():
    message = graph.Detection()
    message.location_data.format = graph.LocationData.MASK
    with pytest.raises(ValueError, match="MASK"):
        messages.from_message(message)


def test_an_empty_landmark_list_has_no_landmarks():
    found = messages.from_message(graph.NormalizedLandmarkList())
    assert isinstance(found, NormalizedLandmarkList)
    assert found.points.shape == (0, 3)
    assert found.visibility is None


def test_defaults_of_shapes_are_those_of_the_messages():
    message = graph.RenderData()
    message.render_annotations.add().text.SetInParent()
    message.render_annotations.add().rounded_rectangle.rectangle.SetInParent()
    message.render_annotations.add()  # draws nothing
    text, rounded = messages.from_message(message).render_annotations
    assert text.data == type(text.data)()
    assert text.thickness == 1.0
    assert rounded.data == type(rounded.data)(type(rounded.data.rectangle)())
