"""Models of every format answer what is shown to them, by every way there is to them."""

from __future__ import annotations

import numpy as np
import pytest
import tritonclient.grpc as triton
from ovms_mp_clients import Client

from tests.formats.cases import CASES
from tests.formats.routes import ROUTES, Route, infer, stream

EVERY_ROUTE = pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)

# Absolute where numbers are small, relative where they are logits. Measured at f32 on one
# CPU: 0 for faces and text, 1.4e-7 for notes; with bfloat16 it would be up to 0.004.
TOLERANCE = 1e-5


def test_no_format_is_left_out() -> None:
    formats = {"IR", "ONNX", "PaddlePaddle", "TFLite"}
    tensorflow = {"TensorFlow frozen graph", "TensorFlow SavedModel"}
    assert {case.format for case in CASES} == formats | tensorflow
    assert {r.case.format for r in ROUTES if r.is_file} == formats | tensorflow


@EVERY_ROUTE
def test_a_request_is_answered_with_what_it_shows(
    triton_client: triton.InferenceServerClient, route: Route
) -> None:
    case = route.case
    for array, expected in case.shown():
        outputs = infer(triton_client, route.name, case.input, array)
        assert case.meaning(case.roles(outputs)) == expected


@EVERY_ROUTE
def test_each_packet_of_a_stream_is_answered_with_what_it_shows(
    client: Client, route: Route
) -> None:
    shown = route.case.shown()
    answers = stream(client, route.graph, [array for array, _ in shown])
    for outputs, (_, expected) in zip(answers, shown, strict=True):
        assert route.case.meaning(outputs) == expected


@EVERY_ROUTE
def test_metadata_names_version_1_and_the_ports_of_the_file(
    client: Client, route: Route
) -> None:
    metadata = client.metadata(route.name)
    assert metadata.versions == ("1",)
    assert [port.name for port in metadata.inputs] == [route.case.input]
    outputs = {port.name for port in metadata.outputs}
    assert outputs >= set(route.case.outputs.values())


@pytest.mark.parametrize(
    ("model", "same"),
    [
        ("face_detection", "face_detection_short_range"),
        ("basic_pitch", "basic_pitch_onnx"),
        ("basic_pitch", "basic_pitch_tflite"),
        ("text_direction_onnx", "text_direction_paddle"),
        ("text_recognition_onnx", "text_recognition_paddle"),
    ],
)
def test_a_model_answers_the_same_in_each_of_its_formats(
    triton_client: triton.InferenceServerClient, model: str, same: str
) -> None:
    cases = {case.model: case for case in CASES}
    one, other = cases[model], cases[same]
    assert one.format != other.format
    for (array, _), (arranged, _) in zip(one.shown(), other.shown(), strict=True):
        expected = one.roles(infer(triton_client, model, one.input, array))
        given = other.roles(infer(triton_client, same, other.input, arranged))
        assert given.keys() == expected.keys()
        for role, each in expected.items():
            np.testing.assert_allclose(
                given[role], each, rtol=TOLERANCE, atol=TOLERANCE, err_msg=role
            )
