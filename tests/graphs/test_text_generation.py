"""A chat with a real language model, over a stream: pieces come as they are made."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ovms_mp_clients import Client
from ovms_mp_clients.tensors import Result

from tests.graphs.over_the_wire import serving
from tests.wire.servers import Server

pytest.importorskip("openvino_genai")

CHAT = "text_generation"

pytestmark = pytest.mark.timeout(300)  # the model loads, on a machine that is busy


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("chat"), CHAT) as server:
        yield server


def piece(result: Result) -> str:
    (text,) = result.outputs["answer"]
    return text.decode()


def say(text: str) -> dict[str, list[str]]:
    return {"message": [text]}


def answer(stream: Iterator[Result]) -> list[str]:
    """The pieces of the next answer."""
    return list(iter(lambda: piece(next(stream)), ""))


def test_a_conversation_comes_in_pieces_and_is_remembered(server: Server):
    with Client(server.address) as client, client.stream(CHAT) as stream:
        stream.send(say("What is the capital of France?"))
        first = answer(stream)
        assert "".join(first) == "The capital of France is Paris."
        assert len(first) > 5
        # What is asked next makes sense to who knows what was asked before.
        stream.send(say("And of Italy?"))
        assert "".join(answer(stream)) == "The capital of Italy is Rome."


def test_the_first_piece_is_here_before_the_last_is_made(server: Server):
    with Client(server.address) as client:
        with client.stream(CHAT) as stream:
            stream.send(say("What is the capital of France?"))
            answer(stream)  # the first of all takes longer
        shares: list[float] = []
        # A machine that is busy may keep the first one waiting, now and then.
        while min(shares, default=1.0) >= 0.7 and len(shares) < 3:
            stream = client.stream(CHAT)
            sent = time.monotonic()
            stream.send(say("Count from one to twenty."))
            assert piece(next(stream))
            first = time.monotonic() - sent
            rest = answer(stream)
            last = time.monotonic() - sent
            stream.cancel()
            assert len(rest) > 20
            shares.append(first / last)
    # Were they sent together, the first would take as long as all.
    assert min(shares) < 0.7, shares


def test_two_conversations_know_nothing_of_each_other(server: Server):
    def ask(question: str) -> str:
        with Client(server.address) as client, client.stream(CHAT) as stream:
            stream.send(say(question))
            stream.half_close()
            return "".join(map(piece, stream))

    questions = ("What is the capital of France?", "What is the capital of Japan?")
    answers: dict[str, str] = {}
    threads = [
        threading.Thread(target=lambda q=q: answers.update({q: ask(q)}))
        for q in questions
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert "Paris" in answers[questions[0]]
    assert "Tokyo" in answers[questions[1]]
    assert "Tokyo" not in answers[questions[0]]


def test_who_leaves_stops_the_model(server: Server):
    """The model's thread has nothing to do soon after, long before the answer's end."""
    with Client(server.address) as client, client.stream(CHAT) as stream:
        stream.send(say("Tell me a very long story about a ship."))
        assert piece(next(stream))
    (thread,) = [
        each for each in threading.enumerate() if each.name == "language-model"
    ]
    used = -1.0
    for _ in range(240):
        before, used = used, cpu_seconds(thread)
        if used == before:
            return
        time.sleep(0.25)
    pytest.fail("the model goes on without anybody who listens")


def cpu_seconds(thread: threading.Thread) -> float:
    """What a thread of this process has used, as the kernel counts."""
    fields = Path(f"/proc/self/task/{thread.native_id}/stat").read_text().split()
    return float(fields[13]) + float(fields[14])
