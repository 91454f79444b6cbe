"""A unary request is a graph run of one request."""

from __future__ import annotations

import pytest

from ovms_mp.core.errors import ServingError, Status
from ovms_mp.core.messages import InferResponse, InputTensor, TensorInfo
from ovms_mp.core.pending import Cancelled
from ovms_mp.graph import config
from ovms_mp.servable.interface import check_boundary
from tests.unit.graph.support import Later
from tests.unit.servable.support import request, serve, tensor, values

PASS = 'input_stream: "in" output_stream: "out" node { calculator: "PassThrough" input_stream: "in" output_stream: "out" }'
TWO = 'input_stream: "a" input_stream: "b" output_stream: "x" output_stream: "y" node { calculator: "PassThrough" input_stream: "a" input_stream: "b" output_stream: "x" output_stream: "y" }'


def answer(servable, *inputs, **more):
    return servable.infer(request(*inputs, **more)).result(5)


def test_the_answer_has_all_outputs_the_id_version_and_timestamp():
    response = answer(serve(TWO), tensor("b", [2]), tensor("a", [1]), id="7")
    assert values(response) == {"x": [1.0], "y": [2.0]}
    assert (response.model_name, response.model_version, response.id) == ("g", "1", "7")
    assert response.parameters == {"OVMS_MP_TIMESTAMP": 0}


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (("y",), {"y": [2.0]}),
        (("y", "x"), {"x": [1.0], "y": [2.0]}),
        (("x", "x"), {"x": [1.0]}),
        ((), {"x": [1.0], "y": [2.0]}),
    ],
    ids=["one", "both", "one twice", "none"],
)
def test_only_the_outputs_that_are_asked_for_come(wanted, found):
    inputs = tensor("a", [1]), tensor("b", [2])
    assert values(answer(serve(TWO), *inputs, outputs=wanted)) == found


def test_an_output_that_there_is_not_is_refused_before_the_graph_runs():
    with pytest.raises(ServingError) as caught:
        serve(TWO).infer(request(outputs=("x", "z")))
    assert caught.value.status is Status.INVALID_MISSING_OUTPUT
    assert caught.value.details == "Requested output: z"


@pytest.mark.parametrize("wanted", ["out", "in"])
def test_a_python_tensor_is_asked_for_by_its_streams_name_or_its_own(wanted):
    given = tensor("in", [1, 2])
    text = PASS.replace('stream: "in" out', 'stream: "OVMS_PY_TENSOR:in" out').replace(
        'stream: "out" node', 'stream: "OVMS_PY_TENSOR:out" node'
    )
    assert values(answer(serve(text), given, outputs=(wanted,))) == {"in": [1, 2]}
    with pytest.raises(ServingError) as caught:
        answer(serve(text), given, outputs=("other",))
    assert caught.value.status is Status.INVALID_MISSING_OUTPUT


def test_a_manual_timestamp_is_the_packets():
    response = answer(
        serve(PASS), tensor("in", [1]), parameters={"OVMS_MP_TIMESTAMP": 5}
    )
    assert response.parameters == {"OVMS_MP_TIMESTAMP": 5}


@pytest.mark.parametrize(
    ("inputs", "status", "text"),
    [
        ((), Status.INVALID_NO_OF_INPUTS, "Not all input packets created"),
        ((tensor("nope", [1]),), Status.INVALID_UNEXPECTED_INPUT, "nope is unexpected"),
        (
            (InputTensor("in", "FP32", (2,), raw=b"1234"),),
            Status.INVALID_CONTENT_SIZE,
            "Expected: 8 bytes; Actual: 4 bytes; input name: in",
        ),
        (
            (InputTensor("in", "FP32", (-1,), raw=b""),),
            Status.INVALID_SHAPE,
            "Negative dimension size is not acceptable: (-1); input name: in",
        ),
    ],
)
def test_a_request_that_does_not_fit_is_refused_with_ovms_text(inputs, status, text):
    with pytest.raises(ServingError) as caught:
        answer(serve(PASS), *inputs)
    assert caught.value.status is status
    assert caught.value.text == f"{status.value} - {text}"


def test_a_graph_that_answers_nothing_says_which_output():
    silent = 'input_stream: "in" output_stream: "out" node { calculator: "Silent" input_stream: "in" output_stream: "out" }'
    with pytest.raises(ServingError) as caught:
        answer(serve(silent), tensor("in", [1]))
    assert caught.value.status is Status.MEDIAPIPE_EXECUTION_ERROR
    assert "Unknown error during mediapipe execution" in caught.value.text
    assert '"out"' in caught.value.text


