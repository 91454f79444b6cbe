"""What is mounted is served: a model, a graph, or what a config names."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pytest

from ovms_mp.core.errors import ServingError
from ovms_mp.settings import Settings, settings_from
from tests.unit.inference import tiny
from tests.wire import zoo
from tests.wire.calls import Stream, arrays, ask, floats, infer, refusal, timestamp
from tests.wire.servers import Server, serving

FIVE: Final = floats(1, 2, 3, 4, 5)
SIX: Final = [[2, 3, 4, 5, 6]]
MODEL: Final = tiny.add_one((1, 5))
ADD: Final = zoo.graph(
    ["OVTENSOR:in"],
    ["OVTENSOR:out"],
    zoo.session("own"),
    zoo.inferring({"x": "in"}, {"y": "out"}),
)
NO_SUCH_GRAPH: Final = (
    "NOT_FOUND",
    "Mediapipe graph definition with requested name is not found",
)


def single(path: Path, **flags: str) -> Settings:
    """What `--model_name thing --model_path PATH` ask for."""
    return settings_from({"model_name": "thing", "model_path": str(path), **flags})


def subconfig(folder: Path, *models: Mapping[str, Any], name: str = "") -> None:
    zoo.write_config(folder, models)
    config = folder / "config.json"
    text = config.read_text().replace(', "mediapipe_config_list": []', "")
    config.unlink()
    (folder / (name or "subconfig.json")).write_text(text)


def version_of(server: Server, name: str, version: str = "") -> str:
    """The version that answers."""
    with server.connect() as channel:
        request = ask(name, {"x": FIVE}, model_version=version)
        answer = infer(channel, request)
        assert arrays(answer)["y"] == SIX
        return answer.model_version


def passes(server: Server, name: str) -> bool:
    """Whether the graph `name` passes a tensor on."""
    with server.connect() as channel:
        return arrays(infer(channel, ask(name, {"in": FIVE})))["out"] == FIVE.tolist()


def adds(server: Server, name: str) -> bool:
    """Whether the graph `name` infers with a model that adds one."""
    with server.connect() as channel:
        return arrays(infer(channel, ask(name, {"in": FIVE})))["out"] == SIX


# One servable, by flags


def test_a_model_directory_is_served_in_its_highest_version(tmp_path: Path) -> None:
    for version in (2, 10, 9):
        zoo.add_model(tmp_path, "made", MODEL, version)
    (tmp_path / "made" / "notes").mkdir()
    with serving(single(tmp_path / "made").source) as server:
        assert server.app.catalog.names() == ("thing",)
        assert version_of(server, "thing") == "10"
        with server.connect() as channel:
            other = ask("thing", {"x": FIVE}, model_version="9")
            assert refusal(channel, other) == (
                "NOT_FOUND",
                "Model with requested version is not found",
            )


def test_a_policy_of_versions_is_a_flag(tmp_path: Path) -> None:
    for version in (1, 2, 3):
        zoo.add_model(tmp_path, "made", MODEL, version)
    policy = '{"specific": {"versions": [1, 3]}}'
    flags = single(tmp_path / "made", model_version_policy=policy)
    with serving(flags.source) as server:
        assert [version_of(server, "thing", each) for each in ("", "0", "1")] == [
            "3",
            "3",
            "1",
        ]
        assert server.app.catalog.metadata("thing", "").versions == ("1", "3")


def test_a_model_file_is_served(tmp_path: Path) -> None:
    tiny.save(tmp_path, MODEL, "some_file")
    with serving(single(tmp_path / "some_file.xml").source) as server:
        assert version_of(server, "thing") == "1"


@pytest.mark.parametrize("folder", [".", "1"])
def test_a_graph_directory_is_served_with_the_models_of_its_subconfig(
    tmp_path: Path, folder: str
) -> None:
    home = zoo.add_graph(tmp_path / "made", folder, ADD)
    zoo.add_model(home, "own", MODEL)
    subconfig(home, zoo.entry("own"))
    with serving(single(tmp_path / "made").source) as server:
        assert set(server.app.catalog.names()) == {"thing", "own"}
        assert adds(server, "thing")
        request = ask("thing", {"in": FIVE})
        with server.connect() as channel, Stream(channel, request) as stream:
            assert timestamp(stream.answer()) == 0


# config.json


def test_models_and_graphs_lie_beside_the_config_by_their_names(tmp_path: Path) -> None:
    zoo.add_model(tmp_path, "model", MODEL)
    zoo.add_graph(tmp_path, "graph", zoo.ECHO)
    models = [{"config": {"name": "model", "base_path": "model"}}]
    config = zoo.write_config(tmp_path, models, [{"name": "graph"}])
    with serving(config) as server:
        assert version_of(server, "model") == "1"
        assert passes(server, "graph")


def test_paths_are_relative_to_the_config_the_base_path_and_the_subconfig(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    zoo.add_model(tmp_path / "stock", "own", MODEL)
    home = zoo.add_graph(tmp_path / "stock", "deep", ADD)
    (home / "graph.pbtxt").rename(home / "other.pbtxt")
    (home / "more").mkdir()
    subconfig(
        home / "more", zoo.entry("own", base_path="../../own"), name="models.json"
    )
    graph = {
        "name": "graph",
        "base_path": "../stock/deep",
        "graph_path": "other.pbtxt",
        "subconfig": "more/models.json",
    }
    (tmp_path / "configs").mkdir()
    config = zoo.write_config(tmp_path / "configs", [], [graph])
    with serving(config) as server:
        assert adds(server, "graph")
        assert version_of(server, "own") == "1"


def test_a_graph_may_stand_among_the_models(tmp_path: Path) -> None:
    zoo.add_graph(tmp_path, "graph", zoo.ECHO)
    entry = {"config": {"name": "graph", "base_path": "graph"}}
    with serving(zoo.write_config(tmp_path, [entry])) as server:
        assert passes(server, "graph")


def test_graphs_share_the_models_of_the_config(tmp_path: Path) -> None:
    zoo.add_model(tmp_path, "own", MODEL)
    for name in ("one", "other"):
        zoo.add_graph(tmp_path, name, ADD)
    graphs = [{"name": "one"}, {"name": "other"}]
    with serving(zoo.write_config(tmp_path, [zoo.entry("own")], graphs)) as server:
        assert adds(server, "one")
        assert adds(server, "other")


def test_a_handler_is_found_from_the_base_path_wherever_the_pbtxt_is(
    tmp_path: Path,
) -> None:
    """And learns its own directory, as in OVMS."""
    handler = (
        "from pyovms import Tensor\n\n\n"
        "class OvmsPythonModel:\n"
        "    def initialize(self, kwargs):\n"
        "        self.home = kwargs['base_path']\n\n"
        "    def execute(self, inputs):\n"
        "        return [Tensor('said', self.home.encode())]\n"
    )
    home = tmp_path / "graph"
    for folder in ("handlers", "pbtxts"):
        (home / folder).mkdir(parents=True)
    (home / "handlers" / "speaker.py").write_text(handler)
    (home / "pbtxts" / "a.pbtxt").write_text(zoo.words("handlers/speaker.py"))
    entry = {"name": "graph", "graph_path": "pbtxts/a.pbtxt"}
    with (
        serving(zoo.write_config(tmp_path, [], [entry])) as server,
        server.connect() as channel,
    ):
        answer = infer(channel, ask("graph", {"word": FIVE}))
    assert bytes(arrays(answer)["said"]).decode() == str(home / "handlers")


def test_two_python_nodes_of_the_same_file_name_are_two(tmp_path: Path) -> None:
    for name, word in (("one", "eins"), ("other", "zwei")):
        handler = (
            "from pyovms import Tensor\n\n\n"
            "class OvmsPythonModel:\n"
            "    def execute(self, inputs):\n"
            f"        return [Tensor('said', b'{word}')]\n"
        )
        zoo.add_graph(tmp_path, name, zoo.words(), speaker=handler)
    config = zoo.write_config(tmp_path, [], [{"name": "one"}, {"name": "other"}])
    with serving(config) as server, server.connect() as channel:
        said = [
            bytes(arrays(infer(channel, ask(name, {"word": FIVE})))["said"])
            for name in ("one", "other")
        ]
    assert said == [b"eins", b"zwei"]


def bad_entries() -> dict[str, tuple[Sequence[Any], Sequence[Any], str]]:
    """Models and graphs of which one is wrong, and what the log says of it."""
    return {
        "a model that is not there": ([zoo.entry("absent")], [], "model absent: "),
        "a model that is somewhere else": (
            [zoo.entry("remote", base_path="hdfs://host/model")],
            [],
            "remote: Functionality not implemented - hdfs:// is not supported, expected a local path",
        ),
        "a model with a shape that is none": (
            [zoo.entry("shaped", base_path="good", shape="1,10")],
            [],
            "shaped: The provided shape is in wrong format - ",
        ),
        "a second model of a name": (
            [zoo.entry("good", base_path="elsewhere")],
            [],
            "good: ",
        ),
        "a graph that is not there": ([], [{"name": "absent"}], "graph absent: "),
        "a graph with a model's name": (
            [],
            [{"name": "good", "base_path": "echo"}],
            "graph good is not served: "
            "Given mediapipe graph name is already occupied - good",
        ),
        "a graph with a broken subconfig": (
            [],
            [{"name": "wrong", "base_path": "echo", "subconfig": "broken.json"}],
            "wrong: The file is not valid json",
        ),
    }


@pytest.mark.parametrize("case", bad_entries())
def test_what_is_wrong_with_one_entry_harms_no_other(tmp_path: Path, case: str) -> None:
    models, graphs, line = bad_entries()[case]
    zoo.add_model(tmp_path, "good", MODEL)
    home = zoo.add_graph(tmp_path, "echo", zoo.ECHO)
    (home / "broken.json").write_text('{"model_config_list": [')
    good = [zoo.entry("good"), *models]
    config = zoo.write_config(tmp_path, good, [*graphs, {"name": "echo"}])
    with serving(config) as server:
        assert version_of(server, "good") == "1"
        assert passes(server, "echo")
        assert server.said(line)


def test_a_higher_version_that_cannot_be_loaded_leaves_the_lower_one(
    tmp_path: Path,
) -> None:
    home = zoo.add_model(tmp_path, "made", MODEL, 1)
    shutil.copytree(home / "1", home / "2")
    (home / "2" / "model.xml").write_text("<net>")
    with serving(single(home).source) as server:
        assert version_of(server, "thing") == "1"
        assert server.said("model thing version 2", "Error while loading a model")


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ('{"model_config_list": [', "config.json"),
        ("[]", "config.json"),
        ("{}", '"model_config_list" is missing'),
        ('{"model_config_list": [], "models": []}', "unknown key"),
        (
            '{"model_config_list": [{"config": {"base_path": "x"}}]}',
            '"name" is missing',
        ),
        ('{"model_config_list": [{"config": {"name": 5}}]}', "name"),
        ('{"model_config_list": [], "model_config_list": []}', "given twice"),
    ],
)
def test_a_config_that_breaks_its_schema_is_refused_whole_with_the_place(
    tmp_path: Path, text: str, where: str
) -> None:
    config = tmp_path / "config.json"
    config.write_text(text)
    with pytest.raises(ServingError) as caught, serving(config):
        pass
    assert caught.value.text.startswith("The file is not valid json - ")
    assert where in caught.value.text


def test_a_graph_of_another_name_is_not_found(tmp_path: Path) -> None:
    zoo.add_graph(tmp_path, "echo", zoo.ECHO)
    config = zoo.write_config(tmp_path, [], [{"name": "echo"}])
    with serving(config) as server, server.connect() as channel:
        for name in ("Echo", "echo ", "ech"):
            assert refusal(channel, ask(name, {"in": FIVE})) == NO_SUCH_GRAPH
