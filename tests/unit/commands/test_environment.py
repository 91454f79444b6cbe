"""A container is set up by its environment; flags win."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ovms_mp.cli import main
from ovms_mp.repository.config import ModelSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ovms_mp.settings import Settings


def served(environ: Mapping[str, str], *arguments: str) -> Settings:
    settings: list[Settings] = []

    def run(asked: Settings) -> int:
        settings.append(asked)
        return 0

    assert main(arguments, run, environ) == 0
    return settings[0]


def test_a_variable_is_a_flag() -> None:
    environ = {
        "OVMS_MP_CONFIG_PATH": "c.json",
        "OVMS_MP_PORT": "9000",
        "OVMS_MP_REST_PORT": "8000",
        "OVMS_MP_METRICS_ENABLE": "true",
    }
    settings = served(environ)
    assert settings.source == Path("c.json")
    assert (settings.port, settings.rest_port) == (9000, 8000)
    assert settings.metrics is not None


def test_a_flag_wins_over_its_variable() -> None:
    environ = {"OVMS_MP_CONFIG_PATH": "c.json", "OVMS_MP_PORT": "9000"}
    assert served(environ, "--port=9001").port == 9001
    model = ("--model_name=m", "--model_path=/m")
    assert served(environ, *model).source == ModelSpec("m", Path("/m"))


def test_the_repository_of_the_environment_has_the_config() -> None:
    environ = {"OVMS_MODEL_REPOSITORY_PATH": "/models"}
    assert served(environ).source == Path("/models/config.json")
    assert served(environ, "--config_path=c.json").source == Path("c.json")


def test_grpc_servers_wins_over_the_flag_as_in_ovms() -> None:
    environ = {"GRPC_SERVERS": "1", "OVMS_MP_CONFIG_PATH": "c.json"}
    assert served(environ, "--grpc_workers=100000").grpc_workers == 1


def test_what_kubernetes_says_of_a_service_is_no_port() -> None:
    environ = {"OVMS_MP_PORT": "tcp://10.0.0.1:80", "OVMS_MP_REST_PORT": ""}
    settings = served(environ, "--config_path=c.json")
    assert (settings.port, settings.rest_port) == (9178, None)


def test_a_variable_without_effect_is_named_as_its_flag_is(
    capsys: pytest.CaptureFixture[str],
) -> None:
    served({"OVMS_MP_CONFIG_PATH": "c", "OVMS_MP_GRPC_MAX_THREADS": "4"})
    assert capsys.readouterr().out.count("--grpc_max_threads has no effect") == 1


def test_the_environment_asks_for_no_other_program(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main([], environ={"OVMS_MP_LIST_MODELS": "true"}) == 0
    assert capsys.readouterr().out.startswith("usage: ")
