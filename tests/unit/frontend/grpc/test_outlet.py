"""An outlet keeps order, and tells the session and the client when to wait."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from ovms_mp.frontend.grpc.outlet import (
    HOLD_BYTES,
    HOLD_COUNT,
    IN_TRANSPORT,
    LIMIT_BYTES,
    OVERFLOW,
    Outlet,
)
from ovms_mp.frontend.grpc.status import Outcome
from ovms_mp.frontend.transport.seam import Code, OnWritten
from tests.fakes.call import FakeStreamCall


class NotedSession:
    """Notes what it is told, and fails where it is told the wrong thing."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.on_release: Callable[[], object] = lambda: None

    def feed(self, request: object) -> None:
        raise AssertionError

    def half_close(self) -> None:
        raise AssertionError

    def cancel(self) -> None:
        self.calls.append("cancel")

    def hold(self) -> None:
        self.calls.append("hold")

    def release(self) -> None:
        self.calls.append("release")
        self.on_release()


@pytest.fixture
def call() -> FakeStreamCall:
    return FakeStreamCall()


@pytest.fixture
def session() -> NotedSession:
    return NotedSession()


@pytest.fixture
def outlet(call: FakeStreamCall, session: NotedSession) -> Outlet:
    outlet = Outlet(call)
    outlet.attach(session)
    return outlet


def test_messages_leave_in_the_order_in_which_they_came(
    call: FakeStreamCall, outlet: Outlet
) -> None:
    messages = [str(number).encode() for number in range(50)]
    for each in messages:
        outlet.put(each)
    assert call.read_all() == messages


def test_a_message_that_comes_while_another_is_handed_over_waits_for_it() -> None:
    class Interrupted(FakeStreamCall):
        def write(self, message: bytes, on_written: OnWritten | None = None) -> bool:
            if message == b"first":
                other = threading.Thread(target=outlet.put, args=(b"second",))
                other.start()
                other.join()
            return super().write(message, on_written)

    call = Interrupted()
    outlet = Outlet(call)
    outlet.put(b"first")
    assert call.read_all() == [b"first", b"second"]


def test_the_transport_gets_few_messages_at_a_time(
    call: FakeStreamCall, outlet: Outlet
) -> None:
    for _ in range(50):
        outlet.put(b"x")
    assert call.most_unread == IN_TRANSPORT
    call.read_all()
    assert call.most_unread == IN_TRANSPORT


def test_the_end_comes_after_what_was_put(call: FakeStreamCall, outlet: Outlet) -> None:
    for _ in range(IN_TRANSPORT + 1):
        outlet.put(b"x")
    outlet.finish(Outcome(Code.INTERNAL, "why"))
    assert outlet.is_finished
    assert call.status is None
    call.read()
    assert call.status == (Code.INTERNAL, "why")


def test_the_first_end_is_the_end(call: FakeStreamCall, outlet: Outlet) -> None:
    outlet.finish()
    outlet.finish(Outcome(Code.INTERNAL, "late"))
    outlet.put(b"late")
    assert call.status == (Code.OK, "")
    assert call.read() is None


