"""`python -m ovms_mp --grpc_workers 2`, and who it is made of."""

from __future__ import annotations

import re
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack, suppress
from http.client import HTTPException
from pathlib import Path
from types import TracebackType
from typing import Any

import grpc
from ovms_mp_protos import kserve

from tests.wire import calls
from tests.wire.calls import Answer, ask, infer, text
from tests.wire.servers import HOST, Process
from tests.wire.waiting import until

STARTS_WITHIN = 90.0  # one worker after the other, on a machine that is busy
ENDS_WITHIN = 30.0

GONE = (FileNotFoundError, ProcessLookupError)
"""What /proc says of a process, or of a thread, that ends while it is looked at."""

WHO = '''
"""Tells in which process it is, once it may, and misbehaves when it is told to."""

import ctypes
import os
import socket
import threading
import time
from pathlib import Path

from pyovms import Tensor


def wait_for(path):
    end = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < end, "nobody lets go"
        time.sleep(0.005)


def links():
    for each in os.listdir("/proc/self/fd"):
        if os.readlink(f"/proc/self/fd/{each}").startswith("socket:"):
            link = socket.socket(fileno=os.dup(int(each)))
            if link.family == socket.AF_UNIX:
                yield link


class OvmsPythonModel:
    def initialize(self, kwargs):
        (self.output,) = kwargs["output_names"]
        if Path(kwargs["base_path"], "poison").exists():
            os._exit(3)

    def execute(self, inputs):
        word = bytes(inputs[0]).decode()
        if word.startswith("until "):
            Path(word.removeprefix("until ") + f".{os.getpid()}").touch()
            wait_for(Path(word.removeprefix("until ")))
        if word == f"fail the pollers of {os.getpid()}":
            for each in threading.enumerate():
                if type(each).__name__ == "VitalThread":
                    thread = ctypes.c_ulong(each.ident)
                    error = ctypes.py_object(RuntimeError)
                    ctypes.pythonapi.PyThreadState_SetAsyncExc(thread, error)
        if word == "babble":
            for link in links():
                link.send(b"\\xff" * 16)
        return [Tensor(self.output, str(os.getpid()).encode())]
'''


class Workers(Process):
    """The server. Leaving the `with` block ends its supervisor, and waits for the
    workers to go.
    """

    def __init__(self, folder: Path, *flags: str, port: str = "0") -> None:
        # Models are our own: no process more for each worker to probe them.
        more = ("--grpc_workers", "2", "--probe_models", "false")
        super().__init__(folder, *flags, *more, port=port)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pids = self.pids()
        super().__exit__(kind, error, trace)
        assert until(lambda: not any(map(is_running, pids)), ENDS_WITHIN)

    def ready(self) -> str:
        """The address, once both serve."""
        is_over = self.process.poll
        until(lambda: self.times_ready() or is_over() is not None, STARTS_WITHIN)
        assert self.times_ready(), self.log
        return super().ready()

    def times_ready(self) -> int:
        """How often both have come to serve."""
        return self.log.count("] all 2 workers serve")

    def connect(self) -> grpc.Channel:
        """A channel with a connection of its own."""
        return calls.connect(super().ready())

    def pids(self) -> set[int]:
        """Of the workers."""
        return workers_of(self.process.pid)

    def rest_port(self) -> int:
        """Where they share REST."""
        found = re.search(rf"REST server listening on {HOST}:(\d+)", self.log)
        assert found, self.log
        return int(found[1])

    def page(self) -> str:
        """What one of them answers for /metrics."""
        url = f"http://{HOST}:{self.rest_port()}/metrics"
        with urllib.request.urlopen(url, timeout=30) as answer:
            return answer.read().decode()

    def shows(self, sample: str) -> bool:
        """Whether there is a page now, which not everyone lives to answer, and it has
        this line.
        """
        try:
            return f"\n{sample}\n" in self.page()
        except (OSError, HTTPException):
            return False

    def lines(self, *words: str) -> list[str]:
        """Those lines of the log that have all of these words."""
        return [
            line
            for line in self.log.splitlines()
            if all(word in line for word in words)
        ]

    def channels(self, stack: ExitStack, per_worker: int) -> dict[int, list[Any]]:
        """Connections by the worker that has them, at least so many each."""
        found: dict[int, list[Any]] = {pid: [] for pid in self.pids()}
        assert len(found) == 2
        while min(map(len, found.values())) < per_worker:
            channel = stack.enter_context(self.connect())
            found[who(channel)].append(channel)
        return found


def who(channel: grpc.Channel, word: str = "") -> int:
    """The process that answers."""
    return pid_in(infer(channel, ask("who", {"word": text(word)}), timeout=90))


def pid_in(answer: Answer) -> int:
    """What the handler has said."""
    (said,) = answer.raw_output_contents
    return int(said)


def is_ready(channel: grpc.Channel) -> bool:
    """ServerReady."""
    method: Any = channel.unary_unary(
        kserve.SERVER_READY, None, kserve.ServerReadyResponse.FromString
    )
    return method(b"", timeout=30).ready


def becomes(law: Callable[[], object]) -> bool:
    """Whether `law` becomes true, in as long as a worker may take to start."""
    return until(law, STARTS_WITHIN)


def workers_of(pid: int) -> set[int]:
    """Children of a process that are workers."""
    found: set[int] = set()
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        children: list[str] = []
        with suppress(*GONE):
            children = task.read_text().split()
        found |= {int(child) for child in children if is_worker(child)}
    return found


def is_worker(pid: str) -> bool:
    """Whether a process is one, by what it was started as."""
    try:
        return b"ovms_mp.worker" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except GONE:
        return False


def is_running(pid: int) -> bool:
    """False for what has ended, even if nobody has taken notice."""
    try:
        return " Z " not in Path(f"/proc/{pid}/stat").read_text()
    except GONE:
        return False
