"""The ways in which files come to be others: links that are swapped, files that are
mounted by themselves, copies that take their time, names that come and go.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path

import grpc
import pytest

from ovms_mp.cli import main
from ovms_mp.servable.reloading import SETTLE_SECONDS
from ovms_mp.servable.status import Outcome
from tests.reload.mount import (
    CALCULATOR,
    CHANGES,
    Mount,
    number_in,
    plus,
    request,
    swap,
    told,
    write,
)
from tests.unit.inference import tiny
from tests.wire import zoo
from tests.wire.calls import Stream, arrays, ask, connect, floats, infer, refusal
from tests.wire.servers import Process, Server, serving
from tests.wire.waiting import until

SEEN_WITHIN = 30.0
FOUR = floats(0, 0, 0, 0)
NAMESPACE = ("unshare", "--mount", "--map-root-user", "sh", "-c")


@pytest.fixture
def mount(tmp_path: Path) -> Mount:
    return Mount(tmp_path)


@pytest.fixture
def look_seconds() -> float:
    """How often a server looks by itself."""
    return 1


@pytest.fixture
def server(mount: Mount, look_seconds: float) -> Iterator[Server]:
    with serving(
        mount.config,
        calculators_path=mount.calculators,
        file_system_poll_wait_seconds=look_seconds,
    ) as server:
        yield server


@pytest.fixture
def channel(server: Server) -> Iterator[grpc.Channel]:
    with server.connect() as channel:
        yield channel


def answers_with(channel: grpc.Channel, name: str, number: float) -> bool:
    return told(channel, name) == number


def answer(channel: grpc.Channel, name: str = "m") -> float:
    return number_in(infer(channel, ask(name, {"x": FOUR})))


def test_a_config_map_is_swapped(tmp_path: Path) -> None:
    for number in (1, 2):
        zoo.add_model(tmp_path / "models", f"m{number}", plus(number))
        folder = tmp_path / "mounted" / f"..{number}"
        folder.mkdir(parents=True)
        base_path = str(tmp_path / "models" / f"m{number}")
        zoo.write_config(folder, [zoo.entry("m", base_path=base_path)])
    data = tmp_path / "mounted" / "..data"
    data.symlink_to("..1")
    config = tmp_path / "mounted" / "config.json"
    config.symlink_to("..data/config.json")
    with serving(config) as server, server.connect() as channel:
        assert answer(channel) == 1
        swap(data, "..2")
        assert until(lambda: answer(channel) == 2, SEEN_WITHIN)
        swap(data, "..1")
        assert until(lambda: answer(channel) == 1, SEEN_WITHIN)


def test_the_directory_of_a_model_is_a_link_that_is_swapped(tmp_path: Path) -> None:
    for number in (1, 2):
        zoo.add_model(tmp_path, f"release_{number}", plus(number))
    link = tmp_path / "current"
    link.symlink_to("release_1")
    config = zoo.write_config(tmp_path, [zoo.entry("m", base_path="current")])
    with serving(config) as server, server.connect() as channel:
        assert answer(channel) == 1
        swap(link, "release_2")
        assert until(lambda: answer(channel) == 2, SEEN_WITHIN)


def test_a_file_that_is_mounted_by_itself_is_looked_at(tmp_path: Path) -> None:
    """The kernel tells nobody in the folder that a file elsewhere, here by a link, was
    written to.
    """
    for number in (1, 2):
        zoo.add_model(tmp_path, f"m{number}", plus(number))
    elsewhere = tmp_path / "host"
    elsewhere.mkdir()
    real = zoo.write_config(elsewhere, [zoo.entry("m", base_path=str(tmp_path / "m1"))])
    mounted = tmp_path / "mounted" / "config.json"
    mounted.parent.mkdir()
    mounted.symlink_to(real)
    with serving(mounted) as server, server.connect() as channel:
        assert answer(channel) == 1
        write(real, real.read_text().replace("m1", "m2"))
        assert until(lambda: answer(channel) == 2, SEEN_WITHIN)


# $1 becomes $2 in a mount namespace of its own, in which the rest runs.
BINDING = 'mount --bind "$1" "$2" && shift 2 && exec "$@"'


@pytest.fixture
def may_mount(tmp_path: Path) -> None:
    """A kernel may keep users from having namespaces."""
    (tmp_path / "x").touch()
    command = (*NAMESPACE, BINDING, "sh", *2 * (str(tmp_path / "x"),), "true")
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"nobody may mount here: {done.stderr}")


@pytest.mark.usefixtures("may_mount")
def test_a_file_is_mounted_as_docker_mounts_it(tmp_path: Path) -> None:
    """`-v /host/config.json:/mounted/config.json`: it may be written to, and neither a
    rename on the host nor a notice of the kernel's arrives.
    """
    for number in (1, 2):
        zoo.add_model(tmp_path, f"m{number}", plus(number))
    for name in ("host", "mounted"):
        (tmp_path / name).mkdir()
    real = zoo.write_config(
        tmp_path / "host", [zoo.entry("m", base_path=str(tmp_path / "m1"))]
    )
    mounted = tmp_path / "mounted" / "config.json"
    mounted.touch()
    within = (*NAMESPACE, BINDING, "sh", str(real), str(mounted))
    flags = ("--config_path", str(mounted), "--probe_models=false")
    with (
        Process(tmp_path, *flags, within=within) as server,
        connect(server.ready()) as channel,
    ):
        assert not mounted.read_text()  # here it is not mounted
        assert answer(channel) == 1
        write(real, real.read_text().replace("m1", "m2"))
        assert until(lambda: answer(channel) == 2, SEEN_WITHIN)
        server.ask_to_stop()
        assert server.code() == 0


def test_what_is_being_copied_is_left_alone(
    mount: Mount, server: Server, channel: grpc.Channel
) -> None:
    """A file that grows is not even tried."""
    made = mount.root.parent / "made"
    made.mkdir()
    served = 1.0
    for version in range(2, 7):
        content = tiny.save(made, plus(version)).read_bytes()
        target = mount.root / "versions" / str(version)
        grown = [time.monotonic()]
        target.mkdir()
        (target / "model.bin").write_bytes((made / "model.bin").read_bytes())
        server.log.clear()
        answers = set[float]()
        with (target / "model.xml").open("wb") as file:
            for at in range(0, len(content), len(content) // 20 + 1):
                file.write(content[at : at + len(content) // 20 + 1])
                file.flush()
                grown.append(time.monotonic())
                time.sleep(0.1)  # how fast the copy is, not how long we wait
                answers.add(told(channel, "versions"))
        is_said = server.said("versions")
        grown.append(time.monotonic())
        wanted = partial(answers_with, channel, "versions", version)
        assert until(wanted, SEEN_WITHIN)
        # On a machine that was busy with something else it has rested too long.
        if max(later - at for at, later in pairwise(grown)) < SETTLE_SECONDS:
            assert (answers, is_said) == ({served}, False)
            return
        served = version
    raise AssertionError("no copy has grown without a rest")


def test_a_calculator_that_comes_later_makes_its_graph(
    mount: Mount, server: Server, channel: grpc.Channel
) -> None:
    """A graph names what is not there yet: nobody has to say when it is."""
    name = "LateCalculator"
    node = zoo.node(name, 'input_stream: "in"', 'output_stream: "out"')
    zoo.add_graph(mount.root, "late", zoo.graph(["in"], ["out"], node))
    config = json.loads(mount.config.read_text())
    config["mediapipe_config_list"].append({"name": "late"})
    write(mount.config, json.dumps(config))
    assert not server.app.reload().is_ok
    assert server.said("graph late: ", f'no calculator named "{name}"')
    text = CALCULATOR.format(number=6).replace("GenerationCalculator", name)
    write(mount.calculators / "late.py", text)
    assert until(lambda: server.app.catalog.is_ready, SEEN_WITHIN)
    assert told(channel, "late") == 6


def test_to_touch_a_file_changes_nothing(mount: Mount, server: Server) -> None:
    for path in mount.root.rglob("*"):
        os.utime(path)
    report = server.app.reload()
    assert {each.outcome for each in report.changes} == {Outcome.UNCHANGED}
    assert not report.has_changed and report.is_ok


def test_an_open_stream_keeps_what_it_started_with(
    mount: Mount, server: Server, channel: grpc.Channel
) -> None:
    kinds = [kind for kind in CHANGES if kind.startswith("by_")]
    streams = {kind: Stream(channel, request(kind)) for kind in kinds}
    for kind, stream in streams.items():
        assert number_in(stream.answer()) == 1, kind
    for kind in (*kinds, "in_place"):
        CHANGES[kind](mount, 2)
    assert server.app.reload().is_ok
    for kind, stream in streams.items():
        assert told(channel, kind) == 2, kind
        stream.send(request(kind))
        assert number_in(stream.answer()) == 1, kind
    for stream in streams.values():
        stream.half_close()
        assert stream.end() == ("OK", "")
    assert until(server.is_idle)


@pytest.mark.parametrize("look_seconds", [0])  # a report has all that is done
def test_names_come_and_go(mount: Mount, server: Server, channel: grpc.Channel) -> None:
    config = json.loads(mount.config.read_text())
    graphs = config["mediapipe_config_list"]
    models = config["model_config_list"]
    zoo.add_graph(mount.root, "late", zoo.ECHO)
    zoo.add_model(mount.root, "late_model", plus(3))
    config["mediapipe_config_list"] = [
        *(each for each in graphs if each["name"] != "by_handler"),
        {"name": "late"},
    ]
    config["model_config_list"] = [
        *(each for each in models if each["config"]["name"] != "moved"),
        zoo.entry("late_model"),
    ]
    write(mount.config, json.dumps(config))
    report = server.app.reload()
    done = {each.name: each.outcome for each in report.changes}
    assert done["late"] is done["late_model"] is Outcome.LOADED
    assert done["by_handler"] is done["moved"] is Outcome.REMOVED
    assert arrays(infer(channel, ask("late", {"in": FOUR})))["out"] == FOUR.tolist()
    assert answer(channel, "late_model") == 3
    retired = ("NOT_FOUND", "Mediapipe is retired")
    assert refusal(channel, request("by_handler")) == retired
    missing = ("NOT_FOUND", "Model with requested version is not found")
    assert refusal(channel, request("moved")) == missing
    retired = ("NOT_FOUND", "Model with requested version is retired")
    assert refusal(channel, ask("moved", {"x": FOUR}, model_version="1")) == retired
    assert server.app.catalog.is_ready
    mount.write_config()
    assert server.app.reload().is_ok
    assert told(channel, "by_handler") == told(channel, "moved") == 1


def test_a_name_may_become_the_other_kinds(tmp_path: Path) -> None:
    zoo.add_model(tmp_path, "made", plus(1))
    zoo.add_graph(tmp_path, "echo", zoo.ECHO)
    zoo.write_config(tmp_path, [zoo.entry("x", base_path="made")])
    config = tmp_path / "config.json"
    with serving(config) as server, server.connect() as channel:
        for _ in range(2):
            assert answer(channel, "x") == 1
            zoo.write_config(tmp_path, [], [{"name": "x", "base_path": "echo"}])
            assert server.app.reload().is_ok
            echoed = infer(channel, ask("x", {"in": FOUR}))
            assert arrays(echoed)["out"] == FOUR.tolist()
            zoo.write_config(tmp_path, [zoo.entry("x", base_path="made")])
            assert server.app.reload().is_ok


def test_what_a_command_adds_to_the_config_is_served_and_what_it_removes_is_not(
    mount: Mount, server: Server, channel: grpc.Channel
) -> None:
    """`ovms-mp --add_to_config` beside a server that runs."""
    where = ("--config_path", str(mount.config), "--model_name", "added")
    assert main(["--add_to_config", *where, "--model_path", "fixed_2"]) == 0
    assert until(lambda: "added" in server.app.catalog.available(), SEEN_WITHIN)
    assert answer(channel, "added") == 2
    assert main(["--remove_from_config", *where]) == 0
    assert until(lambda: "added" not in server.app.catalog.names(), SEEN_WITHIN)
    code, _ = refusal(channel, ask("added", {"x": FOUR}))
    assert code == "NOT_FOUND"
    assert answer(channel, "fixed_1") == 1


@pytest.mark.parametrize("policy", [{"all": {}}, {"specific": {"versions": [1, 3]}}])
def test_a_policy_of_versions_may_change(tmp_path: Path, policy: dict) -> None:
    for version in (1, 2, 3):
        zoo.add_model(tmp_path, "m", plus(version), version)
    config = zoo.write_config(tmp_path, [zoo.entry("m")])
    with serving(config) as server, server.connect() as channel:
        assert server.app.catalog.metadata("m", "").versions == ("3",)
        before = server.compiled("m")
        zoo.write_config(tmp_path, [zoo.entry("m", model_version_policy=policy)])
        assert server.app.reload().is_ok
        versions = server.app.catalog.metadata("m", "").versions
        assert versions == (("1", "2", "3") if "all" in policy else ("1", "3"))
        assert server.compiled("m") is before
        assert answer(channel) == 3


def test_settings_of_a_model_are_part_of_it(tmp_path: Path) -> None:
    zoo.add_model(tmp_path, "m", plus(1))
    config = zoo.write_config(tmp_path, [zoo.entry("m")])
    with (
        serving(config, file_system_poll_wait_seconds=0) as server,
        server.connect() as channel,
    ):
        assert server.compiled("m").slots != 3
        zoo.write_config(tmp_path, [zoo.entry("m", nireq=3)])
        report = server.app.reload()
        assert [each.outcome for each in report.changes] == [Outcome.RELOADED]
        assert server.compiled("m").slots == 3
        assert answer(channel) == 1


def test_a_version_that_is_there_too_late_is_found_when_it_can_be_loaded(
    tmp_path: Path,
) -> None:
    """A failed first load is no reason to look away."""
    (tmp_path / "m" / "1").mkdir(parents=True)
    config = zoo.write_config(tmp_path, [zoo.entry("m")])
    with serving(config) as server, server.connect() as channel:
        assert not server.app.catalog.is_ready
        tiny.save(tmp_path / "m" / "1", plus(4))
        assert until(lambda: server.app.catalog.is_ready, SEEN_WITHIN)
        assert answer(channel) == 4


def test_sighup_looks_when_nobody_else_does(mount: Mount) -> None:
    flags = ("--config_path", str(mount.config), "--file_system_poll_wait_seconds=0")
    more = ("--calculators_path", str(mount.calculators), "--probe_models=false")
    with Process(mount.root.parent, *flags, *more) as server:
        address = server.ready()
        CHANGES["by_handler"](mount, 2)
        with connect(address) as channel:
            assert told(channel, "by_handler") == 1
            server.ask_to_stop(signal.SIGHUP)
            assert until(lambda: told(channel, "by_handler") == 2, SEEN_WITHIN)
        # It is served a moment before it is told.
        assert until(lambda: "graph by_handler is reloaded" in server.log)
        server.ask_to_stop()
        assert server.code() == 0
