"""What Triton's tools ask about servables, asked by tritonclient and answered truly."""

from __future__ import annotations

import queue
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as triton
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from ovms_mp_protos import kserve
from tritonclient.grpc import model_config_pb2, service_pb2
from tritonclient.utils import InferenceServerException

from ovms_mp.graph.option_values import is_repeated
from tests.unit.inference import tiny
from tests.wire import zoo
from tests.wire.servers import Server, serving

# Their types know nothing of what is in them.
MODEL_CONFIG: Any = model_config_pb2
SERVICE: Any = service_pb2


@pytest.fixture
def client(server: Server) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(server.address) as client:
        yield client


def config_of(
    client: triton.InferenceServerClient, name: str, version: str = ""
) -> Any:
    answer: Any = client.get_model_config(name, version)
    return answer.config


def index_of(client: triton.InferenceServerClient) -> dict[tuple[str, str], Any]:
    answer: Any = client.get_model_repository_index()
    return {(each.name, each.version): each for each in answer.models}


def tensors(infos: Any) -> list[tuple[str, str, list[int]]]:
    name_of = MODEL_CONFIG.DataType.Name
    return [(each.name, name_of(each.data_type), list(each.dims)) for each in infos]


def fields(message: Descriptor) -> dict[str, tuple[int, int, str]]:
    """Number, type and label of each field."""
    return {
        field.name: (field.number, field.type, _kind(field)) for field in message.fields
    }


def _kind(field: FieldDescriptor) -> str:
    return "many" if is_repeated(field) else "one"


@pytest.mark.parametrize(
    "name",
    [
        "ModelConfigRequest",
        "ModelConfigResponse",
        "ModelStatisticsRequest",
        "ModelStatisticsResponse",
        "ModelStatistics",
        "InferStatistics",
        "InferBatchStatistics",
        "StatisticDuration",
        "RepositoryIndexRequest",
        "RepositoryIndexResponse",
        "RepositoryIndexResponse.ModelIndex",
        "ModelConfig",
        "ModelInput",
        "ModelOutput",
        "ModelInstanceGroup",
        "ModelVersionPolicy",
        "ModelVersionPolicy.Latest",
        "ModelVersionPolicy.Specific",
        "ModelParameter",
        "ModelTransactionPolicy",
        "ModelDynamicBatching",
        "ModelSequenceBatching",
        "ModelSequenceBatching.StrategyOldest",
    ],
)
def test_each_field_has_the_number_and_type_that_triton_gives_it(name: str) -> None:
    ours = kserve.pool.FindMessageTypeByName(f"inference.{name}")
    outer, *nested = name.split(".")
    theirs: Any = getattr(SERVICE, outer, None) or getattr(MODEL_CONFIG, outer)
    for each in nested:
        theirs = getattr(theirs, each)
    assert fields(ours).items() <= fields(theirs.DESCRIPTOR).items()


def test_each_data_type_and_kind_has_tritons_number() -> None:
    for name in ("DataType", "ModelInstanceGroup.Kind"):
        ours = kserve.pool.FindEnumTypeByName(f"inference.{name}")
        theirs = MODEL_CONFIG.DESCRIPTOR.pool.FindEnumTypeByName(f"inference.{name}")
        numbers = {each.name: each.number for each in ours.values}
        assert numbers == {each.name: each.number for each in theirs.values}


def test_the_config_of_a_model_tells_its_tensors_and_what_runs_at_a_time(
    client: triton.InferenceServerClient, server: Server
) -> None:
    config = config_of(client, "pair")
    assert (config.name, config.platform, config.backend) == (
        "pair",
        "OpenVINO",
        "openvino",
    )
    assert tensors(config.input) == [
        ("a", "TYPE_INT64", [1, 2]),
        ("b", "TYPE_FP32", [1, 3]),
    ]
    assert tensors(config.output) == [
        ("double", "TYPE_INT64", [1, 2]),
        ("sum", "TYPE_FP32", [1]),
    ]
    assert config.max_batch_size == 0  # what stands there are whole shapes
    assert not config.model_transaction_policy.decoupled
    assert config.version_policy.latest.num_versions == 1
    (group,) = config.instance_group
    assert group.kind == MODEL_CONFIG.ModelInstanceGroup.KIND_CPU
    assert group.count == server.compiled("pair").slots
    streams = config.parameters["NUM_STREAMS"].string_value
    assert streams == str(server.compiled("pair").streams)


