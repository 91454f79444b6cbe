"""Tensors of real files go by each of their names, with and without TensorFlow's `:0`."""

from __future__ import annotations

import numpy as np
import pytest
import tritonclient.grpc as triton
from ovms_mp_clients import Client, ConnectionLost
from tritonclient.utils import InferenceServerException

from tests.formats import scenes
from tests.formats.routes import infer, stream
from tests.formats.spellings import NOTES, PEOPLE, PEOPLE_GRAPHS
from tests.wire.servers import Server


def test_the_published_name_is_the_first_that_is_no_path(client: Client) -> None:
    published = [port.name for port in client.metadata(PEOPLE).outputs]
    assert published == [
        "add:0",
        "detection_boxes:0",
        "detection_scores:0",
        "num_detections:0",
    ]


@pytest.mark.parametrize(
    ("model", "port"),
    [
        (PEOPLE, "image_tensor:0"),
        (PEOPLE, "image_tensor"),
        (NOTES, "serving_default_input_2:0"),
        (NOTES, "serving_default_input_2"),
    ],
)
def test_a_request_may_leave_the_index_of_an_input_away(
    triton_client: triton.InferenceServerClient, model: str, port: str
) -> None:
    shown = {PEOPLE: scenes.astronaut()[None], NOTES: scenes.chord(69)}
    assert infer(triton_client, model, port, shown[model])


@pytest.mark.parametrize("port", ["image_tensor:1", "image_tensor:0:0", "image", ""])
def test_another_name_is_refused(
    triton_client: triton.InferenceServerClient, port: str
) -> None:
    with pytest.raises(InferenceServerException, match="image_tensor"):
        infer(triton_client, PEOPLE, port, scenes.astronaut()[None])


def test_a_graph_may_use_any_name_of_a_tensor(client: Client) -> None:
    shown = [scenes.astronaut()[None]]
    expected, *others = (stream(client, graph, shown)[0] for graph in PEOPLE_GRAPHS)
    scenes.person(expected)
    for other in others:
        assert other.keys() == expected.keys()
        for role, array in other.items():
            np.testing.assert_allclose(array, expected[role], rtol=1e-5)


def test_of_an_indexed_name_only_the_first_can_be_left_bare(client: Client) -> None:
    (outputs,) = stream(client, "notes_bare", [scenes.chord(69)])
    assert outputs["contour"].shape == (1, 172, 264)


def test_a_graph_that_uses_a_name_of_no_tensor_is_refused_with_those_there_are(
    client: Client, formats: Server
) -> None:
    with pytest.raises(ConnectionLost, match="Mediapipe is not loaded yet"):
        stream(client, "notes_of_stranger", [scenes.chord(69)])
    says = 'no output "PartitionedCall", it has "StatefulPartitionedCall:2"'
    assert any("notes_of_stranger" in line and says in line for line in formats.log)
