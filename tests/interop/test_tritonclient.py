"""tritonclient's gRPC client, as people use it, against a whole server."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

from ovms_mp import __version__
from tests.wire import zoo
from tests.wire.servers import Server, serving

ANSWERS_WITHIN = 30.0  # seconds
ONE_TO_TEN = np.arange(1, 11, dtype=np.float32).reshape(1, 10)
TIMESTAMP = "OVMS_MP_TIMESTAMP"


@pytest.fixture
def client(server: Server) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(server.address) as client:
        yield client


def given(name: str, array: np.ndarray, datatype: str = "FP32") -> triton.InferInput:
    tensor = triton.InferInput(name, list(array.shape), datatype)
    tensor.set_data_from_numpy(array)
    return tensor


def number(value: float) -> list[triton.InferInput]:
    """What graphs with an input `in` take."""
    return [given("in", np.full((1, 10), value, np.float32))]


class Talk:
    """A stream of tritonclient's."""

    def __init__(self, client: triton.InferenceServerClient, graph: str) -> None:
        self._client = client
        self._graph = graph
        self._said: queue.Queue[Any] = queue.Queue()

    def __enter__(self) -> Self:
        self._client.start_stream(lambda result, error: self._said.put(error or result))
        return self

    def __exit__(self, *_: object) -> None:
        self._client.stop_stream(cancel_requests=True)

    def send(self, inputs: list[triton.InferInput], **more: Any) -> None:
        self._client.async_stream_infer(self._graph, inputs, **more)

    def result(self) -> Any:
        said = self._said.get(timeout=ANSWERS_WITHIN)
        if isinstance(said, Exception):
            raise said
        return said

    def error(self) -> InferenceServerException:
        said = self._said.get(timeout=ANSWERS_WITHIN)
        assert isinstance(said, InferenceServerException), said
        return said

    def finish(self) -> list[Any]:
        """Half-close; what comes until the end."""
        self._client.stop_stream()
        return list(self._said.queue)


def timestamp(result: Any) -> int:
    return result.get_response().parameters[TIMESTAMP].int64_param


def test_the_server_is_live_and_ready_and_says_who_it_is(
    client: triton.InferenceServerClient,
) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    metadata: Any = client.get_server_metadata()
    assert (metadata.name, metadata.version) == ("OpenVINO Model Server", __version__)
    assert list(metadata.extensions) == []


@pytest.mark.parametrize(
    ("name", "version"),
    [("add_one", ""), ("add_one", "1"), ("echo", ""), ("echo", "7")],
)
def test_models_are_ready_by_version_graphs_whatever_the_version(
    client: triton.InferenceServerClient, name: str, version: str
) -> None:
    assert client.is_model_ready(name, version)


def test_metadata_of_a_model_tells_its_ports(
    client: triton.InferenceServerClient,
) -> None:
    model: Any = client.get_model_metadata("pair", as_json=True)
    assert model["name"] == "pair"
    assert model["versions"] == ["1"]
    assert model["platform"] == "OpenVINO"
    assert model["inputs"] == [
        {"name": "a", "datatype": "INT64", "shape": ["1", "2"]},
        {"name": "b", "datatype": "FP32", "shape": ["1", "3"]},
    ]
    assert [each["name"] for each in model["outputs"]] == ["double", "sum"]


def test_a_dynamic_dimension_is_minus_one(
    client: triton.InferenceServerClient,
) -> None:
    model: Any = client.get_model_metadata("ranged")
    assert list(model.inputs[0].shape) == [-1, -1]


def test_metadata_of_a_graph_tells_its_streams(
    client: triton.InferenceServerClient,
) -> None:
    model: Any = client.get_model_metadata("echo", as_json=True)
    assert model["versions"] == ["1"]
    assert model["inputs"] == [{"name": "in", "datatype": "INVALID"}]
    assert model["outputs"] == [{"name": "out", "datatype": "INVALID"}]


def test_metadata_of_a_graph_tell_of_tensors_what_its_models_do(
    client: triton.InferenceServerClient,
) -> None:
    model: Any = client.get_model_metadata("join", as_json=True)
    assert model["inputs"] == [
        {"name": "a", "datatype": "INT64", "shape": ["1", "2"]},
        {"name": "b", "datatype": "FP32", "shape": ["1", "3"]},
    ]
    assert [each["name"] for each in model["outputs"]] == ["sum", "double"]
    assert [each["datatype"] for each in model["outputs"]] == ["FP32", "INT64"]
    # One of its outputs came from a model, the other as the client sent it to one.
    fan: Any = client.get_model_metadata("fan", as_json=True)
    assert fan["outputs"] == [
        {"name": "same", "datatype": "FP32", "shape": ["1", "10"]},
        {"name": "more", "datatype": "FP32", "shape": ["1", "10"]},
    ]


