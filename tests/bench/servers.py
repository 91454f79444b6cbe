"""Whom a case is put to: a process, its address, and what it is called in the tables."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from google.protobuf.message import DecodeError
from ovms_mp_protos import kserve

from tests.bench.cases import Case
from tests.bench.models import TINY, expected, path_of
from tests.wire.servers import Process
from tests.wire.waiting import until

_STARTS = 180.0  # seconds; what is measured is not how busy the machine is

CANNED = "canned answers"
BARE = "the loop alone"
FEATURES = "ovms_mp, features on"
BATCHING = "ovms_mp, batching"
OURS = "ovms_mp"


@dataclass(frozen=True, slots=True)
class Server:
    """A process that listens for gRPC."""

    name: str
    pid: int
    address: tuple[str, int]

    def ask(self, case: Case) -> bytes:
        """The answer to one request of a case, verified; as bytes of the message that
        came. Raises RuntimeError for a wrong one.
        """
        (work, *_) = case.work(self.address, 0)
        unlimited = [
            (f"grpc.max_{way}_message_length", -1) for way in ("receive", "send")
        ]
        with grpc.insecure_channel("{}:{}".format(*self.address), unlimited) as channel:
            if case.is_stream:
                call: Any = channel.stream_stream(work.path)
                (message,) = call(iter([work.message]), timeout=60)
                response = _streamed(message)
            else:
                ask: Any = channel.unary_unary(work.path)
                message = ask(work.message, timeout=60)
                response = kserve.ModelInferResponse.FromString(message)
        wanted = expected(case.model)
        if response.raw_output_contents:
            given = np.frombuffer(response.raw_output_contents[0], wanted.dtype)
        else:
            given = np.array(response.outputs[0].contents.fp32_contents, np.float32)
        if not np.allclose(given, wanted.reshape(-1), atol=1e-3):
            raise RuntimeError(f"{self.name} answers wrongly: {case.name}")
        return message


def _streamed(message: bytes) -> kserve.ModelInferResponse:
    """What is in a response of a stream. MLServer's is a plain ModelInferResponse, of
    which the other kind's parser leaves nothing.
    """
    try:
        found = kserve.ModelStreamInferResponse.FromString(message)
    except DecodeError:
        return kserve.ModelInferResponse.FromString(message)
    if found.HasField("infer_response") and found.infer_response.outputs:
        return found.infer_response
    response = kserve.ModelInferResponse.FromString(message)
    if not response.outputs:
        raise RuntimeError(f"a stream's answer is an error: {found.error_message}")
    return response


@contextmanager
def ours(config: Path, folder: Path, *flags: str, name: str = OURS) -> Iterator[Server]:
    """Our server, as users start it."""
    folder.mkdir(exist_ok=True)
    with Process(folder, "--config_path", str(config), *flags) as process:
        is_over = process.process.poll
        until(lambda: "] serving: " in process.log or is_over() is not None, _STARTS)
        host, _, port = process.ready().rpartition(":")
        yield Server(name, process.process.pid, (host, int(port)))


@contextmanager
def child(name: str, command: Sequence[str], **more: Any) -> Iterator[Server]:
    """A process that prints the port it listens to, once it does."""
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, **more
    ) as process:
        try:
            assert process.stdout
            said = process.stdout.readline()
            if not re.fullmatch(r"\d+\n", said):
                raise RuntimeError(f"{name} did not start: {said!r}")
            yield Server(name, process.pid, ("127.0.0.1", int(said)))
        finally:
            process.kill()


@contextmanager
def canned(answer: bytes, folder: Path) -> Iterator[Server]:
    """See `canned.py`."""
    file = folder / f"answer_of_{len(answer)}_bytes"
    file.write_bytes(answer)
    command = [sys.executable, "-m", "tests.bench.canned", str(file)]
    with child(CANNED, command) as server:
        yield server


@contextmanager
def bare_loop() -> Iterator[Server]:
    """See `bare_loop.py`."""
    command = [sys.executable, "-m", "tests.bench.bare_loop", str(path_of(TINY))]
    with child(BARE, command) as server:
        yield server


def free_port() -> int:
    """One that nobody listens to."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
