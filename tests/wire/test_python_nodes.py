"""Whatever a Python node does ends its own stream, says why, and disturbs no other."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import grpc
import pytest

from tests.wire.calls import Request, Stream, arrays, ask, refusal, text, timestamp
from tests.wire.servers import Server

FAILED: Final = (
    "Mediapipe execution failed. MP status - INTERNAL: CalculatorGraph::Run() failed: "
    'Calculator::Process() for node "speaker" failed: '
)
REASONS: Final = {
    "raise": "ValueError: this word is not nice",
    "exit": "SystemExit: enough",
    "interrupt": "KeyboardInterrupt",
    "none": "TypeError: execute must return a list of pyovms.Tensor, it returned NoneType",
    "text": "TypeError: execute must return a list of pyovms.Tensor, it returned str",
    "numbers": "TypeError: the list that execute returned contains int, "
    "not pyovms.Tensor",
    "stranger": 'ValueError: execute returned tensor "stranger", which is no output '
    'stream of the node: "said"',
    "twice": 'ValueError: execute returned tensor "said" twice',
    "yield": "TypeError: execute must yield lists of pyovms.Tensor, it yielded Tensor",
}


def say(word: str, *, at: int | None = None) -> Request:
    return ask("words", {"word": text(word)}, at=at)


def heard(stream: Stream) -> str:
    """What the handler said; a Python tensor is called as the handler calls it."""
    return bytes(arrays(stream.answer())["said"]).decode()


def test_a_handler_answers(channel: grpc.Channel) -> None:
    with Stream(channel, say("hello"), say("again", at=9)) as stream:
        assert heard(stream) == "HELLO"
        answer = stream.answer()
    assert timestamp(answer) == 9
    assert answer.outputs[0].datatype == "UINT8"
    assert list(answer.outputs[0].shape) == [5]


def test_a_handler_may_keep_silent(channel: grpc.Channel) -> None:
    with Stream(channel, say("nothing"), say("word")) as stream:
        assert heard(stream) == "WORD"
        stream.half_close()
        assert stream.end() == ("OK", "")


@pytest.mark.parametrize("word", REASONS)
def test_a_failing_handler_ends_its_own_stream_with_the_reason(
    channel: grpc.Channel, word: str
) -> None:
    with Stream(channel, say("good")) as neighbour, Stream(channel, say("ok")) as one:
        assert heard(neighbour) == "GOOD"
        assert heard(one) == "OK"
        one.send(say(word))
        assert one.end() == ("INVALID_ARGUMENT", FAILED + REASONS[word])
        neighbour.send(say("still here"))
        assert heard(neighbour) == "STILL HERE"
        neighbour.half_close()
        assert neighbour.end() == ("OK", "")


def test_a_reason_of_any_length_and_shape_arrives_in_a_line(
    channel: grpc.Channel,
) -> None:
    with Stream(channel, say("shout")) as stream:
        code, said = stream.end()
    assert code == "INVALID_ARGUMENT"
    assert said.startswith(FAILED + "ValueError: zwei Zeilen für dich")
    assert "\n" not in said and len(said) < 1000


@pytest.mark.parametrize("word", ["wicked", "odd", "huge"])
def test_what_cannot_even_be_told_ends_the_stream_too(
    channel: grpc.Channel, word: str
) -> None:
    with Stream(channel, say("good")) as neighbour, Stream(channel, say(word)) as one:
        assert heard(neighbour) == "GOOD"
        assert one.end()[0] in {"INVALID_ARGUMENT", "INTERNAL"}
        neighbour.send(say("still here"))
        assert heard(neighbour) == "STILL HERE"
    assert refusal(channel, say(word))[0] in {"INVALID_ARGUMENT", "INTERNAL"}


@pytest.mark.parametrize("word", ["raise", "exit", "none"])
def test_a_failing_handler_fails_a_unary_request_with_the_same_words(
    channel: grpc.Channel, word: str
) -> None:
    assert refusal(channel, say(word)) == ("INVALID_ARGUMENT", FAILED + REASONS[word])


def test_a_unary_request_that_nothing_answers_fails(channel: grpc.Channel) -> None:
    code, said = refusal(channel, say("nothing"))
    assert code == "INVALID_ARGUMENT"
    assert said.startswith(
        "Mediapipe execution failed. MP status - "
        "Unknown error during mediapipe execution"
    )


def test_the_log_has_what_the_client_is_spared(
    server: Server, channel: grpc.Channel
) -> None:
    _, said = refusal(channel, say("raise"))
    assert "speaker.py" not in said
    assert server.said(
        *("Traceback", 'speaker.py", line', "raise ValueError"),
        'graph words: node "speaker"',
    )
    assert "graph words" not in said


def test_a_handler_that_takes_its_time_holds_up_nobody_else(
    channel: grpc.Channel, tmp_path: Path
) -> None:
    release = tmp_path / "go"
    with Stream(channel, say(f"until {release}")) as slow, Stream(channel) as quick:
        for number in range(20):
            quick.send(say(f"word {number}"))
            assert heard(quick) == f"WORD {number}"
        release.touch()
        assert heard(slow).startswith("UNTIL")
