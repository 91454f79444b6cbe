"""Processes that a handler starts are its own: who waits for one is told how it ended, and
nobody waits for it in the handler's place.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.python_nodes.site import PROCESS, graph
from tests.wire import zoo
from tests.wire.calls import Stream, arrays, ask, connect, text
from tests.wire.servers import Process

HANDLER: Final = """
import os, subprocess
from pathlib import Path
from pyovms import Tensor

def has_ended(pid):
    stat = Path(f"/proc/{pid}/stat").read_text()
    return stat.rpartition(")")[2].split()[0] == "Z"

class OvmsPythonModel:
    def execute(self, inputs, session):
        word = bytes(inputs[0]).decode()
        return [Tensor("out", str(getattr(self, word)(session)).encode())]

    def program(self, session):
        done = subprocess.run(["/bin/sh", "-c", "echo heard; exit 3"],
                              capture_output=True, text=True)
        return done.returncode, done.stdout

    def start(self, session):
        session.child = os.fork()
        if not session.child:
            os._exit(4)
        while not has_ended(session.child):
            pass
        return os.getpid(), session.child

    def wait(self, session):
        return os.waitstatus_to_exitcode(os.waitpid(session.child, 0)[1])

    def come_home(self, session):
        session.child = os.fork()
        if not session.child:
            return "never heard"
        return self.wait(session)

    def pipeline(self, session):
        child = subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE,
                                 stdout=subprocess.PIPE, text=True)
        return child.communicate("through") + (child.returncode,)
"""
GRAPHS: Final = {
    "inside": (graph(), HANDLER),
    "overlapping": (graph("max_in_flight: 2"), HANDLER),
    "outside": (graph(options=PROCESS), HANDLER),
}


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of a server in a process of its own, which may be forked."""
    folder = tmp_path_factory.mktemp("children")
    for name, (pbtxt, code) in GRAPHS.items():
        zoo.add_graph(folder, name, pbtxt, handler=code)
    config = zoo.write_config(folder, [], [{"name": name} for name in GRAPHS])
    with Process(folder, "--config_path", str(config)) as server:
        yield server.ready()


class Handler:
    """What a stream's handler answers to a word."""

    def __init__(self, stream: Stream, name: str) -> None:
        self._stream = stream
        self._name = name

    def __call__(self, word: str) -> str:
        self._stream.send(ask(self._name, {"in": text(word)}))
        return bytes(arrays(self._stream.answer())["out"]).decode()


@pytest.fixture(params=GRAPHS)
def handler(request: pytest.FixtureRequest, address: str) -> Iterator[Handler]:
    with connect(address) as channel, Stream(channel) as stream:
        yield Handler(stream, request.param)


def test_a_program_s_output_and_exit_code_are_told(handler: Handler) -> None:
    for _ in range(3):
        assert handler("program") == "(3, 'heard\\n')"
        assert handler("pipeline") == "('through', None, 0)"


def test_a_fork_that_ended_before_is_still_there_for_who_waits_for_it(
    handler: Handler,
) -> None:
    """In another call, and after others have been answered."""
    parent, child = map(int, handler("start").strip("()").split(","))
    assert stat(child) == (parent, "Z")
    assert handler("program").startswith("(3, ")
    assert stat(child) == (parent, "Z")
    assert handler("wait") == "4"
    assert stat(child) is None


def test_a_fork_that_would_go_on_as_the_server_ends_and_answers_nobody(
    handler: Handler,
) -> None:
    assert handler("come_home") == "1"
    assert handler("program").startswith("(3, ")


def stat(pid: int) -> tuple[int, str] | None:
    """A process's parent and state; None if its number is nobody's."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return None
    return int(fields[1]), fields[0]