def test_dynamic_dimensions_and_half_floats_have_their_words(
    client: triton.InferenceServerClient,
) -> None:
    assert tensors(config_of(client, "ranged").input) == [("x", "TYPE_FP32", [-1, -1])]
    assert tensors(config_of(client, "halves").input) == [("x", "TYPE_FP16", [1, 2])]


def test_the_config_of_a_graph_says_that_its_answers_are_its_own_affair(
    client: triton.InferenceServerClient,
) -> None:
    config = config_of(client, "join")
    assert (config.backend, config.model_transaction_policy.decoupled) == (
        "mediapipe",
        True,
    )
    assert tensors(config.input) == [
        ("a", "TYPE_INT64", [1, 2]),
        ("b", "TYPE_FP32", [1, 3]),
    ]
    assert not config.instance_group and not config.HasField("version_policy")
    assert tensors(config_of(client, "words").output) == [("said", "TYPE_INVALID", [])]


@pytest.mark.parametrize(
    ("name", "version", "code", "text"),
    [
        ("nobody", "", "NOT_FOUND", "Model with requested name is not found"),
        ("pair", "9", "NOT_FOUND", "Model with requested version is not found"),
        ("pair", "x", "INVALID_ARGUMENT", "invalid model version format"),
    ],
)
def test_who_is_not_there_has_no_config(
    client: triton.InferenceServerClient,
    name: str,
    version: str,
    code: str,
    text: str,
) -> None:
    with pytest.raises(InferenceServerException, match=text) as raised:
        client.get_model_config(name, version)
    assert raised.value.status() == f"StatusCode.{code}"


def test_the_index_lists_every_model_and_graph_with_its_state(
    client: triton.InferenceServerClient, server: Server
) -> None:
    index = index_of(client)
    assert {name for name, _ in index} == set(server.app.catalog.names())
    assert {each.state for each in index.values()} == {"READY"}
    assert {each.reason for each in index.values()} == {""}


