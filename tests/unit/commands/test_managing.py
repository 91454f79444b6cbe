"""The config file is changed from the command line in OVMS's words, and stays whole."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ovms_mp.cli import main
from ovms_mp.repository import config as repository

if TYPE_CHECKING:
    from collections.abc import Mapping

NOWHERE: Mapping[str, str] = {}


def run(*arguments: object, environ: Mapping[str, str] = NOWHERE) -> int:
    return main([str(each) for each in arguments], environ=environ)


def entries(config: Path) -> list[tuple[str, str]]:
    written: Any = json.loads(config.read_text())
    return [
        (each["config"]["name"], each["config"]["base_path"])
        for each in written["model_config_list"]
    ]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "config.json"
    file.write_text(
        json.dumps(
            {
                "monitoring": {"metrics": {"enable": True}},
                "model_config_list": [
                    {"config": {"name": "älter", "base_path": "a", "nireq": 3}}
                ],
                "mediapipe_config_list": [{"name": "graph", "base_path": "g"}],
            }
        )
    )
    file.chmod(0o640)
    return file


def test_a_model_is_added_to_a_config_and_all_else_stays(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before: Any = json.loads(config.read_text())
    added = ("--add_to_config", "--model_name=new", "--model_path=models/new")
    assert run("--config_path", config, *added) == 0
    assert capsys.readouterr().out == f"Config updated: {config}\n"
    entry = {"config": {"name": "new", "base_path": "models/new"}}
    before["model_config_list"].append(entry)
    assert json.loads(config.read_text()) == before
    assert config.stat().st_mode & 0o777 == 0o640
    assert list(config.parent.iterdir()) == [config]
    assert [each.name for each in repository.read(config).models] == ["älter", "new"]


def test_a_config_is_made_where_there_is_none(tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    repository_path = ("--model_name=a/b", "--model_repository_path=/models")
    assert run("--add_to_config", "--config_path", config, *repository_path) == 0
    assert entries(config) == [("a/b", "/models/a/b")]
    assert config.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("name", ["älter", "graph"])
def test_what_is_removed_is_named_no_more(config: Path, name: str) -> None:
    assert (
        run("--remove_from_config", "--config_path", config, "--model_name", name) == 0
    )
    read = repository.read(config)
    left = {each.name for each in (*read.models, *read.graphs)}
    assert left == {"älter", "graph"} - {name}


@pytest.mark.parametrize("is_folder", [True, False])
def test_the_config_can_be_the_value_of_the_flag(
    tmp_path: Path, is_folder: bool
) -> None:
    config = tmp_path / "config.json"
    where = tmp_path if is_folder else config
    assert run(f"--add_to_config={where}", "--model_name=m", "--model_path=p") == 0
    assert entries(config) == [("m", "p")]
    assert run("--remove_from_config", where, "--model_name=m") == 0
    assert entries(config) == []


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (
            ("--add_to_config", "--model_name=älter", "--model_path=p"),
            "Given model name is already occupied - älter",
        ),
        (
            ("--add_to_config", "--model_name=graph", "--model_path=p"),
            "Given model name is already occupied - graph",
        ),
        (
            ("--remove_from_config", "--model_name=none"),
            "Model with requested name is not found - none",
        ),
        (
            ("--add_to_config", "--model_name=a\0", "--model_path=p"),
            "The file is not valid json - {config}: model_config_list[1].config.name: "
            "NUL or a lone surrogate in a string",
        ),
    ],
)
def test_what_cannot_be_done_is_told_and_changes_nothing(
    config: Path,
    arguments: tuple[str, ...],
    text: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = config.read_bytes()
    assert run("--config_path", config, *arguments) == 1
    told = f"{config} error on config update : {text.format(config=config)}\n"
    assert capsys.readouterr().out == told
    assert config.read_bytes() == before
    assert list(config.parent.iterdir()) == [config]


def test_a_config_that_is_not_sound_is_not_written_to(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config.write_text('{"model_config_list": [], "models": []}')
    added = ("--add_to_config", "--model_name=m", "--model_path=p")
    assert run("--config_path", config, *added) == 1
    assert "The file is not valid json - " in capsys.readouterr().out
    assert config.read_text() == '{"model_config_list": [], "models": []}'


@pytest.mark.parametrize("flag", ["--add_to_config", "--remove_from_config"])
def test_a_config_in_a_folder_that_is_not_there_is_told(
    tmp_path: Path, flag: str, capsys: pytest.CaptureFixture[str]
) -> None:
    where = tmp_path / "none" / "config.json"
    path = ("--model_path=p",) if flag == "--add_to_config" else ()
    assert run(flag, "--config_path", where, "--model_name=m", *path) == 1
    assert f"{where} error on config update : " in capsys.readouterr().out


def test_a_link_stays_a_link_and_what_it_points_to_is_changed(
    config: Path, tmp_path: Path
) -> None:
    link = tmp_path / "link.json"
    link.symlink_to(config.name)
    assert run("--remove_from_config", "--config_path", link, "--model_name=älter") == 0
    assert link.is_symlink()
    assert entries(config) == []


def test_of_changes_at_one_time_none_is_lost(tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    command = (sys.executable, "-m", "ovms_mp", "--add_to_config", "--model_path=p")
    where = ("--config_path", str(config))
    names = [f"m{number}" for number in range(6)]
    running = [
        subprocess.Popen([*command, *where, f"--model_name={name}"]) for name in names
    ]
    assert [each.wait(120) for each in running] == [0] * len(names)
    assert sorted(name for name, _ in entries(config)) == names


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (
            ("--add_to_config", "--model_name=m", "--model_path=p"),
            "Set config_path with add_to_config/remove_from_config",
        ),
        (
            ("--remove_from_config", "--config_path=c"),
            "Set model_name with add_to_config/remove_from_config",
        ),
        (
            ("--add_to_config", "--config_path=c", "--model_name=m"),
            "Set model_name either with model_path or model_repository_path with "
            "add_to_config",
        ),
        (("--list_models",), "Use --list_models with --model_repository_path"),
        (
            ("--list_models", "--add_to_config"),
            "error parsing options - --list_models cannot be used with --add_to_config",
        ),
        (
            ("--list_models", "--remove_from_config"),
            "error parsing options - --list_models cannot be used with "
            "--remove_from_config",
        ),
        (
            ("--remove_from_config=c", "--model_path=p", "--model_name=m"),
            "error parsing options - --model_path cannot be used with "
            "--remove_from_config",
        ),
        (
            ("--remove_from_config=c", "--model_name=m", "--nireq=1", "--shape=auto"),
            "Adding or removing models from the configuration file, allows passing "
            "only model_name and model_path parameters. Invalid parameters passed: "
            "shape, nireq",
        ),
    ],
)
def test_wrong_usage_is_told_in_the_words_of_ovms(
    arguments: tuple[str, ...], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*arguments) == 64
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", f"{text}\n")


def test_models_and_graphs_of_a_repository_are_listed_by_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for file in (
        *("ir/1/model.xml", "ir/1/model.bin", "half/1/model.xml"),
        *("team/onnx/3/model.onnx", "graph/graph.pbtxt", "graph/1/model.onnx"),
        *("flat/model.onnx", "1/none.txt", "zero/0/model.onnx"),
    ):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    assert run("--list_models", "--model_repository_path", tmp_path) == 0
    assert capsys.readouterr().out.split() == ["graph", "ir", "team/onnx"]
    assert run("--list_models", "--model_repository_path", tmp_path / "none") == 1
    assert "base path is invalid" in capsys.readouterr().err


def test_the_repository_of_the_environment_is_that_of_all_three(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    environ = {"OVMS_MODEL_REPOSITORY_PATH": str(tmp_path)}
    (tmp_path / "graph").mkdir()
    (tmp_path / "graph" / "graph.pbtxt").touch()
    assert run("--list_models", environ=environ) == 0
    assert capsys.readouterr().out == "graph\n"
    assert run("--add_to_config", "--model_name=graph", environ=environ) == 0
    config = tmp_path / "config.json"
    assert entries(config) == [("graph", str(tmp_path / "graph"))]
    assert run("--remove_from_config", "--model_name=graph", environ=environ) == 0
    assert entries(config) == []