@pytest.mark.parametrize(("name", "port"), [("add_one", "x"), ("add", "in")])
def test_a_model_and_a_graph_infer(
    client: triton.InferenceServerClient, name: str, port: str
) -> None:
    result: Any = client.infer(name, [given(port, ONE_TO_TEN)], request_id="7")
    out = "y" if name == "add_one" else "out"
    np.testing.assert_array_equal(result.as_numpy(out), ONE_TO_TEN + 1)
    response = result.get_response()
    assert (response.model_name, response.model_version) == (name, "1")
    assert response.id == "7"


def test_typed_contents_infer_as_raw_ones_do(
    client: triton.InferenceServerClient,
) -> None:
    tensor = given("x", ONE_TO_TEN)
    messages: Any = triton.service_pb2
    request = messages.ModelInferRequest(model_name="add_one")
    request.inputs.extend([tensor._get_tensor()])
    request.inputs[0].contents.fp32_contents.extend(ONE_TO_TEN.flat)
    response = client._client_stub.ModelInfer(request)
    raw = response.raw_output_contents[0]
    np.testing.assert_array_equal(np.frombuffer(raw, np.float32), ONE_TO_TEN[0] + 1)


def test_a_model_with_several_ports_takes_them_in_any_order_and_gives_what_is_asked(
    client: triton.InferenceServerClient,
) -> None:
    a = given("a", np.array([[3, 4]]), "INT64")
    b = given("b", np.array([[1, 2, 3]], np.float32))
    for inputs in ([a, b], [b, a]):
        result: Any = client.infer("pair", inputs)
        np.testing.assert_array_equal(result.as_numpy("double"), [[6, 8]])
        np.testing.assert_array_equal(result.as_numpy("sum"), [6])
        wanted = [triton.InferRequestedOutput("sum")]
        result = client.infer("pair", inputs, outputs=wanted)
        assert [each.name for each in result.get_response().outputs] == ["sum"]
        np.testing.assert_array_equal(result.as_numpy("sum"), [6])


def test_a_graph_gives_what_is_asked_of_it(
    client: triton.InferenceServerClient,
) -> None:
    asked = [given("in", ONE_TO_TEN)]
    wanted = [triton.InferRequestedOutput("out")]
    result: Any = client.infer("echo", asked, outputs=wanted)
    np.testing.assert_array_equal(result.as_numpy("out"), ONE_TO_TEN)
    wanted = [triton.InferRequestedOutput("nobody")]
    with pytest.raises(InferenceServerException, match="Requested output: nobody"):
        client.infer("echo", asked, outputs=wanted)


def test_a_picture_comes_back_through_a_graph(
    client: triton.InferenceServerClient,
) -> None:
    picture = np.arange(40 * 30 * 3, dtype=np.uint8).reshape(30, 40, 3)
    result: Any = client.infer("image", [given("in", picture, "UINT8")])
    np.testing.assert_array_equal(result.as_numpy("out"), picture)


def test_strings_reach_a_python_node_as_they_were_sent(
    client: triton.InferenceServerClient,
) -> None:
    strings = np.array([b"one", b"", b"three"], np.object_)
    result: Any = client.infer("py", [given("in", strings, "BYTES")])
    assert result.get_response().outputs[0].name == "in"
    np.testing.assert_array_equal(result.as_numpy("in"), strings)


def test_what_is_not_there_is_refused_with_its_code(
    client: triton.InferenceServerClient,
) -> None:
    with pytest.raises(InferenceServerException) as caught:
        client.infer("nothing", number(1))
    assert caught.value.status() == "StatusCode.NOT_FOUND"
    assert caught.value.message() == (
        "Mediapipe graph definition with requested name is not found"
    )


def test_compressed_requests_are_refused_with_the_reason(
    client: triton.InferenceServerClient,
) -> None:
    with pytest.raises(InferenceServerException) as caught:
        client.infer("add", number(1), compression_algorithm="gzip")
    assert caught.value.status() == "StatusCode.UNIMPLEMENTED"
    assert "gzip" in str(caught.value.message())


def test_compressed_requests_are_taken_where_the_operator_allows_them(
    tmp_path: Path,
) -> None:
    zoo.add_graph(tmp_path, "echo", zoo.ECHO)
    config = zoo.write_config(tmp_path, [], [{"name": "echo"}])
    allowed = (("grpc.compression_enabled_algorithms_bitset", 7),)
    with (
        serving(config, grpc_channel_arguments=allowed) as server,
        triton.InferenceServerClient(server.address) as client,
    ):
        result: Any = client.infer("echo", number(5), compression_algorithm="gzip")
        assert result.as_numpy("out")[0, 0] == 5


def test_triton_s_own_parameters_do_not_disturb(
    client: triton.InferenceServerClient,
) -> None:
    result: Any = client.infer(
        "add_one",
        [given("x", ONE_TO_TEN)],
        priority=1,
        timeout=10**6,
        sequence_id=5,
        sequence_start=True,
    )
    np.testing.assert_array_equal(result.as_numpy("y"), ONE_TO_TEN + 1)
    result = client.infer("add", number(1), sequence_id=5, sequence_end=True)
    assert result.as_numpy("out")[0, 0] == 2


