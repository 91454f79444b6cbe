"""Models of a config.json, its sections, and the single servable."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ovms_mp.core.errors import ServingError, Status
from ovms_mp.repository.config import (
    DynamicBatching,
    GraphSpec,
    ModelSpec,
    MonitoringSpec,
    RepositoryConfig,
    local_path,
    read,
)
from ovms_mp.repository.versions import All, Latest
from tests.unit.repository.support import graph_in, models, problems, write


def test_a_model_has_the_defaults_of_ovms(config: Path) -> None:
    read_config = read(write(config, models({"name": "m", "base_path": "/models/m"})))
    assert read_config == RepositoryConfig(
        models=(ModelSpec("m", Path("/models/m")),), documents=(config,)
    )
    (model,) = read_config.models
    assert model.version_policy == Latest(1)
    assert model.nireq is None
    assert model.target_device == "CPU"
    assert model.plugin_config == {}


def test_a_model_is_as_its_entry_says(config: Path) -> None:
    entry = {
        "name": "m",
        "base_path": "sub/m",
        "model_version_policy": {"all": {}},
        "nireq": 4,
        "target_device": "AUTO:GPU,CPU",
        "plugin_config": {"NUM_STREAMS": 2, "PERFORMANCE_HINT": "LATENCY", "X": True},
        "allow_cache": True,
    }
    (model,) = read(write(config, models(entry))).models
    assert model == ModelSpec(
        "m",
        config.parent / "sub/m",
        All(),
        4,
        "AUTO:GPU,CPU",
        {"NUM_STREAMS": 2, "PERFORMANCE_HINT": "LATENCY", "X": True},
        allow_cache=True,
    )


def test_a_model_without_base_path_is_beside_the_config(config: Path) -> None:
    for entry in ({"name": "m"}, {"name": "m", "base_path": ""}):
        (model,) = read(write(config, models(entry))).models
        assert model.base_path == config.parent / "m"


def test_nireq_0_leaves_the_choice_to_openvino(config: Path) -> None:
    (model,) = read(write(config, models({"name": "m", "nireq": 0}))).models
    assert model.nireq is None


def test_an_empty_device_is_the_default_one(config: Path) -> None:
    (model,) = read(write(config, models({"name": "m", "target_device": ""}))).models
    assert model.target_device == "CPU"


def test_paths_of_a_config_named_relatively_are_absolute(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(config, models({"name": "m", "base_path": "m"}))
    monkeypatch.chdir(config.parent)
    (model,) = read(Path("config.json")).models
    assert model.base_path == config.parent / "m"


@pytest.mark.parametrize("name", ["../m", "a/../../m", "/m", ".."])
def test_a_name_alone_does_not_lead_out_of_the_config_directory(
    config: Path, name: str
) -> None:
    found = read(write(config, models({"name": name}, {"name": "ok"})))
    assert [m.name for m in found.models] == ["ok"]
    (problem,) = found.problems
    assert problem.subject == name
    assert problem.error.status is Status.PATH_INVALID
    assert read(write(config, models({"name": name, "base_path": "m"}))).problems == ()


def test_a_servable_without_a_name_is_refused_alone(config: Path) -> None:
    content = models({"name": "", "base_path": "m"}, {"name": "ok"})
    found = read(write(config, content))
    assert [m.name for m in found.models] == ["ok"]
    assert problems(found) == [("", Status.PATH_INVALID, "the name is empty")]


@pytest.mark.parametrize("scheme", ["hdfs", "https"])
def test_models_at_other_urls_are_refused_alone(config: Path, scheme: str) -> None:
    entry = {"name": "cloud", "base_path": f"{scheme}://key:secret@bucket/m"}
    found = read(write(config, models(entry, {"name": "ok"})))
    assert [m.name for m in found.models] == ["ok"]
    details = f"{scheme}:// is not supported, expected a local path"
    assert problems(found) == [("cloud", Status.NOT_IMPLEMENTED, details)]


@pytest.mark.parametrize("scheme", ["s3", "gs", "az", "azfs", "S3"])
def test_a_model_may_be_in_cloud_storage(config: Path, scheme: str) -> None:
    url = f"{scheme}://bucket/m"
    found = read(write(config, models({"name": "cloud", "base_path": url})))
    assert [(m.name, m.url) for m in found.models] == [("cloud", url)]
    assert problems(found) == []


def test_a_secret_in_a_url_is_refused_and_not_told(config: Path) -> None:
    entry = {"name": "cloud", "base_path": "s3://key:secret@bucket/m"}
    ((name, status, details),) = problems(read(write(config, models(entry))))
    assert (name, status) == ("cloud", Status.PATH_INVALID)
    assert "secret@" not in (details or "")


def test_a_graph_is_local(config: Path) -> None:
    entry = {"name": "g", "base_path": "s3://bucket/g"}
    content = {"model_config_list": [], "mediapipe_config_list": [entry]}
    details = "s3:// is for models, expected a local path"
    assert problems(read(write(config, content))) == [
        ("g", Status.NOT_IMPLEMENTED, details)
    ]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("custom_loader_options", {"loader_name": "l"}),
    ],
)
def test_a_key_that_would_change_answers_refuses_its_model_alone(
    config: Path, key: str, value: object
) -> None:
    found = read(write(config, models({"name": "m", key: value}, {"name": "ok"})))
    assert [m.name for m in found.models] == ["ok"]
    details = f"{config}: model_config_list[0].config.{key}: not supported yet"
    assert problems(found) == [("m", Status.NOT_IMPLEMENTED, details)]


def test_keys_with_their_default_values_are_accepted(config: Path) -> None:
    entry = {
        "name": "m",
        "batch_size": 0,
        "stateful": False,
        "idle_sequence_cleanup": True,
        "low_latency_transformation": False,
        "max_sequence_number": 500,
        "allow_cache": False,
    }
    found = read(write(config, models(entry)))
    assert found.models == (ModelSpec("m", config.parent / "m"),)
    assert found.problems == ()


def test_models_are_stateful_and_joined_as_their_entries_say(config: Path) -> None:
    keys = {"stateful": True, "low_latency_transformation": True}
    batching = {"max_batch_size": 8, "max_queue_delay_microseconds": 100}
    entries = (
        {"name": "loop", **keys},
        {"name": "joined", "dynamic_batching": batching},
        {"name": "eager", "dynamic_batching": {"max_batch_size": 2}},
    )
    loop, joined, eager = read(write(config, models(*entries))).models
    assert (loop.is_stateful, loop.low_latency_transformation) == (True, True)
    assert joined.dynamic_batching == DynamicBatching(8, 100)
    assert eager.dynamic_batching == DynamicBatching(2, 0)


@pytest.mark.parametrize(
    ("batching", "complaint"),
    [
        ({}, ': key "max_batch_size" is missing'),
        ({"max_batch_size": 0}, ".max_batch_size: expected an integer of at least 1"),
        ({"max_batch_size": 2, "preferred": 1}, ".preferred: unknown key"),
        (
            {"max_batch_size": 2, "max_queue_delay_microseconds": 2**62},
            ".max_queue_delay_microseconds: expected at most 31622400000000",
        ),
    ],
)
def test_batching_that_is_not_in_order_breaks_the_schema(
    config: Path, batching: dict[str, int], complaint: str
) -> None:
    entry = {"name": "m", "dynamic_batching": batching}
    with pytest.raises(ServingError) as caught:
        read(write(config, models(entry)))
    where = "model_config_list[0].config.dynamic_batching"
    assert f"{where}{complaint}" in caught.value.details


def test_loops_become_states_of_stateful_models_only(config: Path) -> None:
    entry = {"name": "m", "low_latency_transformation": True}
    found = read(write(config, models(entry, {"name": "ok"})))
    assert [m.name for m in found.models] == ["ok"]
    status = Status.INVALID_NON_STATEFUL_MODEL_PARAMETER
    details = "low_latency_transformation needs stateful"
    assert problems(found) == [("m", status, details)]


def test_a_nireq_that_ovms_finds_too_high_refuses_its_model_alone(config: Path) -> None:
    entries = ({"name": "m", "nireq": 100_001}, {"name": "ok", "nireq": 100_000})
    found = read(write(config, models(*entries)))
    assert [m.name for m in found.models] == ["ok"]
    details = "Nireq parameter too high: 100001, at most 100000"
    assert problems(found) == [("m", Status.MODEL_NOT_LOADED, details)]


def test_of_two_models_of_a_name_the_first_counts(config: Path) -> None:
    entries = ({"name": "m", "base_path": "a"}, {"name": "m", "base_path": "b"})
    found = read(write(config, models(*entries)))
    assert found.models == (ModelSpec("m", config.parent / "a"),)
    taken = "the name is taken by a model with other settings, which counts"
    details = f"{config}: {taken}"
    assert problems(found) == [("m", Status.MODEL_NAME_OCCUPIED, details)]


def test_repeating_a_definition_word_for_word_is_no_problem(config: Path) -> None:
    entry = {"name": "m", "base_path": "a", "plugin_config": {"NUM_STREAMS": 1}}
    found = read(write(config, models(entry, entry)))
    assert len(found.models) == 1
    assert found.problems == ()


def test_metrics_are_read_as_they_are_written(config: Path) -> None:
    def monitoring(metrics: dict[str, Any]) -> MonitoringSpec | None:
        return read(
            write(config, models() | {"monitoring": {"metrics": metrics}})
        ).metrics

    assert read(write(config, models())).metrics is None
    assert monitoring({"enable": True}) == MonitoringSpec(is_enabled=True)
    assert monitoring({"enable": False, "metrics_list": ["a"]}) == MonitoringSpec(
        is_enabled=False, families=("a",)
    )
    assert monitoring({"enable": True, "metrics_list": []}) == MonitoringSpec(
        is_enabled=True, families=()
    )


@pytest.mark.parametrize(
    "section",
    ["custom_node_library_config_list", "custom_loader_config_list"],
)
def test_a_section_that_is_not_supported_is_a_problem_unless_it_is_empty(
    config: Path, section: str
) -> None:
    content = models({"name": "m"})
    assert read(write(config, content | {section: []})).problems == ()
    found = read(write(config, content | {section: [{"name": "x"}]}))
    assert [m.name for m in found.models] == ["m"]
    where = f"{config}: {section}"
    assert problems(found) == [(where, Status.NOT_IMPLEMENTED, "not supported yet")]


def test_a_pipeline_is_a_problem_by_its_name(config: Path) -> None:
    content = models({"name": "m"})
    pipelines = [{"name": "p", "inputs": ["x"], "nodes": [], "outputs": []}]
    found = read(write(config, content | {"pipeline_config_list": pipelines}))
    assert [m.name for m in found.models] == ["m"]
    why = "pipelines are not supported yet"
    assert problems(found) == [("p", Status.NOT_IMPLEMENTED, why)]


def test_a_directory_of_versions_is_a_model(tmp_path: Path) -> None:
    (tmp_path / "m/1").mkdir(parents=True)
    spec = ModelSpec("m", tmp_path / "m", nireq=2)
    assert read(spec) == RepositoryConfig(models=(spec,))


@pytest.mark.parametrize("home", ["g", "g/1"])
def test_a_directory_with_a_graph_is_a_graph_with_its_subconfig(
    tmp_path: Path, home: str
) -> None:
    directory = graph_in(tmp_path / home)
    subconfig = write(directory / "subconfig.json", models({"name": "m"}))
    found = read(ModelSpec("g", tmp_path / "g"))
    assert found == RepositoryConfig(
        (ModelSpec("m", directory / "m"),),
        (GraphSpec("g", directory, directory / "graph.pbtxt", subconfig),),
        documents=(subconfig,),
        brought_by={"m": "g"},
    )


def test_a_relative_path_of_a_single_servable_is_made_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph_in(tmp_path / "g")
    monkeypatch.chdir(tmp_path)
    (model,) = read(ModelSpec("m", Path("m"))).models
    assert model.base_path == tmp_path / "m"
    (graph,) = read(ModelSpec("g", Path("g"))).graphs
    assert graph.base_path == tmp_path / "g"


def test_a_local_path_is_relative_to_its_base() -> None:
    assert local_path("a/b", Path("/x")) == Path("/x/a/b")
    assert local_path("/a/b", Path("/x")) == Path("/a/b")
    assert local_path("c:/odd but no url", Path("/x")) == Path("/x/c:/odd but no url")
