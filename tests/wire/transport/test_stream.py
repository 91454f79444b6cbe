"""Any number of messages each way."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import grpc
import pytest

from ovms_mp.frontend.transport.seam import Abort, Code, Session, StreamCall
from tests.wire.transport.world import (
    Echo,
    Made,
    Open,
    World,
    echo,
    numbers,
    refusal,
    stream_of,
    unary_of,
    until,
)


def test_messages_come_back_in_order(world: World) -> None:
    server = world.serve({"s": Echo})
    sent = [b"%d" % number * (number % 50) for number in range(2000)]
    answers = world.stream("s")(iter(sent))
    assert list(answers) == sent
    assert ("bye", "1") in answers.trailing_metadata()
    assert until(lambda: server.calls_in_flight == 0)


class CountTo(Echo):
    """Counts to the number that it is sent."""

    def on_message(self, message: bytes) -> None:
        self.last, self.number = int(message), 0
        self.on_written(is_sent=True)

    def on_written(self, is_sent: bool) -> None:
        self.number += 1
        if self.number > self.last:
            self.call.finish()
        else:
            self.call.write(b"%d" % self.number, self.on_written)


class Sum(Open):
    """One answer to all messages."""

    def on_half_close(self) -> None:
        self.call.write(b"%d" % sum(map(int, self.messages)))
        self.call.finish()


def test_one_message_may_have_many_answers(world: World) -> None:
    world.serve({"count": CountTo})
    rpc = world.stream("count")
    assert list(rpc(iter([b"1000"]))) == [b"%d" % n for n in range(1, 1001)]
    assert list(rpc(iter([b"0"]))) == []


def test_many_messages_may_have_one_answer(world: World) -> None:
    world.serve({"sum": Sum})
    rpc = world.stream("sum")
    assert list(rpc(numbers(1000))) == [b"499500"]
    assert list(rpc(iter(()))) == [b"0"]


class Last(Open):
    """Answers from a thread of its own when the client has said everything."""

    accepted: tuple[bool, bool] | None = None

    def on_half_close(self) -> None:
        threading.Thread(target=self.answer).start()

    def answer(self) -> None:
        for number in range(20):
            assert self.call.write(b"%d" % number)
        assert self.call.finish()
        self.accepted = self.call.write(b"x"), self.call.finish()


def test_answers_may_follow_the_half_close_from_any_thread(world: World) -> None:
    made = Made(Last)
    world.serve({"s": made})
    assert list(world.stream("s")(iter(()))) == list(numbers(20))
    assert until(lambda: made.last.accepted is not None)
    assert made.last.accepted == (False, False)


class Enough(Echo):
    """Takes one message."""

    def on_open(self, call: StreamCall) -> None:
        super().on_open(call)
        call.request_next()

    def on_message(self, message: bytes) -> None:
        self.call.trailing_metadata = (("s", "2"),)
        self.call.write(b"last")
        self.call.finish(Code.INVALID_ARGUMENT, "enough", (("t", "1"),))


def test_the_server_may_finish_first(world: World) -> None:
    server = world.serve({"s": Enough})
    over = threading.Event()

    def endless() -> Iterator[bytes]:
        while not over.wait(0.001):
            yield b"m"

    answers, got = world.stream("s")(endless()), []
    with pytest.raises(grpc.RpcError) as caught:
        got.extend(answers)
    over.set()
    assert got == [b"last"]
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert caught.value.details() == "enough"
    assert {("t", "1"), ("s", "2")} <= set(answers.trailing_metadata())
    assert until(lambda: server.calls_in_flight == 0)


@pytest.mark.parametrize(
    "where", ["made", "on_open", "on_message", "on_written", "on_half_close"]
)
@pytest.mark.parametrize("kind", [ValueError, SystemExit])
def test_a_session_that_raises_fails_its_own_stream_only(
    world: World, where: str, kind: type[BaseException]
) -> None:
    def fail(*_: object) -> None:
        raise kind("secret")

    class Bad(Echo):
        def __init__(self) -> None:
            super().__init__()
            if where == "made":
                fail()
            else:
                setattr(self, where, fail)

    made = Made(Bad)
    server = world.serve({"s": made, "u": echo})
    channel = world.dial()
    error = refusal(stream_of(channel, "s"), iter([b"1"]), timeout=20)
    assert error.code() == grpc.StatusCode.INTERNAL
    assert "secret" not in error.details()
    assert unary_of(channel, "u")(b"") == b""
    assert until(lambda: server.calls_in_flight == 0)
    assert [session.cancels for session in made.sessions] == [1] * (where != "made")


def test_a_session_that_raises_when_it_is_cancelled_harms_nobody(
    world: World,
) -> None:
    told = threading.Event()

    class Bad(Open):
        def on_cancel(self) -> None:
            told.set()
            raise KeyboardInterrupt

    made = Made(Bad)
    world.serve({"s": made, "u": echo})
    channel, over = world.dial(), threading.Event()

    def feed() -> Iterator[bytes]:
        yield b"1"
        over.wait(20)

    answers = stream_of(channel, "s")(feed())
    assert until(lambda: made.sessions and made.last.messages)
    answers.cancel()
    assert told.wait(10)
    assert unary_of(channel, "u")(b"1") == b"1"
    over.set()


@pytest.mark.parametrize("where", ["made", "on_open", "on_message", "on_half_close"])
def test_an_abort_from_any_callback_is_the_streams_status(
    world: World, where: str
) -> None:
    def refuse(*_: object) -> None:
        raise Abort(Code.FAILED_PRECONDITION, where, (("t", "1"),))

    class Refusing(Echo):
        def __init__(self) -> None:
            super().__init__()
            if where == "made":
                refuse()
            else:
                setattr(self, where, refuse)

    made = Made(Refusing)
    world.serve({"s": made})
    error = refusal(world.stream("s"), iter([b"1"]), timeout=20)
    assert error.code() == grpc.StatusCode.FAILED_PRECONDITION
    assert error.details() == where
    assert ("t", "1") in error.trailing_metadata()
    assert until(lambda: all(s.cancels == 1 for s in made.sessions))


def test_an_abort_does_not_wait_for_what_is_not_sent_yet(world: World) -> None:
    told: list[bool] = []

    class Flood(Echo):
        def on_open(self, call: StreamCall) -> None:
            for _ in range(call.send_limit):
                call.write(bytes(1 << 20), told.append)
            raise Abort(Code.DATA_LOSS)

    made = Made(Flood)
    world.serve({"s": made})
    error = refusal(world.stream("s"), iter(()), timeout=20)
    assert error.code() == grpc.StatusCode.DATA_LOSS
    assert told == [False] * 64
    assert made.last.cancels == 1


def test_finish_sends_what_was_written_first(world: World) -> None:
    class Burst(Echo):
        def on_open(self, call: StreamCall) -> None:
            for number in range(50):
                call.write(b"%d" % number)
            call.finish(Code.ABORTED, "but")

    world.serve({"s": Burst})
    answers, got = world.stream("s")(iter(())), []
    with pytest.raises(grpc.RpcError) as caught:
        got.extend(answers)
    assert got == list(numbers(50))
    assert caught.value.code() == grpc.StatusCode.ABORTED
    assert caught.value.details() == "but"


@pytest.mark.parametrize("first", ["write", "finish"])
def test_initial_metadata_may_be_set_until_something_is_sent(
    world: World, first: str
) -> None:
    class Greeting(Echo):
        def on_open(self, call: StreamCall) -> None:
            call.initial_metadata = (("hello", "1"),)
            if first == "write":
                call.write(b"x")
            call.finish()

    world.serve({"s": Greeting})
    answers = world.stream("s")(iter(()))
    assert list(answers) == [b"x"] * (first == "write")
    assert ("hello", "1") in answers.initial_metadata()


def test_callbacks_of_a_stream_never_overlap_and_share_a_thread(
    world: World,
) -> None:
    class Watched(Session):
        def __init__(self) -> None:
            self.is_inside = False
            self.overlaps = 0
            self.threads: set[int] = set()
            self.written = 0

        def watch(self, act: Callable[[], object]) -> None:
            self.overlaps += self.is_inside
            self.is_inside = True
            self.threads.add(threading.get_ident())
            act()
            self.is_inside = False

        def on_open(self, call: StreamCall) -> None:
            self.call = call
            self.watch(call.request_next)

        def on_message(self, message: bytes) -> None:
            def act() -> None:
                self.call.write(message, self.on_written)
                threading.Thread(target=self.call.write, args=(message,)).start()
                self.call.request_next()

            self.watch(act)

        def on_written(self, is_sent: bool) -> None:
            self.written += 1
            self.watch(lambda: None)

        def on_half_close(self) -> None:
            self.watch(self.call.finish)

    made = Made(Watched)
    server = world.serve({"s": made}, send_limit=1000)
    got = list(world.stream("s")(numbers(200)))
    assert len(got) >= 200
    # The last message may come with the status, before its session is told that it left.
    assert until(lambda: server.calls_in_flight == 0)
    assert made.last.written == 200
    assert made.last.overlaps == 0
    assert len(made.last.threads) == 1


def test_streams_do_not_mix(world: World) -> None:
    server = world.serve({"s": Echo})
    rpc, over = world.stream("s"), threading.Event()

    def feed(number: int) -> Iterator[bytes]:
        for step in range(10):
            yield b"%d-%d" % (number, step)
        over.wait(100)

    streams = [rpc(feed(number)) for number in range(200)]
    for number, answers in enumerate(streams):
        for step in range(10):
            assert next(answers) == b"%d-%d" % (number, step)
    assert server.calls_in_flight == 200
    over.set()
    assert all(list(answers) == [] for answers in streams)
    assert until(lambda: server.calls_in_flight == 0)
