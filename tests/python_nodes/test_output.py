"""What a handler prints and logs is in the server's log, with graph and node, whatever it
is doing and wherever it runs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

import pytest

from tests.python_nodes.site import PROCESS, graph
from tests.wire import zoo
from tests.wire.calls import Stream, ask, connect, text
from tests.wire.servers import Process
from tests.wire.waiting import until

SPEAKING: Final = """
import logging, sys
from pyovms import Tensor

log = logging.getLogger("of_the_author")
print("at import")

class OvmsPythonModel:
    def initialize(self, kwargs):
        logging.basicConfig(level=logging.DEBUG, force=True)  # the log is not its own
        print("at initialize")

    def open_session(self):
        log.info("in open_session")

    def execute(self, inputs, session):
        print("in execute,", "of two", end=" parts\\n")
        print("in execute, to standard error", file=sys.stderr)
        log.warning("a warning of %d", 5)
        log.debug("too fine")
        try:
            1 / 0
        except ZeroDivisionError:
            log.exception("an exception")
        yield [Tensor("out", b"first")]
        print("between two parts")
        yield [Tensor("out", b"second")]

    def close_session(self, session):
        print("in close_session")

    def finalize(self):
        print("in finalize")
"""
WAITING: Final = SPEAKING.replace("def execute", "async def execute").replace(
    'print("between', 'await __import__("asyncio").sleep(0.01); print("between'
)
GRAPHS: Final = {
    "inside": (graph(), SPEAKING),
    "overlapping": (graph("max_in_flight: 2"), SPEAKING),
    "coroutine": (graph(), WAITING),
    "outside": (graph(options=PROCESS), SPEAKING),
}
SAID: Final = {
    "at import": "info",
    "at initialize": "info",
    "in open_session": "info",
    "in execute, of two parts": "info",
    "in execute, to standard error": "info",
    "a warning of 5": "warning",
    "an exception": "error",
    "between two parts": "info",
    "in close_session": "info",
    "in finalize": "info",
}


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of a server that has answered each of the graphs once, and has ended."""
    folder = tmp_path_factory.mktemp("output")
    for name, (pbtxt, code) in GRAPHS.items():
        zoo.add_graph(folder, name, pbtxt, handler=code)
    config = zoo.write_config(folder, [], [{"name": name} for name in GRAPHS])
    with Process(folder, "--config_path", str(config)) as server:
        with connect(server.ready()) as channel:
            for name in GRAPHS:
                with Stream(channel, ask(name, {"in": text("word")})) as stream:
                    stream.half_close()
                    assert len([*stream.rest()]) == 2
                line = f'graph {name}: node "worker": in close_session\n'
                assert until(lambda line=line: line in server.log)
        server.ask_to_stop()
        assert server.code() == 0
        yield server.log


@pytest.mark.parametrize("name", GRAPHS)
@pytest.mark.parametrize("words", SAID)
def test_a_handler_is_heard_once_under_its_name_with_its_level(
    log: str, name: str, words: str
) -> None:
    lines = [line for line in log.splitlines() if words in line]
    mine = [line for line in lines if f'graph {name}: node "worker": ' in line]
    assert len(mine) == 1, lines
    assert re.search(rf"\]\[{SAID[words]}\] graph {name}: node ", mine[0])
    assert mine[0].endswith(f'node "worker": {words}')


def test_nothing_of_it_is_without_a_name(log: str) -> None:
    for words in SAID:
        named = [line for line in log.splitlines() if words in line]
        assert len(named) == len(GRAPHS), named


def test_what_is_finer_than_the_log_is_not_said(log: str) -> None:
    assert "too fine" not in log
