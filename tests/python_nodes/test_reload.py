"""A handler that changes is another one for whoever comes; a stream that is open keeps the
one that it began with, to its end.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from tests.python_nodes.site import PROCESS, graph, served
from tests.wire import zoo
from tests.wire.calls import Stream, arrays, ask, infer, text
from tests.wire.servers import Server
from tests.wire.waiting import until

SEEN_WITHIN: Final = 30.0  # seconds; a look, another one, and a busy machine
RETIRED: Final = ("NOT_FOUND", "Mediapipe is retired")
HANDLER: Final = """
from pathlib import Path
from pyovms import Tensor

class OvmsPythonModel:
    def initialize(self, kwargs):
        self.end = Path(kwargs["base_path"]) / "VERSION finalized"

    def execute(self, inputs, session):
        session.count = getattr(session, "count", 0) + 1
        return [Tensor("out", f"VERSION {session.count}".encode())]

    def finalize(self):
        self.end.touch()
"""


def version(name: str) -> str:
    return HANDLER.replace("VERSION", name)


def said(server: Server) -> str:
    with server.connect() as channel:
        answer = infer(channel, ask("changing", {"in": text("")}))
    return bytes(arrays(answer)["out"]).decode()


@pytest.mark.parametrize("options", ["", PROCESS], ids=["inside", "outside"])
def test_an_open_stream_ends_on_the_handler_that_it_began_with(
    tmp_path: Path, options: str
) -> None:
    graphs = {"changing": (graph(options=options), version("old"))}
    with served(tmp_path, graphs) as server, server.connect() as channel:
        folder = tmp_path / "changing"
        with Stream(channel) as stream:

            def next_one() -> str:
                stream.send(ask("changing", {"in": text("")}))
                return bytes(arrays(stream.answer())["out"]).decode()

            assert next_one() == "old 1"
            (folder / "handler.py").write_text(version("new"))
            assert until(lambda: said(server) == "new 1", SEEN_WITHIN)
            assert [next_one(), next_one()] == ["old 2", "old 3"]
            assert not (folder / "old finalized").exists()
            with Stream(channel, ask("changing", {"in": text("")})) as later:
                assert bytes(arrays(later.answer())["out"]) == b"new 1"
            stream.half_close()
            assert stream.end() == ("OK", "")
        assert until((folder / "old finalized").exists)
        assert not (folder / "new finalized").exists()


def test_a_graph_that_is_taken_away_has_no_new_streams_and_keeps_the_open_ones(
    tmp_path: Path,
) -> None:
    """What a new one is told is its status alone, and nothing is written before."""
    graphs = {"changing": (graph(), version("old"))}
    with served(tmp_path, graphs) as server, server.connect() as channel:
        request = ask("changing", {"in": text("")})
        with Stream(channel, request) as stream:
            assert bytes(arrays(stream.answer())["out"]) == b"old 1"
            zoo.write_config(tmp_path)
            server.app.reload()
            with Stream(channel, request) as late:
                assert late.end() == RETIRED
            stream.send(request)
            assert bytes(arrays(stream.answer())["out"]) == b"old 2"
            stream.half_close()
            assert stream.end() == ("OK", "")
        assert until((tmp_path / "changing" / "old finalized").exists)
