"""A server of its own for as long as a `with` block lasts, on a free local port."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from ovms_mp_clients import Client

_HOST: Final = "127.0.0.1"
_STARTS_WITHIN: Final = 120.0  # seconds; compiling a model on a busy machine takes time
_STOPS_WITHIN: Final = 10.0
_POLL: Final = 0.05
_LAST_LINES: Final = 15


class ServerFailed(Exception):
    """The server ended, or did not become ready; the message has the end of its log."""


@contextmanager
def serving(config: Path, servable: str, log: Path) -> Iterator[str]:
    """Start `python -m ovms_mp` on `config`; gives its address once `servable` is ready.

    What the server says goes to `log`. It is stopped at the end of the block, whatever
    ends it. Raises ServerFailed.
    """
    port = _free_port()
    address = f"{_HOST}:{port}"
    command = [sys.executable, "-m", "ovms_mp", "--config_path", str(config)]
    command += ["--port", str(port), "--grpc_bind_address", _HOST]
    with (
        log.open("w") as output,
        subprocess.Popen(command, stdout=output, stderr=output) as server,  # noqa: S603
    ):
        try:
            _wait_until_ready(server, address, servable, log)
            yield address
        finally:
            server.terminate()
            try:
                server.wait(_STOPS_WITHIN)
            except subprocess.TimeoutExpired:
                server.kill()


def _wait_until_ready(
    server: subprocess.Popen[bytes], address: str, servable: str, log: Path
) -> None:
    deadline = time.monotonic() + _STARTS_WITHIN
    with Client(address) as client:
        while time.monotonic() < deadline:
            if server.poll() is not None:
                msg = f"the server ended with {server.returncode}{_end_of(log)}"
                raise ServerFailed(msg)
            if client.is_ready() and client.is_ready(servable):
                return
            time.sleep(_POLL)
    msg = f"{servable} was not ready within {_STARTS_WITHIN:g} s{_end_of(log)}"
    raise ServerFailed(msg)


def _end_of(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()[-_LAST_LINES:]
    return ":\n  " + "\n  ".join(lines) if lines else ""


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        return probe.getsockname()[1]
