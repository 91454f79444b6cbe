"""What a handler keeps for one stream is its own from the first request on, and is given
back however the stream ends: in the server, as a coroutine, and in processes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import grpc
import numpy as np
import pytest
from ovms_mp_protos import kserve

from tests.python_nodes.site import PROCESS, graph, served
from tests.wire.calls import Request, Stream, arrays, ask, infer, refusal, text
from tests.wire.servers import Server
from tests.wire.test_departures import client, expect, kill
from tests.wire.waiting import until

DIARY: Final = """
import asyncio
from pathlib import Path
from uuid import uuid4
from pyovms import Tensor

class OvmsPythonModel:
    def initialize(self, kwargs):
        self.folder = Path(kwargs["base_path"])

    def open_session(self):
        diary = self.folder / f"{uuid4().hex}.open"
        diary.touch()
        return diary

    def execute(self, inputs, session):
        word = bytes(inputs[0]).decode()
        with session.open("a") as file:
            file.write(f"{word} ")
        if word == "raise":
            raise ValueError("this stream is no good")
        if word == "wait":
            WAIT
        return [Tensor("out", session.read_text().strip().encode())]

    def close_session(self, session):
        session.rename(session.with_suffix(".closed"))
"""
SYNC: Final = DIARY.replace("WAIT", "__import__('time').sleep(0.2)")
ASYNC: Final = (
    DIARY.replace("WAIT", "await asyncio.sleep(0.2)")
    .replace("    def ", "    async def ")
    .replace("async def initialize", "def initialize")
)
GRAPHS: Final = {
    "inside": (graph(), SYNC),
    "overlapping": (graph("max_in_flight: 2"), SYNC),
    "coroutine": (graph(), ASYNC),
    "outside": (graph(options=f"{PROCESS} workers: 2"), SYNC),
    "coroutine_outside": (graph(options=f"{PROCESS} workers: 2"), ASYNC),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sessions")


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    with served(folder, GRAPHS) as server:
        yield server


@pytest.fixture
def channel(server: Server) -> Iterator[grpc.Channel]:
    with server.connect() as channel:
        yield channel
    assert until(server.is_idle)


def say(name: str, word: str) -> Request:
    return ask(name, {"in": text(word)})


def heard(stream: Stream) -> str:
    return bytes(arrays(stream.answer())["out"]).decode()


# Ways in which a stream ends that has had an answer


def half_closed(stream: Stream, name: str) -> None:
    stream.half_close()
    assert stream.end() == ("OK", "")


def cancelled(stream: Stream, name: str) -> None:
    stream.cancel()


def cancelled_at_work(stream: Stream, name: str) -> None:
    stream.send(*[say(name, "wait")] * 5)
    assert heard(stream).endswith("wait")
    stream.cancel()


def failed(stream: Stream, name: str) -> None:
    stream.send(say(name, "raise"))
    assert stream.end()[0] == "INVALID_ARGUMENT"


WAYS: Final[dict[str, Callable[[Stream, str], None]]] = {
    each.__name__: each for each in (half_closed, cancelled, cancelled_at_work, failed)
}


@pytest.mark.parametrize("name", GRAPHS)
@pytest.mark.parametrize("way", WAYS)
def test_a_session_is_closed_however_its_stream_ends(
    channel: grpc.Channel, folder: Path, name: str, way: str
) -> None:
    before = closed(folder, name)
    with Stream(channel, say(name, "hello")) as stream:
        assert heard(stream) == "hello"
        assert len(open_ones(folder, name)) == 1
        WAYS[way](stream, name)
        assert until(lambda: closed(folder, name) == before + 1)
    assert open_ones(folder, name) == []


@pytest.mark.parametrize("name", GRAPHS)
def test_a_session_is_closed_when_its_client_is_killed(
    server: Server, folder: Path, name: str
) -> None:
    before = closed(folder, name)
    with client(server, name, "in", word="hello") as process:
        expect(process, "sent")
        expect(process, "answered")
        assert len(open_ones(folder, name)) == 1
        kill(process, server)
    assert until(lambda: closed(folder, name) == before + 1)
    assert open_ones(folder, name) == []


@pytest.mark.parametrize("name", GRAPHS)
def test_a_session_is_closed_when_the_deadline_of_its_stream_is_over(
    channel: grpc.Channel, folder: Path, name: str
) -> None:
    before = closed(folder, name)
    messages = [say(name, "wait").SerializeToString()] * 50
    method: Any = channel.stream_stream(kserve.MODEL_STREAM_INFER)
    heard: list[bytes] = []
    tries = 0
    # One that is over before anything has begun has no session to close.
    while not heard:
        tries += 1
        call = method(iter(messages), timeout=2**tries - 1)
        with pytest.raises(grpc.RpcError):
            heard.extend(call)
        assert call.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert until(lambda: closed(folder, name) > before)
    assert until(lambda: open_ones(folder, name) == [])
    assert closed(folder, name) <= before + tries


@pytest.mark.parametrize("name", GRAPHS)
def test_streams_beside_each_other_know_their_own_past(
    channel: grpc.Channel, name: str
) -> None:
    with Stream(channel) as one, Stream(channel) as other:
        for count in range(1, 6):
            for stream, word in ((one, "a"), (other, "b")):
                stream.send(say(name, word))
                assert heard(stream).split() == [word] * count


@pytest.mark.parametrize("name", GRAPHS)
def test_a_unary_request_has_a_session_of_its_own_and_closes_it(
    channel: grpc.Channel, folder: Path, name: str
) -> None:
    before = closed(folder, name)
    for _ in range(3):
        answer = infer(channel, say(name, "hello"))
        assert bytes(np.array(arrays(answer)["out"], np.uint8)) == b"hello"
    assert refusal(channel, say(name, "raise"))[0] == "INVALID_ARGUMENT"
    assert until(lambda: closed(folder, name) == before + 4)
    assert open_ones(folder, name) == []


def open_ones(folder: Path, name: str) -> list[Path]:
    return [*(folder / name).glob("*.open")]


def closed(folder: Path, name: str) -> int:
    return len([*(folder / name).glob("*.closed")])