@pytest.mark.parametrize(
    ("message", "count"), [(b"", HOLD_COUNT + 1), (bytes(HOLD_BYTES + 1), 1)]
)
def test_a_session_is_held_beyond_the_limit_and_released_below_half_of_it(
    call: FakeStreamCall,
    session: NotedSession,
    outlet: Outlet,
    message: bytes,
    count: int,
) -> None:
    for _ in range(count - 1):
        outlet.put(message)
    assert session.calls == []
    outlet.put(message)
    assert session.calls == ["hold"]
    outlet.put(message)
    assert session.calls == ["hold"]
    for _ in range(count + 1 - HOLD_COUNT // 2 if count > 1 else 2):
        assert session.calls == ["hold"]
        call.read()
    assert session.calls == ["hold", "release"]


def test_a_session_that_answers_while_it_is_released_is_held_again(
    call: FakeStreamCall, session: NotedSession, outlet: Outlet
) -> None:
    def answer() -> None:
        session.on_release = lambda: None
        for _ in range(HOLD_COUNT):
            outlet.put(b"more")

    session.on_release = answer
    for _ in range(HOLD_COUNT + 1):
        outlet.put(b"x")
    assert len(call.read_all()) == 2 * HOLD_COUNT + 1
    assert session.calls == ["hold", "release", "hold", "release"]


def test_what_is_sent_before_the_session_is_known_holds_it_too(
    call: FakeStreamCall, session: NotedSession
) -> None:
    outlet = Outlet(call)
    outlet.put(bytes(HOLD_BYTES + 1))
    outlet.attach(session)
    assert session.calls == ["hold"]


def test_a_client_may_send_when_it_has_read(
    call: FakeStreamCall, outlet: Outlet
) -> None:
    outlet.allow_next()
    assert call.credits == 1
    outlet.put(bytes(HOLD_BYTES + 1))
    outlet.allow_next()
    outlet.allow_next()
    assert call.credits == 1
    call.read()
    assert call.credits == 3


def test_one_message_may_be_larger_than_any_limit(
    call: FakeStreamCall, session: NotedSession, outlet: Outlet
) -> None:
    huge = bytes(LIMIT_BYTES)
    outlet.put(huge)
    outlet.finish()
    assert call.read() is huge
    assert call.status == (Code.OK, "")
    assert session.calls == ["hold"]


def test_a_session_that_does_not_obey_is_ended(
    call: FakeStreamCall, session: NotedSession, outlet: Outlet
) -> None:
    frame = bytes(LIMIT_BYTES // 16)
    put = 0
    while not outlet.is_finished:
        outlet.put(frame)
        put += 1
        assert put <= 32
    assert put >= 16
    assert session.calls == ["hold", "cancel"]
    assert call.status == OVERFLOW


def test_what_waits_for_a_call_that_is_over_is_dropped(
    call: FakeStreamCall, outlet: Outlet
) -> None:
    for _ in range(IN_TRANSPORT + 1):
        outlet.put(b"x")
    outlet.close()
    assert len(call.read_all()) == IN_TRANSPORT
    assert call.status is None


def test_a_call_that_ends_takes_its_session_along_once(
    session: NotedSession, outlet: Outlet
) -> None:
    outlet.close()
    outlet.close()
    assert session.calls == ["cancel"]


def test_a_call_that_ends_before_its_session_is_known_takes_it_along(
    call: FakeStreamCall, session: NotedSession
) -> None:
    outlet = Outlet(call)
    outlet.fail(Outcome(Code.INTERNAL, "why"))
    outlet.attach(session)
    assert session.calls == ["cancel"]
    assert call.status == (Code.INTERNAL, "why")


def test_a_session_that_is_over_is_not_cancelled(
    session: NotedSession, outlet: Outlet
) -> None:
    outlet.finish()
    outlet.close()
    assert session.calls == []


def test_a_failure_comes_after_what_was_put(
    call: FakeStreamCall, session: NotedSession, outlet: Outlet
) -> None:
    for _ in range(IN_TRANSPORT + 1):
        outlet.put(b"x")
    outlet.fail(Outcome(Code.INTERNAL, "why"))
    assert session.calls == ["cancel"]
    assert len(call.read_all()) == IN_TRANSPORT + 1
    assert call.status == (Code.INTERNAL, "why")


def test_a_transport_that_takes_no_more_is_not_the_end_of_the_session_yet(
    call: FakeStreamCall, session: NotedSession, outlet: Outlet
) -> None:
    call.finish(Code.RESOURCE_EXHAUSTED, "too large")
    outlet.put(b"x")
    assert outlet.is_finished
    assert session.calls == []
    outlet.close()
    assert session.calls == ["cancel"]


def test_threads_that_put_finish_and_read_at_once_lose_and_mix_nothing(
    call: FakeStreamCall, session: NotedSession, outlet: Outlet
) -> None:
    received: list[bytes] = []
    expected = 4 * 2000

    def produce(name: int) -> None:
        for number in range(2000):
            outlet.put(b"%d %d" % (name, number))
            outlet.allow_next()

    def consume() -> None:
        while len(received) < expected:
            message = call.read()
            if message is not None:
                received.append(message)

    threads = [threading.Thread(target=produce, args=(name,)) for name in range(4)]
    threads.append(threading.Thread(target=consume))
    for each in threads:
        each.start()
    for each in threads:
        each.join(30)
    outlet.finish()
    assert call.status == (Code.OK, "")
    for name in range(4):
        mine = [m for m in received if m.startswith(b"%d " % name)]
        assert mine == [b"%d %d" % (name, number) for number in range(2000)]
    pairs = len(session.calls) // 2
    assert session.calls == ["hold", "release"] * pairs
    assert call.credits == expected
