"""The health check of the image, against servers outside of it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from container import healthcheck
from ovms_mp.settings import DEFAULT_PORT
from tests.wire.servers import HOST, Process


@pytest.fixture
def port() -> str:
    """A port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return str(probe.getsockname()[1])


def health(pid: int, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, healthcheck.__file__, str(pid)],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )


def test_a_server_that_is_ready_is_healthy_whatever_proxy_there_is(
    tmp_path: Path, port: str
) -> None:
    config = tmp_path / "config.json"
    config.write_text('{"model_config_list": []}')
    with Process(tmp_path, "--config_path", str(config), port=port) as server:
        server.ready()
        asked = health(server.process.pid, http_proxy="http://127.0.0.1:1")
    assert asked.returncode == 0, asked.stderr
    assert asked.stdout == f"{HOST}:{port} is ready\n"


def test_a_server_that_does_not_listen_is_not_healthy(port: str) -> None:
    command = [sys.executable, "-c", "input()", "--port", port]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        asked = health(process.pid)
        process.communicate(b"\n")
    assert asked.returncode == 1
    assert asked.stdout == f"{HOST}:{port} is not ready\n"


@pytest.mark.parametrize(
    ("flags", "address"),
    [
        ([], ("127.0.0.1", str(DEFAULT_PORT))),
        (["--port", "9000"], ("127.0.0.1", "9000")),
        (["--port=9000", "--model_name", "port"], ("127.0.0.1", "9000")),
        (["--", "ovms-mp", "--port", "9000"], ("127.0.0.1", "9000")),
        (["--rest_port", "8000"], ("127.0.0.1", str(DEFAULT_PORT))),
        (["--grpc_bind_address", "::", "--port", "9000"], ("::1", "9000")),
        (
            ["--grpc_bind_address", "unix:/run/ovms,::", "--port", "9000"],
            ("unix:/run/ovms", "9000"),
        ),
        (
            ["--grpc_bind_address", "192.0.2.7,::1", "--port", "9000"],
            ("192.0.2.7", "9000"),
        ),
    ],
)
def test_a_server_is_asked_where_its_flags_say_it_listens(
    flags: list[str], address: tuple[str, str]
) -> None:
    assert healthcheck.address_of(["ovms-mp", *flags, ""], {}) == address


def test_a_server_is_asked_where_the_environment_says_it_listens(port: str) -> None:
    command = [sys.executable, "-c", "input()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        asked = health(process.pid, OVMS_MP_PORT=port, OVMS_MP_GRPC_BIND_ADDRESS="::1")
        process.communicate(b"\n")
    assert asked.stdout == f"[::1]:{port} is not ready\n"


def test_a_flag_wins_over_the_environment_and_a_service_of_kubernetes_is_none() -> None:
    service = {"OVMS_MP_PORT": "tcp://192.0.2.7:80"}
    default = "127.0.0.1", str(DEFAULT_PORT)
    assert healthcheck.address_of(["ovms-mp", ""], service) == default
    other = {"OVMS_MP_PORT": "9001"}
    given = ["ovms-mp", "--port", "9000", ""]
    assert healthcheck.address_of(given, other) == ("127.0.0.1", "9000")