def test_parameters_are_side_packets_and_py_is_reserved():
    adds = 'input_stream: "REQUEST:in" output_stream: "RESPONSE:out" input_side_packet: "extra" node { calculator: "TakesSide" input_side_packet: "extra" } node { calculator: "Silent" input_stream: "in" output_stream: "out" }'
    servable = serve(adds)
    with pytest.raises(ServingError) as caught:
        answer(servable)
    assert caught.value.status is Status.MEDIAPIPE_GRAPH_START_ERROR
    with pytest.raises(ServingError, match="py is special reserved name"):
        answer(servable, parameters={"py": "x"})
    with pytest.raises(ServingError) as caught:
        answer(servable, parameters={"extra": "x"})
    assert "output stream" in caught.value.text


def test_a_graph_may_take_the_whole_request_and_give_the_whole_response():
    servable = serve(
        'input_stream: "REQUEST:in" output_stream: "RESPONSE:out" node { calculator: "Answers" input_stream: "REQUEST:in" output_stream: "RESPONSE:out" }'
    )
    response = answer(servable, tensor("x", [1]), tensor("y", [2]), id="7")
    assert values(response) == {"x": [1.0], "y": [2.0]}
    assert (response.model_name, response.id) == ("g", "7")


def test_what_is_no_response_cannot_leave_as_one():
    servable = serve(
        'input_stream: "REQUEST:in" output_stream: "RESPONSE:out" node { calculator: "PassThrough" input_stream: "in" output_stream: "out" }'
    )
    with pytest.raises(ServingError, match="InferRe"):
        answer(servable, tensor("x", [1]))


def test_cancelling_the_answer_cancels_the_run():
    servable = serve(
        'input_stream: "in" output_stream: "out" node { calculator: "Later" input_stream: "in" output_stream: "out" }'
    )
    pending = servable.infer(request(tensor("in", [1])))
    assert pending.cancel()
    assert isinstance(Later.left[0][1].error, Cancelled)


def test_metadata_names_the_streams():
    metadata = serve(TWO).metadata()
    assert metadata.versions == ("1",)
    assert metadata.inputs == (
        TensorInfo("a", "INVALID", ()),
        TensorInfo("b", "INVALID", ()),
    )
    assert [each.name for each in metadata.outputs] == ["x", "y"]


def test_counts_of_open_graphs_accepted_rejected_and_answered():
    servable = serve(PASS)
    answer(servable, tensor("in", [1]))
    with pytest.raises(ServingError):
        answer(servable)
    page = servable._metrics.render().decode()
    labels = '{api="KServe",interface="gRPC",method="ModelInfer",name="g"}'
    assert f"ovms_requests_accepted{labels} 1" in page
    assert f"ovms_requests_rejected{labels} 1" in page
    assert f"ovms_responses{labels} 1" in page
    assert 'ovms_current_graphs{name="g"} 0' in page


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ('output_stream: "out"', Status.INTERNAL_ERROR),
        ('input_stream: "in"', Status.INTERNAL_ERROR),
        (
            'input_stream: "TFLITE_TENSOR:in" output_stream: "out"',
            Status.NOT_IMPLEMENTED,
        ),
        (
            'input_stream: "HTTP_REQUEST_PAYLOAD:in" output_stream: "out"',
            Status.NOT_IMPLEMENTED,
        ),
        (
            'input_stream: "REQUEST:in" output_stream: "out"',
            Status.MEDIAPIPE_KFS_PASSTHROUGH_MISSING_OUTPUT_RESPONSE_TAG,
        ),
        (
            'input_stream: "in" output_stream: "RESPONSE:out"',
            Status.MEDIAPIPE_KFS_PASSTHROUGH_MISSING_INPUT_REQUEST_TAG,
        ),
        (
            'input_stream: "REQUEST:in" input_stream: "x" output_stream: "RESPONSE:out"',
            Status.MEDIAPIPE_KFS_PASS_WRONG_INPUT_STREAM_COUNT,
        ),
        (
            'input_stream: "REQUEST:in" output_stream: "RESPONSE:out" output_stream: "x"',
            Status.MEDIAPIPE_KFS_PASS_WRONG_OUTPUT_STREAM_COUNT,
        ),
    ],
)
def test_boundaries_that_ovms_refuses_are_refused(text, status):
    with pytest.raises(ServingError) as caught:
        check_boundary(config.parse(text.encode(), "graph.pbtxt"))
    assert caught.value.status is status


def test_a_response_packet_is_the_answer_itself():
    from ovms_mp.core.packet import Packet
    from ovms_mp.servable.interface import GraphInterface
    from tests.unit.graph.support import define

    definition = define(
        'input_stream: "REQUEST:in" output_stream: "RESPONSE:out" node { calculator: "PassThrough" input_stream: "in" output_stream: "out" }'
    )
    made = InferResponse("other", "9", parameters={"a": 1})
    response = GraphInterface("g", definition).response([(0, Packet(3, made))], "id")
    assert (response.model_name, response.model_version, response.id) == (
        "g",
        "1",
        "id",
    )
    assert response.parameters == {"a": 1, "OVMS_MP_TIMESTAMP": 3}
