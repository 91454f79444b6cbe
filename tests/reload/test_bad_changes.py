"""What cannot be served leaves in place what was, says why, and is served once it can."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest

from ovms_mp.servable.description import State
from ovms_mp.servable.status import Outcome
from tests.reload.mount import (
    CHANGES,
    HANDLER,
    ZEROS,
    Mount,
    expected,
    number_in,
    plus,
    replace,
    through,
    told,
    write,
)
from tests.wire import zoo
from tests.wire.calls import ask, infer
from tests.wire.servers import Server, serving
from tests.wire.waiting import until

SEEN_WITHIN = 30.0


@pytest.fixture(scope="module")
def mount(tmp_path_factory: pytest.TempPathFactory) -> Mount:
    return Mount(tmp_path_factory.mktemp("reload"))


@pytest.fixture(scope="module")
def server(mount: Mount) -> Iterator[Server]:
    with serving(mount.config, calculators_path=mount.calculators) as server:
        yield server


@pytest.fixture(scope="module")
def channel(server: Server) -> Iterator[grpc.Channel]:
    with server.connect() as channel:
        yield channel


def truncate(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


BROKEN: dict[str, tuple[str, Callable[[Mount], object], str]] = {
    "half a model": (
        "in_place",
        lambda m: truncate(m.root / "in_place/1/model.xml"),
        "model.xml",
    ),
    "weights that are cut off": (
        "in_place",
        lambda m: truncate(m.root / "in_place/1/model.bin"),
        "model.xml",
    ),
    "a mapping that is none": (
        "mapped",
        lambda m: write(
            m.root / "mapped/1/mapping_config.json", '{"inputs": {"x": 1}}'
        ),
        "mapping_config.json",
    ),
    "a model's directory that is gone": (
        "in_place",
        lambda m: shutil.rmtree(m.root / "in_place"),
        "The provided base path is invalid or doesn't exists",
    ),
    "a model's only version that is gone": (
        "in_place",
        lambda m: shutil.rmtree(m.root / "in_place/1"),
        "Not a single model version directory has valid numeric name",
    ),
    "a pbtxt that is cut off": (
        "by_pbtxt",
        lambda m: truncate(m.root / "by_pbtxt/graph.pbtxt"),
        "graph.pbtxt:",
    ),
    "a graph that names no model there is": (
        "by_pbtxt",
        lambda m: write(
            m.root / "by_pbtxt/graph.pbtxt",
            (m.root / "by_pbtxt/graph.pbtxt").read_text().replace("fixed_", "nobody_"),
        ),
        "Model with requested name is not found",
    ),
    "a broken subgraph": (
        "by_subgraph",
        lambda m: write(m.root / "by_subgraph/part.pbtxt", 'type: "Part"\nnode {'),
        "part.pbtxt:",
    ),
    "a subgraph that is gone": (
        "by_subgraph",
        lambda m: (m.root / "by_subgraph/part.pbtxt").unlink(),
        'there is no calculator named "Part"',
    ),
    "a handler that is gone": (
        "by_handler",
        lambda m: (m.root / "by_handler/speaker.py").unlink(),
        "The Python Node file path does not exist",
    ),
    "a handler that is no Python": (
        "by_handler",
        lambda m: write(m.root / "by_handler/speaker.py", "class OvmsPythonModel("),
        "speaker.py:1",
    ),
    "a handler that raises": (
        "by_handler",
        lambda m: write(m.root / "by_handler/speaker.py", "raise ValueError('not me')"),
        "ValueError: not me",
    ),
    "a neighbour that is gone": (
        "by_neighbour",
        lambda m: m.neighbour.unlink(),
        "No module named 'neighbour_",
    ),
    "a calculator that is gone": (
        "by_calculator",
        lambda m: (m.calculators / "generation.py").unlink(),
        'there is no calculator named "GenerationCalculator"',
    ),
    "a calculator that is no Python": (
        "by_calculator",
        lambda m: write(m.calculators / "generation.py", "class ("),
        "generation.py failed to import",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_cannot_be_loaded_leaves_the_old_and_says_why(
    mount: Mount, server: Server, channel: grpc.Channel, case: str
) -> None:
    kind, spoil, reason = BROKEN[case]
    CHANGES[kind](mount, 1)
    assert server.app.reload().is_ok
    before = told(channel, kind)
    server.log.clear()
    spoil(mount)
    report = server.app.reload()
    failed = [each for each in report.changes if each.outcome is Outcome.FAILED]
    assert failed and any(reason in each.reason for each in failed), failed
    assert not report.is_ok
    assert server.said(reason)
    assert told(channel, kind) == before
    assert server.app.catalog.is_ready
    assert server.app.catalog.is_servable_ready(kind, "")
    assert any(each.reason for each in _reasons(server)), "nothing in the status"
    page = server.app.metrics.render().decode()
    assert "ovms_mp_outdated{" in page and "} 1" in _lines(page, "ovms_mp_outdated")
    CHANGES[kind](mount, 2)
    assert server.app.reload().is_ok
    assert told(channel, kind) == expected(kind, 2)
    assert not [each for each in _reasons(server) if each.reason]
    page = server.app.metrics.render().decode()
    assert "} 1" not in _lines(page, "ovms_mp_outdated")


def _reasons(server: Server):
    for servable in server.app.catalog.status():
        yield servable
        yield from servable.versions


def _lines(page: str, family: str) -> str:
    return "\n".join(line for line in page.splitlines() if line.startswith(family))


def test_what_is_broken_is_said_once_and_mends_without_being_asked(
    mount: Mount, server: Server, channel: grpc.Channel
) -> None:
    path = mount.root / "by_handler" / "speaker.py"
    CHANGES["by_handler"](mount, 1)
    assert until(lambda: told(channel, "by_handler") == 1, SEEN_WITHIN)
    server.log.clear()
    replace(path, "raise LookupError('gone fishing')")  # and never half of it
    assert until(lambda: server.said("gone fishing", "is served still"), SEEN_WITHIN)
    assert told(channel, "by_handler") == 1
    CHANGES["by_handler"](mount, 3)
    assert until(lambda: told(channel, "by_handler") == 3, SEEN_WITHIN)
    said = [line for line in server.log if line.startswith("graph by_handler: ")]
    assert len(said) == 1


def test_what_failed_for_a_cause_elsewhere_is_tried_again(tmp_path: Path) -> None:
    """No file of it changes, and nobody asks."""
    ill = tmp_path / "ill"
    ill.touch()
    header = f"""