@pytest.fixture(scope="module")
def troubled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Two versions of which one is broken, a model without any, a graph that is none."""
    folder = tmp_path_factory.mktemp("troubled")
    zoo.add_model(folder, "some", tiny.add_one(), 1)
    zoo.add_model(folder, "some", tiny.add_one(), 2)
    (folder / "some" / "2" / "model.xml").write_text("<net>")
    (folder / "empty").mkdir()
    zoo.add_graph(folder, "odd", zoo.graph(["in"], ["out"], zoo.node("Nonsense")))
    policy = {"specific": {"versions": [1, 2]}}
    models = [zoo.entry("some", model_version_policy=policy), zoo.entry("empty")]
    config: Path = zoo.write_config(folder, models, [{"name": "odd"}])
    with serving(config) as server:
        yield server


def test_the_index_says_why_something_is_unavailable(troubled: Server) -> None:
    with triton.InferenceServerClient(troubled.address) as client:
        index = index_of(client)
        states = {key: each.state for key, each in index.items()}
        ready: Any = client._client_stub.RepositoryIndex(
            SERVICE.RepositoryIndexRequest(ready=True)
        )
        elsewhere: Any = client._client_stub.RepositoryIndex(
            SERVICE.RepositoryIndexRequest(repository_name="other")
        )
        config = config_of(client, "some")
    assert states == {
        ("some", "1"): "READY",
        ("some", "2"): "UNAVAILABLE",
        ("empty", ""): "UNAVAILABLE",
        ("odd", "1"): "UNAVAILABLE",
    }
    assert "model.xml" in index["some", "2"].reason
    assert "Nonsense" in index["odd", "1"].reason
    assert all("/" not in each.reason for each in index.values())
    assert [(each.name, each.version) for each in ready.models] == [("some", "1")]
    assert not elsewhere.models
    assert list(config.version_policy.specific.versions) == [1, 2]


def statistics_of(
    client: triton.InferenceServerClient, name: str = "", version: str = ""
) -> dict[tuple[str, str], Any]:
    answer: Any = client.get_inference_statistics(name, version)
    return {(each.name, each.version): each for each in answer.model_stats}


def ask(client: triton.InferenceServerClient, name: str, port: str, size: int) -> None:
    tensor = triton.InferInput(port, [1, size], "FP32")
    tensor.set_data_from_numpy(np.zeros((1, size), np.float32))
    client.infer(name, [tensor])


def test_statistics_count_what_went_well_and_what_did_not(tmp_path: Path) -> None:
    zoo.add_model(tmp_path, "add_one", tiny.add_one((1, 10)))
    zoo.add_graph(tmp_path, "add", zoo.GRAPHS["add"])
    config = zoo.write_config(tmp_path, [zoo.entry("add_one")], [{"name": "add"}])
    began = time.time() * 1e3
    with (
        serving(config) as server,
        triton.InferenceServerClient(server.address) as client,
    ):
        (fresh,) = statistics_of(client, "add_one").values()
        assert (fresh.inference_count, fresh.last_inference) == (0, 0)
        for _ in range(3):
            ask(client, "add_one", "x", 10)
        with pytest.raises(InferenceServerException):
            ask(client, "add_one", "x", 7)
        (model,) = statistics_of(client, "add_one", "1").values()
        for _ in range(2):
            ask(client, "add", "in", 10)
        with pytest.raises(InferenceServerException):
            ask(client, "add", "other", 10)
        every = statistics_of(client)
    stats = model.inference_stats
    assert (stats.success.count, stats.fail.count) == (3, 1)
    assert (model.inference_count, model.execution_count) == (3, 3)
    parts = (
        stats.queue,
        stats.compute_input,
        stats.compute_infer,
        stats.compute_output,
    )
    assert [each.count for each in parts] == [3, 3, 3, 3]
    assert 0 < stats.compute_infer.ns <= sum(p.ns for p in parts) <= stats.success.ns
    assert began - 1 <= model.last_inference <= time.time() * 1e3 + 1
    (batch,) = model.batch_stats
    assert (batch.batch_size, batch.compute_infer) == (1, stats.compute_infer)
    # What a graph asks of a model counts for both.
    assert set(every) == {("add_one", "1"), ("add", "1")}
    assert every["add_one", "1"].inference_stats.success.count == 5
    graph = every["add", "1"]
    assert graph.inference_stats.success.count == graph.inference_count == 2
    assert graph.inference_stats.fail.count == 1
    assert graph.inference_stats.success.ns > 0 and not graph.batch_stats


def test_each_answer_on_a_stream_counts_for_its_graph(
    client: triton.InferenceServerClient,
) -> None:
    before = statistics_of(client, "fan")["fan", "1"].inference_stats.success.count
    said: queue.Queue[Any] = queue.Queue()
    client.start_stream(lambda result, error: said.put(error or result))
    tensor = triton.InferInput("in", [1, 10], "FP32")
    tensor.set_data_from_numpy(np.zeros((1, 10), np.float32))
    client.async_stream_infer("fan", [tensor])
    for _ in range(2):
        said.get(timeout=30)
    client.stop_stream()
    after = statistics_of(client, "fan")["fan", "1"].inference_stats.success.count
    assert after == before + 2


@pytest.mark.parametrize(
    ("name", "version"), [("nobody", ""), ("add_one", "9"), ("nobody", "1")]
)
def test_who_is_not_there_has_no_statistics(
    client: triton.InferenceServerClient, name: str, version: str
) -> None:
    with pytest.raises(InferenceServerException, match="is not found") as raised:
        client.get_inference_statistics(name, version)
    assert raised.value.status() == "StatusCode.NOT_FOUND"
