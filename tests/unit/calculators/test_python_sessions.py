"""Laws of sessions: what a handler keeps for one stream."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ovms_mp_calculators import python_handler
from ovms_mp_calculators.python_output import Voice

from ovms_mp.calculator.pyovms import Tensor
from tests.unit.calculators.listened import FREE, Listened
from tests.wire.waiting import until

TALLY = """
from pyovms import Tensor
class OvmsPythonModel:
    def initialize(self, kwargs):
        self.file = kwargs["base_path"] + "/sessions"
    {a} open_session(self):
        self.note("open")
        return []
    {a} execute(self, inputs, session):
        session.append(bytes(inputs[0]))
        return [Tensor("out", b" ".join(session))]
    {a} close_session(self, session):
        self.note("close " + b" ".join(session).decode())
    def note(self, text):
        with open(self.file, "a") as file:
            file.write(text + "\\n")
"""


@pytest.mark.parametrize("kind", ["def", "async def"])
@pytest.mark.parametrize("in_flight", ["", "max_in_flight: 2"])
def test_a_session_is_a_streams_own_from_its_first_call_to_its_end(
    tmp_path: Path, kind: str, in_flight: str
):
    graph = Listened(FREE % in_flight, tmp_path, TALLY.format(a=kind))
    for stream in (b"a", b"b"):
        graph.start()
        for at in range(2):
            graph.feed("in", Tensor("in", stream), at=at)
        graph.close()
        graph.join()
    texts = [text for _, text in graph.said()]
    assert texts[1::2] == [b"a a", b"b b"]
    notes = tmp_path / "sessions"
    assert until(lambda: notes.read_text().count("\n") == 4)
    assert notes.read_text().splitlines()[::2] == ["open", "open"]


MORE_COMES = """
from pyovms import Tensor
class OvmsPythonModel:
    def initialize(self, kwargs):
        self.call = kwargs["call"]
    async def open_session(self):
        self.call()
        return []
    async def execute(self, inputs, session):
        session.append(bytes(inputs[0]))
        return [Tensor("out", b" ".join(session))]
"""


def test_what_comes_as_a_session_opens_does_not_overtake_what_opened_it(
    tmp_path: Path,
):
    file = tmp_path / "handler.py"
    file.write_text(MORE_COMES)
    answers: list[Any] = []

    def call() -> None:
        answers.append(session.execute([Tensor("in", b"later")]))

    voice = Voice("node", lambda level, line: None)
    session = python_handler.load(file, voice, "node", {"call": call}).open(
        is_serial=False
    )
    first: Any = session.execute([Tensor("in", b"first")])
    assert bytes(first.result(10)[0]) == b"first"
    assert bytes(answers[0].result(10)[0]) == b"first later"
    session.close()


OPENING = """
import asyncio
from pathlib import Path
class OvmsPythonModel:
    def initialize(self, kwargs):
        self.folder = Path(kwargs["base_path"])
    async def open_session(self):
        (self.folder / "opening").touch()
        while not (self.folder / "go").exists():
            await asyncio.sleep(0.005)
    async def execute(self, inputs, session):
        return []
    async def close_session(self, session):
        (self.folder / "closed").touch()
"""


def test_a_session_that_is_being_opened_when_its_stream_ends_is_closed(tmp_path: Path):
    graph = Listened(FREE % "", tmp_path, OPENING)
    graph.start()
    graph.feed("in", Tensor("in", b""), at=0)
    assert until((tmp_path / "opening").exists)
    graph.cancel()
    graph.join()
    assert not (tmp_path / "closed").exists()
    (tmp_path / "go").touch()
    assert until((tmp_path / "closed").exists)


def test_without_open_session_a_session_is_an_empty_namespace(tmp_path: Path):
    code = """
    from pyovms import Tensor
    class OvmsPythonModel:
        def execute(self, inputs, session):
            session.count = getattr(session, "count", 0) + 1
            return [Tensor("out", str(session.count).encode())]
    """
    graph = Listened(FREE % "", tmp_path, code)
    for _ in range(2):
        graph.start()
        for at in range(2):
            graph.feed("in", Tensor("in", b""), at=at)
        graph.close()
    assert [text for _, text in graph.said()] == [b"1", b"2", b"1", b"2"]


def test_a_stream_without_data_opens_no_session(tmp_path: Path):
    graph = Listened(FREE % "", tmp_path, TALLY.format(a="def"))
    graph.start()
    graph.close()
    assert graph.is_done and not (tmp_path / "sessions").exists()


def test_a_session_that_cannot_be_closed_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    code = """
    class OvmsPythonModel:
        def execute(self, inputs, session):
            return []
        def close_session(self, session):
            raise SystemExit
    """
    graph = Listened(FREE % "", tmp_path, code)
    graph.start()
    graph.feed("in", Tensor("in", b""), at=0)
    graph.close()
    assert graph.is_done and graph.error is None
    assert 'node "worker": close_session failed' in caplog.text
