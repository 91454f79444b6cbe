"""Back-pressure: who does not read is not sent to, who is not read does not send, and
memory is bounded either way.
"""

from __future__ import annotations

import threading
import time

import grpc
import pytest

from ovms_mp.frontend.transport.seam import SendQueueFull, StreamCall
from tests.wire.transport.world import (
    Echo,
    Made,
    Open,
    World,
    numbers,
    refusal,
    resident_bytes,
    rest,
    until,
)

BLOCK = 1 << 16


class Flood(Echo):
    """400 MB, four messages at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = 0

    def on_open(self, call: StreamCall) -> None:
        self.call = call
        for _ in range(4):
            self.on_written(is_sent=True)

    def on_written(self, is_sent: bool) -> None:
        if is_sent and self.sent < 6400:
            self.sent += 1
            self.call.write(bytes(BLOCK), self.on_written)
        elif is_sent and not self.call.queued:
            self.call.finish()


def test_a_client_that_does_not_read_holds_the_session_back(world: World) -> None:
    made = Made(Flood)
    server = world.serve({"s": made})
    before = resident_bytes()
    answers = world.stream("s")(iter(()))
    next(answers)
    # HTTP/2's windows grow while data flows; 323 messages were seen, of 6400.
    assert rest(lambda: made.last.sent) < 1000
    assert resident_bytes() - before < 100e6
    for _ in range(1500):
        next(answers)
    assert made.last.sent >= 1500
    answers.cancel()
    assert until(lambda: server.calls_in_flight == 0)


def test_the_send_queue_is_bounded(world: World) -> None:
    size = 8 << 20

    class Fast(Echo):
        def __init__(self) -> None:
            super().__init__()
            self.told: list[bool] = []

        def on_open(self, call: StreamCall) -> None:
            self.call = call
            for _ in range(call.send_limit):
                assert call.write(bytes(size), self.told.append)
            self.full = call.queued, call.queued_bytes
            call.write(b"")

    class Probe(Fast):
        is_full = False

        def on_open(self, call: StreamCall) -> None:
            with pytest.raises(SendQueueFull):
                super().on_open(call)
            self.is_full = True

    made = Made(Probe)
    server = world.serve({"s": made}, send_limit=8)
    answers = world.stream("s")(iter(()))
    next(answers)
    assert until(lambda: made.last.is_full)
    assert made.last.full == (8, 8 * size)
    answers.cancel()
    assert until(lambda: server.calls_in_flight == 0)
    # True as far as the client's windows went, which may be all of it; then False.
    assert until(lambda: len(made.last.told) == 8)
    assert made.last.told == sorted(made.last.told, reverse=True)
    assert (made.last.call.queued, made.last.call.queued_bytes) == (0, 0)


def test_what_is_not_sent_is_told_so_before_the_end_is(world: World) -> None:
    class Filling(Echo):
        def __init__(self) -> None:
            super().__init__()
            self.log: list[object] = []

        def on_open(self, call: StreamCall) -> None:
            super().on_open(call)
            for _ in range(call.send_limit):
                call.write(bytes(1 << 20), self.log.append)

        def on_cancel(self) -> None:
            self.log.append("end")

    made = Made(Filling)
    world.serve({"s": made})
    answers = world.stream("s")(iter(lambda: b"x", b""))
    next(answers)
    rest(lambda: len(made.last.log))
    answers.cancel()
    assert until(lambda: made.last.log[-1:] == ["end"])
    told = made.last.log[:-1]
    assert len(told) == 64
    assert told[-1] is False


def test_a_session_reads_only_as_many_messages_as_it_allowed(world: World) -> None:
    class Three(Open):
        def on_open(self, call: StreamCall) -> None:
            self.call = call
            for _ in range(3):
                call.request_next()

        def on_message(self, message: bytes) -> None:
            self.messages.append(message)

        def on_half_close(self) -> None:
            self.call.finish()

    made = Made(Three)
    world.serve({"s": made})
    before = resident_bytes()
    answers = world.stream("s")(bytes(BLOCK) for _ in range(1000))
    assert until(lambda: len(made.last.messages) == 3)
    assert rest(lambda: len(made.last.messages)) == 3
    assert resident_bytes() - before < 80e6
    for _ in range(998):
        threading.Thread(target=made.last.call.request_next).start()
    assert list(answers) == []
    assert len(made.last.messages) == 1000


def test_a_half_close_needs_a_credit_like_a_message(world: World) -> None:
    class Unread(Open):
        def on_open(self, call: StreamCall) -> None:
            self.call = call

        def on_half_close(self) -> None:
            self.call.finish()

    made = Made(Unread)
    world.serve({"s": made})
    answers = world.stream("s")(iter(()))
    assert until(lambda: made.sessions and hasattr(made.last, "call"))
    made.last.call.request_next()
    assert list(answers) == []


def test_a_client_may_take_its_time(world: World) -> None:
    def slow() -> object:
        for number in numbers(20):
            time.sleep(0.005)
            yield number

    world.serve({"s": Echo})
    assert list(world.stream("s")(slow())) == list(numbers(20))


def test_messages_larger_than_allowed_are_refused(world: World) -> None:
    world.serve(
        {"u": lambda message, call: bytes(int(message[:9]))},
        max_receive_bytes=10_000,
        max_send_bytes=10_000,
    )
    rpc = world.unary("u")
    error = refusal(rpc, b"000000001" * 5000)
    assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    error = refusal(rpc, b"000020000")
    assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "20000" in error.details()
    assert "10000" in error.details()
    assert len(rpc(b"000010000")) == 10_000


def test_a_message_larger_than_allowed_ends_its_stream(world: World) -> None:
    made = Made(Open)
    world.serve({"s": made}, max_receive_bytes=10_000)
    error = refusal(world.stream("s"), iter([b"x", bytes(20_000)]), timeout=20)
    assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert until(lambda: made.last.cancels == 1)
    assert made.last.half_closes == 0
    assert made.last.messages in ([], [b"x"])


def test_an_answer_larger_than_allowed_ends_its_stream(world: World) -> None:
    class Large(Echo):
        def on_message(self, message: bytes) -> None:
            assert self.call.write(bytes(100))
            assert not self.call.write(bytes(int(message)))
            assert not self.call.finish()

    made = Made(Large)
    server = world.serve({"s": made}, max_send_bytes=1000)
    error = refusal(world.stream("s"), iter([b"1001"]), timeout=20)
    assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "1001" in error.details()
    assert until(lambda: server.calls_in_flight == 0)
    assert made.last.cancels == 1


@pytest.mark.parametrize("what", ["text", bytearray(b"x"), memoryview(b"x"), None])
def test_only_bytes_can_be_written(world: World, what: object) -> None:
    class Wrong(Echo):
        error: TypeError | None = None

        def on_message(self, message: bytes) -> None:
            try:
                self.call.write(what)  # type: ignore[arg-type]
            except TypeError as error:
                self.error = error
            self.call.finish()

    made = Made(Wrong)
    world.serve({"s": made})
    assert list(world.stream("s")(iter([b"1"]))) == []
    assert made.last.error is not None
