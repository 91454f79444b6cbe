"""Graphs of a config.json, and the models of their subconfigs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ovms_mp.core.errors import Status
from ovms_mp.repository.config import GraphSpec, ModelSpec, read
from tests.unit.repository.support import (
    Entry,
    graph_in,
    graphs,
    models,
    problems,
    write,
)


def test_a_graph_has_the_defaults_of_ovms(config: Path) -> None:
    home = config.parent / "g"
    for entry in ({"name": "g"}, {"name": "g", "base_path": ""}):
        found = read(write(config, graphs(entry)))
        assert found.graphs == (GraphSpec("g", home, home / "graph.pbtxt"),)


def test_paths_of_a_graph_are_relative_to_config_and_base_path(config: Path) -> None:
    home = config.parent / "base"
    subconfig = write(home / "s/models.json", models())
    entry = {
        "name": "g",
        "base_path": "base",
        "graph_path": "p/g.pbtxt",
        "subconfig": "s/models.json",
    }
    found = read(write(config, graphs(entry)))
    assert found.graphs == (GraphSpec("g", home, home / "p/g.pbtxt", subconfig),)


def test_absolute_paths_of_a_graph_stay(config: Path) -> None:
    entry = {"name": "g", "base_path": "/g", "graph_path": "/p/g.pbtxt"}
    (graph,) = read(write(config, graphs(entry))).graphs
    assert graph == GraphSpec("g", Path("/g"), Path("/p/g.pbtxt"))


def test_an_entry_of_the_model_list_is_a_graph_where_there_is_one(config: Path) -> None:
    home = graph_in(config.parent / "g")
    content = models({"name": "g", "base_path": "g"}, {"name": "m", "base_path": "m"})
    found = read(write(config, content))
    assert found.graphs == (GraphSpec("g", home, home / "graph.pbtxt"),)
    assert [m.name for m in found.models] == ["m"]


def test_an_entry_of_the_model_list_with_a_graph_path_is_a_graph(config: Path) -> None:
    entry = {"name": "g", "base_path": "g", "graph_path": "other.pbtxt"}
    found = read(write(config, models(entry)))
    home = config.parent / "g"
    assert found.graphs == (GraphSpec("g", home, home / "other.pbtxt"),)


@pytest.mark.parametrize("section", [models, graphs])
def test_model_mesh_keeps_the_graph_in_directory_1(
    config: Path, section: Callable[[Entry], Entry]
) -> None:
    home = graph_in(config.parent / "g/1")
    subconfig = write(home / "config.json", models({"name": "m", "base_path": "m"}))
    found = read(write(config, section({"name": "g", "base_path": "g"})))
    assert found.graphs == (GraphSpec("g", home, home / "graph.pbtxt", subconfig),)
    assert found.models == (ModelSpec("m", home / "m"),)


def test_the_graph_at_the_top_comes_before_model_mesh(config: Path) -> None:
    home = graph_in(config.parent / "g")
    graph_in(home / "1")
    (graph,) = read(write(config, graphs({"name": "g"}))).graphs
    assert graph.base_path == home


def test_models_of_a_subconfig_are_relative_to_it(config: Path) -> None:
    content = models({"name": "m", "base_path": "models/m"}, {"name": "n"})
    write(config.parent / "g/s/sub.json", content)
    entry = {"name": "g", "subconfig": "s/sub.json"}
    found = read(write(config, graphs(entry)))
    base = config.parent / "g/s"
    assert found.models == (
        ModelSpec("m", base / "models/m"),
        ModelSpec("n", base / "n"),
    )


def test_subconfig_json_comes_before_config_json(config: Path) -> None:
    home = config.parent / "g"
    fallback = write(home / "config.json", models({"name": "from_config"}))
    found = read(write(config, graphs({"name": "g"})))
    assert [m.name for m in found.models] == ["from_config"]
    assert found.graphs[0].subconfig == fallback
    write(home / "subconfig.json", models({"name": "from_subconfig"}))
    found = read(config)
    assert [m.name for m in found.models] == ["from_subconfig"]


def test_a_graph_beside_its_config_does_not_take_that_for_its_subconfig(
    config: Path,
) -> None:
    graph_in(config.parent)
    found = read(write(config, graphs({"name": "g", "base_path": "./"})))
    assert found.graphs[0].subconfig is None
    assert found.problems == ()


def test_a_missing_subconfig_is_no_problem(config: Path) -> None:
    found = read(write(config, graphs({"name": "g", "subconfig": "none.json"})))
    assert found.graphs[0].subconfig is None
    assert found.problems == ()


def test_a_broken_subconfig_is_a_problem_of_its_graph_only(config: Path) -> None:
    bad = write(
        config.parent / "g/subconfig.json",
        models({"name": "m"}) | {"monitoring": {"metrics": {"enable": True}}},
    )
    found = read(write(config, graphs({"name": "g"}, {"name": "h"})))
    # None of its models, and the graph itself: it may need none of them (OVMS).
    assert found.models == ()
    assert [g.name for g in found.graphs] == ["g", "h"]
    details = f"{bad}: monitoring: unknown key"
    assert problems(found) == [("g", Status.JSON_INVALID, details)]


def test_of_a_model_in_config_and_subconfig_the_one_in_the_config_counts(
    config: Path,
) -> None:
    own = write(
        config.parent / "g/subconfig.json", models({"name": "m"}, {"name": "n"})
    )
    content = graphs({"name": "g"}) | models({"name": "m", "base_path": "own"})
    found = read(write(config, content))
    assert found.models == (
        ModelSpec("m", config.parent / "own"),
        ModelSpec("n", config.parent / "g/n"),
    )
    taken = "the name is taken by a model with other settings, which counts"
    assert problems(found) == [("m", Status.MODEL_NAME_OCCUPIED, f"{own}: {taken}")]


def test_graphs_may_share_the_models_of_one_subconfig(config: Path) -> None:
    write(config.parent / "shared.json", models({"name": "m"}))
    entries = [{"name": n, "subconfig": "../shared.json"} for n in ("g", "h")]
    for entry in entries:
        (config.parent / entry["name"]).mkdir()
    found = read(write(config, graphs(*entries)))
    assert [m.name for m in found.models] == ["m"]
    assert len(found.graphs) == 2


def test_of_two_graphs_of_a_name_the_first_counts(config: Path) -> None:
    home = graph_in(config.parent / "b")
    write(home / "subconfig.json", models({"name": "of_the_second"}))
    content = graphs({"name": "g", "base_path": "a"}) | models(
        {"name": "g", "base_path": "b"}
    )
    found = read(write(config, content))
    assert [g.base_path for g in found.graphs] == [config.parent / "a"]
    assert found.models == ()
    status = Status.MEDIAPIPE_GRAPH_NAME_OCCUPIED
    assert problems(found) == [("g", status, "g")]
