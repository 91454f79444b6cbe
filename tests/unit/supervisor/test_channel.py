"""What goes over the channel arrives as it was, and nothing else is taken for it."""

from __future__ import annotations

import socket
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovms_mp.supervisor import channel
from ovms_mp.supervisor.channel import ChannelError
from ovms_mp.supervisor.link import Link, SupervisorGone

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(st.dictionaries(st.text(), JSON))
def test_a_message_arrives_as_it_was(message: dict[str, Any]) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(channel.pack(message) + channel.pack({}))
        assert channel.receive(theirs) == message
        assert channel.receive(theirs) == {}
        ours.close()
        assert channel.receive(theirs) is None


@pytest.mark.parametrize("body", [b"", b"[]", b"1", b"{", b"\xff", b"[" * 100_000])
def test_what_is_no_message_is_refused(body: bytes) -> None:
    with pytest.raises(ChannelError):
        channel.unpack(body)


def test_a_length_is_believed_within_limits() -> None:
    channel.length_of(channel.MAX_MESSAGE_BYTES.to_bytes(4, "big"))
    with pytest.raises(ChannelError):
        channel.length_of((channel.MAX_MESSAGE_BYTES + 1).to_bytes(4, "big"))


def test_who_asks_is_told_when_nobody_can_answer_any_more() -> None:
    ours, theirs = socket.socketpair()
    link = Link(theirs.detach())
    gone = threading.Event()
    link.listen(lambda _: None, lambda _: None, gone.set)
    told: list[str] = []

    def ask() -> None:
        try:
            link.ask("page", 30)
        except SupervisorGone as error:
            told.append(str(error))

    asking = threading.Thread(target=ask)
    asking.start()
    with ours:
        assert channel.receive(ours) == {"ask": "page", "id": 0}
    asking.join(20)
    assert told == ["the supervisor is gone"]
    assert gone.wait(20)


def test_questions_are_answered_also_with_an_error() -> None:
    ours, theirs = socket.socketpair()
    link = Link(theirs.detach())

    def answer(question: channel.Message) -> str:
        if question["ask"] == "sense":
            return "some"
        raise ValueError("none of it")

    gone = threading.Event()
    with ours:
        link.listen(lambda _: None, answer, gone.set)
        for question, told in (
            ("ping", {"result": None}),
            ("sense", {"result": "some"}),
            ("nonsense", {"error": "none of it"}),
        ):
            ours.sendall(channel.pack({"ask": question, "id": 7}))
            assert channel.receive(ours) == {"id": 7, **told}
    assert gone.wait(20)