from pathlib import Path

if Path({str(ill)!r}).exists():
    raise ValueError("ill")
"""
    handler = HANDLER.format(header=header, number=8)
    zoo.add_graph(tmp_path, "moody", zoo.words(), speaker=handler)
    config = zoo.write_config(tmp_path, [], [{"name": "moody"}])
    with serving(config) as server, server.connect() as channel:
        assert server.said("graph moody: ", "ValueError: ill")
        assert not server.app.catalog.is_ready
        ill.unlink()
        assert until(lambda: server.app.catalog.is_ready, SEEN_WITHIN)
        answer = infer(channel, ask("moody", {"word": ZEROS}))
        assert number_in(answer) == 8


def test_a_graph_whose_model_is_wanted_no_more_is_served_on_and_says_so_at_once(
    tmp_path: Path,
) -> None:
    zoo.add_model(tmp_path, "held", plus(3))
    zoo.add_graph(tmp_path, "holds", through("held"))
    models = [zoo.entry("held")]
    zoo.write_config(tmp_path, models, [{"name": "holds"}])
    with serving(tmp_path / "config.json") as server, server.connect() as channel:
        zoo.write_config(tmp_path, [], [{"name": "holds"}])
        report = server.app.reload()
        assert {each.name: each.outcome for each in report.changes} == {
            "holds": Outcome.FAILED,
            "held": Outcome.REMOVED,
        }
        assert server.said("graph holds: ", 'model "held"', "is served still")
        assert told(channel, "holds") == 3
        zoo.write_config(tmp_path, models, [{"name": "holds"}])
        assert server.app.reload().is_ok
        assert not [each for each in server.app.catalog.index() if each.reason]
        assert told(channel, "holds") == 3


@pytest.mark.parametrize(
    "text", ['{"model_config_list": [', "[]", "", '{"model_config_list": [], "x": 1}']
)
def test_a_config_that_cannot_be_read_changes_nothing(
    mount: Mount, server: Server, channel: grpc.Channel, text: str
) -> None:
    names = server.app.catalog.names()
    write(mount.config, text)
    report = server.app.reload()
    assert "config.json" in report.error
    assert all("config.json" in each.reason for each in server.app.catalog.index())
    assert all("config.json" in each.reason for each in server.app.catalog.status())
    assert server.app.catalog.names() == names
    assert all(server.app.catalog.is_servable_ready(name, "") for name in names)
    # What it named goes on to be looked at.
    CHANGES["by_handler"](mount, 7)
    assert server.app.reload().error
    assert told(channel, "by_handler") == 7
    mount.write_config()
    report = server.app.reload()
    assert not report.error and report.is_ok
    assert not any(each.reason for each in server.app.catalog.index())


def test_a_config_that_is_gone_changes_nothing(mount: Mount, server: Server) -> None:
    mount.config.unlink()
    assert server.app.reload().error
    assert server.app.catalog.is_ready
    mount.write_config()
    assert server.app.reload().is_ok


def test_a_graphs_directory_may_go_and_come_back_and_its_models_stay(
    mount: Mount, server: Server, channel: grpc.Channel
) -> None:
    CHANGES["by_subconfig"](mount, 4)
    assert server.app.reload().is_ok
    home, away = mount.root / "by_subconfig", mount.root.parent / "away"
    home.rename(away)
    assert not server.app.reload().is_ok
    assert told(channel, "by_subconfig") == 4
    assert server.app.catalog.is_servable_ready("own", "")
    assert server.app.catalog.is_ready
    away.rename(home)
    assert server.app.reload().is_ok
    CHANGES["by_subconfig"](mount, 5)
    assert server.app.reload().is_ok
    assert told(channel, "by_subconfig") == 5


def test_a_broken_subconfig_keeps_the_models_that_it_named(
    mount: Mount, server: Server, channel: grpc.Channel
) -> None:
    CHANGES["by_subconfig"](mount, 1)
    assert server.app.reload().is_ok
    write(mount.root / "by_subconfig" / "subconfig.json", '{"model_config_list": [')
    assert not server.app.reload().is_ok
    assert told(channel, "by_subconfig") == 1
    assert server.app.catalog.is_servable_ready("own", "")
    CHANGES["by_subconfig"](mount, 2)
    assert server.app.reload().is_ok


def test_an_entry_that_cannot_be_honoured_leaves_the_old(
    mount: Mount, server: Server, channel: grpc.Channel
) -> None:
    text = mount.config.read_text()
    config = json.loads(text)
    for each in config["model_config_list"]:
        if each["config"]["name"] == "moved":
            each["config"]["base_path"] = "hdfs://host/nothing"
    config["model_config_list"].append(
        {"config": {"name": "new", "base_path": "moved", "shape": "1,4"}}
    )
    before = told(channel, "moved")
    write(mount.config, json.dumps(config))
    report = server.app.reload()
    assert any("hdfs://" in each.reason for each in report.changes)
    assert told(channel, "moved") == before
    said = {each.name: each for each in server.app.catalog.index()}
    assert "hdfs://" in said["moved"].reason
    assert not server.app.catalog.is_ready  # for want of "new"
    assert (said["new"].state, said["new"].version) == (State.UNAVAILABLE, "")
    assert "expected (1,3" in said["new"].reason
    assert not said["in_place"].reason
    told_by_rest = {each.name: each for each in server.app.catalog.status()}
    assert "hdfs://" in told_by_rest["moved"].reason
    assert "expected (1,3" in told_by_rest["new"].reason
    write(mount.config, text)
    assert server.app.reload().is_ok
    assert not [each for each in server.app.catalog.index() if each.reason]
