"""Servers to test: whole ones, in this process or in one of their own."""

from __future__ import annotations

import logging
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import grpc

from ovms_mp.app import App
from ovms_mp.inference.engine import CompiledModel
from ovms_mp.repository.config import ModelSpec, MonitoringSpec
from ovms_mp.settings import ANY_PORT, Settings
from ovms_mp.telemetry import families
from tests.wire import calls
from tests.wire.waiting import until

HOST = "127.0.0.1"
STARTS_WITHIN = 40.0  # seconds; a busy machine needs some to import OpenVINO
STOPS_WITHIN = 20.0

# In text or, in quotes, in JSON.
_LISTENING = re.compile(r"gRPC server listening on [^ ]*:(\d+)(?:\"\})?$", re.MULTILINE)
_SERVING = re.compile(r"(?:\] |\")serving: ([^\"\n]*)", re.MULTILINE)


class Server:
    """An App in this process, and what it logs."""

    def __init__(self, app: App, log: list[str]) -> None:
        self.app = app
        self.log = log

    @property
    def address(self) -> str:
        return f"{HOST}:{self.app.port}"

    def connect(self) -> grpc.Channel:
        return calls.connect(self.address)

    def compiled(self, model: str) -> CompiledModel:
        return self.app.catalog.model(model, "").compiled

    def open_graphs(self) -> float:
        """Graphs in process, of all names."""
        page = self.app.metrics.render().decode()
        found = re.findall(r"^ovms_current_graphs\{.*\} (.+)$", page, re.MULTILINE)
        return sum(map(float, found))

    def busy_slots(self) -> float:
        """Infer requests in use, of all models."""
        page = self.app.metrics.render().decode()
        found = re.findall(r"^ovms_infer_req_active\{.*\} (.+)$", page, re.MULTILINE)
        return sum(map(float, found))

    def is_idle(self) -> bool:
        """Nobody's work is left."""
        return self.open_graphs() == 0 and self.busy_slots() == 0

    def said(self, *words: str) -> bool:
        """Whether one line of the log has all of these words."""
        return any(all(word in line for word in words) for line in self.log)


@contextmanager
def serving(source: Path | ModelSpec, **settings: Any) -> Iterator[Server]:
    """A server on free ports, with all metrics; loaded, and stopped at the end."""
    wanted: dict[str, Any] = {
        "port": ANY_PORT,
        "bind_addresses": (HOST,),
        "rest_port": ANY_PORT,
        "rest_bind_addresses": (HOST,),
        "probe_models": False,  # a second process, for models that are our own
        "metrics": MonitoringSpec(
            is_enabled=True, families=tuple(each.name for each in families.FAMILIES)
        ),
    }
    with listening() as log:
        app = App(Settings(source, **{**wanted, **settings}))
        app.start()
        try:
            yield Server(app, log)
        finally:
            app.stop(grace=0)


@contextmanager
def listening() -> Iterator[list[str]]:
    """The lines that the product logs, tracebacks included, as they come."""
    lines: list[str] = []
    handler = _Lines(lines)
    # The level is the root's, as in a real server: a test that logs by itself, while a
    # server of longer life is listened to, chooses its own for a while.
    root = logging.getLogger()
    loggers = logging.getLogger("ovms_mp"), logging.getLogger("ovms_mp_calculators")
    before = root.level
    root.setLevel(logging.INFO)
    for each in loggers:
        each.addHandler(handler)
    try:
        yield lines
    finally:
        for each in loggers:
            each.removeHandler(handler)
        root.setLevel(before)


class _Lines(logging.Handler):
    def __init__(self, lines: list[str]) -> None:
        super().__init__()
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.append(self.format(record))


class Process:
    """`python -m ovms_mp` with these flags, and so much more `environment`; `within` is
    what becomes it, as `env` would. Leaving the `with` block kills it.
    """

    def __init__(
        self,
        folder: Path,
        *flags: str,
        port: str = "0",
        environment: Mapping[str, str] | None = None,
        within: Sequence[str] = (),
    ) -> None:
        self._log = folder / "server.log"
        everywhere = ("--grpc_bind_address", HOST, "--rest_bind_address", HOST)
        with self._log.open("w") as output:
            self.process = subprocess.Popen(
                [
                    *(*within, sys.executable, "-m", "ovms_mp"),
                    *(*flags, *everywhere, "--port", port),
                ],
                stdout=output,
                stderr=output,
                env={**os.environ, "PYTHONUNBUFFERED": "1", **(environment or {})},
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.process.kill()
        self.process.wait()

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def ready(self) -> str:
        """The address, once everything is loaded."""
        is_over = self.process.poll
        until(lambda: _SERVING.search(self.log) or is_over() is not None, STARTS_WITHIN)
        assert _SERVING.search(self.log), self.log
        port = _LISTENING.search(self.log)
        assert port, self.log
        return f"{HOST}:{port[1]}"

    def served(self) -> list[str]:
        """What is ready, by the log."""
        found = _SERVING.search(self.log)
        assert found, self.log
        return found[1].split(", ")

    def ask_to_stop(self, number: int = signal.SIGTERM) -> None:
        self.process.send_signal(number)

    def code(self) -> int:
        """The exit code; the server ends by itself."""
        return self.process.wait(STOPS_WITHIN)

    def memory(self) -> int:
        """Bytes that are resident."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(r"^VmRSS:\s+(\d+) kB", status, re.MULTILINE)
        assert found
        return int(found[1]) << 10


def sample(page: str, name: str, labels: Mapping[str, str]) -> float | None:
    """The value of the sample that has exactly these labels, None if there is none."""
    for line in page.splitlines():
        found = re.fullmatch(rf"{name}\{{(.*)\}} (\S+)", line)
        if found and dict(re.findall(r'(\w+)="([^"]*)"', found[1])) == dict(labels):
            return float(found[2])
    return None
