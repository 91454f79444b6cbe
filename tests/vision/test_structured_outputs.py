"""Values leave a graph as MediaPipe's messages, serialized or in JSON."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from google.protobuf import json_format
from ovms_mp_protos import graph

from ovms_mp.formats.detection import Box, Detection
from ovms_mp.formats.landmark import NormalizedLandmarkList
from ovms_mp.formats.rect import NormalizedRect
from ovms_mp.servable.boundary import Kind, to_output
from tests.vision.both import ours

NODE = """
input_stream: "in" output_stream: "out"
node {{ calculator: "{name}" input_stream: "in" output_stream: "out" }}
"""


def sent(name: str, value: Any) -> Any:
    """The output tensor of a graph."""
    found = ours(NODE.format(name=name), [("in", value, 0)])["out"][0]
    return to_output(Kind.OVTENSOR, "out", found)


def elements(tensor: Any) -> list[bytes]:
    """The BYTES of an output."""
    assert tensor.datatype == "BYTES"
    data, found = bytes(tensor.data), []
    while data:
        end = 4 + int.from_bytes(data[:4], "little")
        found.append(data[4:end])
        data = data[end:]
    assert tensor.shape == (len(found),)
    return found


def detection() -> Detection:
    points = np.array([[0.25, 0.5], [0.75, 0.125]], np.float32)
    return Detection(Box(0.5, 0.25, 0.125, 0.5), (0.875,), (3,), keypoints=points)


LANDMARKS = NormalizedLandmarkList(
    np.arange(9, dtype=np.float32).reshape(3, 3) / np.float32(8), np.ones(3, np.float32)
)


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (detection(), "mediapipe.Detection"),
        (LANDMARKS, "mediapipe.NormalizedLandmarkList"),
        (NormalizedRect(0.5, 0.25, 1, 2, 0.5), "mediapipe.NormalizedRect"),
        (
            graph.ClassificationList(
                classification=[graph.Classification(index=2, score=0.5)]
            ),
            "mediapipe.ClassificationList",
        ),
    ],
)
def test_a_value_is_one_message(value: Any, name: str):
    (serialized,) = elements(sent("ToProtoCalculator", value))
    message = graph.message_class(name).FromString(serialized)
    (text,) = elements(sent("ToJsonCalculator", value))
    again = json_format.ParseDict(json.loads(text), graph.message_class(name)())
    assert again == message
    assert message.ListFields()


def test_a_list_is_as_many_messages_and_one_array_of_json():
    found = [detection(), detection(), detection()]
    first, *_ = messages = elements(sent("ToProtoCalculator", found))
    assert len(messages) == 3
    location = graph.message_class("mediapipe.Detection").FromString(first)
    (text,) = elements(sent("ToJsonCalculator", found))
    listed = json.loads(text)
    assert len(listed) == 3
    assert listed[0]["location_data"]["relative_keypoints"][1] == {
        "x": 0.75,
        "y": 0.125,
    }
    assert listed[0] == json_format.MessageToDict(
        location, preserving_proto_field_name=True
    )


def test_an_empty_list_is_empty():
    (text,) = elements(sent("ToJsonCalculator", []))
    assert text == b"[]"
    assert elements(sent("ToProtoCalculator", [])) == []


@pytest.mark.parametrize("name", ["ToJsonCalculator", "ToProtoCalculator"])
def test_what_has_no_message_is_told(name: str):
    outcome = ours(NODE.format(name=name), [("in", np.zeros(3), 0)])
    assert "ndarray is none of MediaPipe's messages" in str(outcome.error)


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        ("grüße", ["grüße".encode()]),
        (b"\x00\xff", [b"\x00\xff"]),
        (["a", b"", "bc"], [b"a", b"", b"bc"]),
    ],
)
def test_texts_leave_a_graph_as_bytes(payload: Any, expected: list[bytes]):
    assert elements(to_output(Kind.OVTENSOR, "out", payload)) == expected


def test_classes_leave_a_graph_as_indices_and_scores():
    classes = graph.ClassificationList(
        classification=[
            graph.Classification(index=7, score=0.75),
            graph.Classification(index=2, score=0.25),
        ]
    )
    tensor = to_output(Kind.OVTENSOR, "out", classes)
    assert (tensor.datatype, tensor.shape) == ("FP32", (2, 2))
    found = np.frombuffer(tensor.data, np.float32).reshape(2, 2)
    np.testing.assert_array_equal(found, [[7, 0.75], [2, 0.25]])