def test_a_request_that_takes_too_long_ends_with_its_deadline(
    client: triton.InferenceServerClient,
) -> None:
    square = given("x", np.zeros((512, 512), np.float32))
    with pytest.raises(InferenceServerException) as caught:
        client.infer("sluggish", [square], client_timeout=0.1)
    assert caught.value.status() == "StatusCode.DEADLINE_EXCEEDED"


def test_asynchronous_requests_answer_by_callback(
    client: triton.InferenceServerClient,
) -> None:
    said: queue.Queue[Any] = queue.Queue()
    for value in range(10):
        client.async_infer(
            "add", number(value), lambda result, error: said.put(error or result)
        )
    results = [said.get(timeout=ANSWERS_WITHIN) for _ in range(10)]
    values = sorted(each.as_numpy("out")[0, 0] for each in results)
    assert values == list(range(1, 11))


def test_a_stream_counts_its_requests(client: triton.InferenceServerClient) -> None:
    with Talk(client, "add") as talk:
        for value in range(5):
            talk.send(number(value), request_id=str(value))
        results = [talk.result() for _ in range(5)]
    assert [timestamp(each) for each in results] == [0, 1, 2, 3, 4]
    assert [each.as_numpy("out")[0, 0] for each in results] == [1, 2, 3, 4, 5]
    # Which OVMS does not say.
    assert [each.get_response().id for each in results] == list("01234")


def test_a_timestamp_of_the_client_is_that_of_the_answer_and_rebases_the_count(
    client: triton.InferenceServerClient,
) -> None:
    with Talk(client, "echo") as talk:
        talk.send(number(0), parameters={TIMESTAMP: -5})
        talk.send(number(1), parameters={TIMESTAMP: 1000})
        talk.send(number(2))
        assert [timestamp(talk.result()) for _ in range(3)] == [-5, 1000, 1001]


def test_each_output_of_a_graph_is_an_answer_of_its_own(
    client: triton.InferenceServerClient,
) -> None:
    with Talk(client, "fan") as talk:
        for value in (10, 20):
            talk.send(number(value))
        results = [talk.result().get_response() for _ in range(4)]
    assert {len(each.outputs) for each in results} == {1}
    found = {
        (each.outputs[0].name, each.parameters[TIMESTAMP].int64_param): np.frombuffer(
            each.raw_output_contents[0], np.float32
        )[0]
        for each in results
    }
    assert found == {
        ("same", 0): 10,
        ("more", 0): 11,
        ("same", 1): 20,
        ("more", 1): 21,
    }


def test_a_stream_survives_a_request_that_does_not_fit(
    client: triton.InferenceServerClient,
) -> None:
    with Talk(client, "echo") as talk:
        talk.send(number(1))
        talk.send([given("nonsense", ONE_TO_TEN)])
        talk.send(number(2))
        assert timestamp(talk.result()) == 0
        assert talk.error().message() == (
            "Unexpected input - nonsense is unexpected; "
            "partial deserialization of subsequent requests"
        )
        assert talk.result().as_numpy("out")[0, 0] == 2


def test_what_ends_a_stream_is_told_at_once_though_the_client_says_nothing_more(
    client: triton.InferenceServerClient,
) -> None:
    with Talk(client, "words") as talk:
        talk.send([given("word", np.frombuffer(b"raise", np.uint8), "UINT8")])
        error = talk.error()
    assert error.status() == "StatusCode.INVALID_ARGUMENT"
    assert "ValueError: this word is not nice" in str(error.message())


def test_the_end_of_the_requests_brings_all_answers(
    client: triton.InferenceServerClient,
) -> None:
    with Talk(client, "add") as talk:
        for value in range(50):
            talk.send(number(value))
        results = talk.finish()
    assert [each.as_numpy("out")[0, 0] for each in results] == list(range(1, 51))


def test_the_end_of_the_requests_lets_calculators_send_what_they_kept(
    client: triton.InferenceServerClient,
) -> None:
    with Talk(client, "sum") as talk:
        for value in range(4):
            talk.send(number(value))
        (result,) = talk.finish()
    assert result.as_numpy("out").tolist() == [60]


def test_streams_at_the_same_time_do_not_share_a_graph_s_state(server: Server) -> None:
    clients = [triton.InferenceServerClient(server.address) for _ in range(4)]
    talks = [Talk(each, "sum") for each in clients]
    for talk in talks:
        talk.__enter__()
    for value in range(3):
        for factor, talk in enumerate(talks):
            talk.send(number(value * factor))
    totals = [talk.finish()[0].as_numpy("out")[0] for talk in talks]
    assert totals == [0, 30, 60, 90]
    for each in clients:
        each.close()
