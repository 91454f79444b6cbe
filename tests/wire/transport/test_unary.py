"""One message for one message."""

from __future__ import annotations

import gc
import os
import signal
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from ovms_mp.core.pending import Pending
from ovms_mp.frontend.transport.core import HAS_RESERVED
from ovms_mp.frontend.transport.seam import Abort, Call, Code
from tests.wire.transport.world import (
    Later,
    World,
    echo,
    refusal,
    stream_of,
    unary_of,
    until,
)


def test_the_answer_is_the_handlers_bytes(world: World) -> None:
    world.serve({"u": lambda message, call: message[::-1]})
    rpc = world.unary("u")
    assert rpc(b"abc") == b"cba"
    assert rpc(b"") == b""
    large = os.urandom(3 << 20)
    assert rpc(large) == large[::-1]


def test_an_abort_is_the_calls_status(world: World) -> None:
    def refuse(message: bytes, call: Call) -> bytes:
        raise Abort(Code.NOT_FOUND, "no such model", (("b-bin", b"\x00\xff"),))

    world.serve({"u": refuse})
    error = refusal(world.unary("u"), b"")
    assert error.code() == grpc.StatusCode.NOT_FOUND
    assert error.details() == "no such model"
    assert ("b-bin", b"\x00\xff") in error.trailing_metadata()


@pytest.mark.parametrize("code", sorted(set(Code) - {Code.OK}))
def test_every_code_reaches_the_client(world: World, code: Code) -> None:
    def refuse(message: bytes, call: Call) -> bytes:
        raise Abort(code)

    world.serve({"u": refuse})
    assert refusal(world.unary("u"), b"").code().value[0] == code


@pytest.mark.parametrize("kind", [ValueError, SystemExit, KeyboardInterrupt])
def test_a_handler_that_raises_fails_its_own_call_only(
    world: World, kind: type[BaseException]
) -> None:
    def handler(message: bytes, call: Call) -> bytes:
        if message:
            raise kind("secret")
        return b"fine"

    world.serve({"u": handler})
    rpc = world.unary("u")
    for _ in range(5):
        error = refusal(rpc, b"x")
        assert error.code() == grpc.StatusCode.INTERNAL
        assert "secret" not in error.details()
        assert kind.__name__ not in error.details()
    assert rpc(b"") == b"fine"


@pytest.mark.parametrize("answer", [None, "text", 5, bytearray(b"x")])
def test_an_answer_that_is_not_bytes_is_internal(world: World, answer: object) -> None:
    world.serve({"u": lambda message, call: answer})
    assert refusal(world.unary("u"), b"x").code() == grpc.StatusCode.INTERNAL


def test_a_pending_that_completes_with_what_is_not_bytes_is_internal(
    world: World,
) -> None:
    def handler(message: bytes, call: Call) -> Pending[bytes]:
        answer = Pending[bytes]()
        answer.complete("text")  # type: ignore[arg-type]
        return answer

    world.serve({"u": handler})
    assert refusal(world.unary("u"), b"x").code() == grpc.StatusCode.INTERNAL


def test_answers_may_come_later_from_any_thread(world: World) -> None:
    pool = ThreadPoolExecutor(4)

    def handler(message: bytes, call: Call) -> Pending[bytes]:
        answer = Pending[bytes]()
        pool.submit(lambda: answer.complete(message * 2))
        return answer

    world.serve({"u": handler})
    rpc = world.unary("u")
    futures = [rpc.future(b"%d" % number) for number in range(200)]
    for number, future in enumerate(futures):
        assert future.result() == b"%d" % number * 2
    pool.shutdown()


def test_a_burst_of_calls_waits_until_it_is_taken_up(world: World) -> None:
    """gRPC by itself cancels what waits beyond 1,000 calls."""

    def handler(message: bytes, call: Call) -> bytes:
        time.sleep(0.001)  # its work
        return message

    world.serve({"u": handler})
    rpc = world.unary("u")
    futures = [rpc.future(b"%d" % number) for number in range(4000)]
    for number, future in enumerate(futures):
        assert future.result() == b"%d" % number


@pytest.mark.skipif(not HAS_RESERVED, reason="grpcio 1.62 has no such limit")
def test_a_call_beyond_those_that_may_wait_is_refused_and_they_are_served(
    world: World,
) -> None:
    """The limit is 10,000 unless the options of the server say otherwise."""
    go_on = threading.Event()

    def handler(message: bytes, call: Call) -> bytes:
        go_on.wait(30)
        return message

    names = ("max_pending_requests", "max_pending_requests_hard_limit")
    world.serve({"u": handler}, options=[(f"grpc.server.{name}", 20) for name in names])
    rpc = world.unary("u")
    futures = [rpc.future(b"1") for _ in range(300)]
    assert until(lambda: sum(each.done() for each in futures) >= 200)
    assert not any(each.code() is grpc.StatusCode.OK for each in futures if each.done())
    go_on.set()
    served = [each for each in futures if each.exception() is None]
    assert len(served) >= 20
    assert all(each.result() == b"1" for each in served)
    refused = {each.code() for each in futures if each.exception() is not None}
    assert refused == {grpc.StatusCode.CANCELLED}


def test_an_answer_that_is_there_already_is_the_answer(world: World) -> None:
    def handler(message: bytes, call: Call) -> Pending[bytes]:
        answer = Pending[bytes]()
        answer.complete(message)
        return answer

    world.serve({"u": handler})
    assert world.unary("u")(b"x") == b"x"


@pytest.mark.parametrize("is_later", [False, True])
def test_a_pending_may_fail_with_a_status(world: World, *, is_later: bool) -> None:
    later = Later()

    def handler(message: bytes, call: Call) -> Pending[bytes]:
        answer = later(message, call)
        if not is_later:
            answer.fail(Abort(Code.UNAVAILABLE, "gone", (("a", "b"),)))
        return answer

    world.serve({"u": handler})
    future = world.unary("u").future(b"")
    assert until(lambda: later.answers)
    if is_later:
        later.answers[0].fail(Abort(Code.UNAVAILABLE, "gone", (("a", "b"),)))
    error = future.exception()
    assert error.code() == grpc.StatusCode.UNAVAILABLE
    assert error.details() == "gone"
    assert ("a", "b") in error.trailing_metadata()
    assert later.cancels == 0


def test_a_pending_that_fails_otherwise_keeps_its_reason(world: World) -> None:
    later = Later()
    world.serve({"u": later})
    future = world.unary("u").future(b"")
    assert until(lambda: later.answers)
    later.answers[0].fail(ValueError("secret"))
    assert future.exception().code() == grpc.StatusCode.INTERNAL
    assert "secret" not in future.exception().details()


def test_the_deadline_cancels_the_pending_answer(world: World) -> None:
    later = Later()
    remaining: list[float | None] = []

    def handler(message: bytes, call: Call) -> Pending[bytes]:
        remaining.append(call.time_remaining)
        return later(message, call)

    world.serve({"u": handler, "echo": echo})
    channel = world.dial()
    assert unary_of(channel, "echo")(b"") == b""
    for seconds in (0.5, 5, 50):  # the next if it was over before it was taken up
        error = refusal(unary_of(channel, "u"), b"", timeout=seconds)
        assert error.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        assert unary_of(channel, "echo")(b"") == b""
        if later.calls:
            break
    assert until(lambda: later.cancels)
    [call] = later.calls
    assert remaining[0] is not None
    assert 0 < remaining[0] < seconds + 0.1
    assert call.is_cancelled
    # The client's own clock may end the call a moment before the server's does.
    assert until(lambda: call.time_remaining == 0, 1)
    assert call.deadline is not None
    assert call.deadline <= time.monotonic()
    assert later.answers[0].complete(b"late") is False


def test_the_deadline_is_kept_by_the_servers_own_clock(world: World) -> None:
    later = Later()
    world.serve({"u": later})
    for seconds in (2, 10):  # more if it was over before it was taken up
        child = world.client("u", seconds)
        assert until(lambda it=child: later.answers or it.poll() is not None)
        if later.answers:
            break
    child.send_signal(signal.SIGSTOP)
    assert until(lambda: later.cancels, seconds + 3)


def test_a_client_that_dies_cancels_its_call_promptly(world: World) -> None:
    later = Later()
    server = world.serve({"u": later})
    child = world.client("u", None)
    assert until(lambda: later.answers)
    child.kill()
    assert until(lambda: later.cancels, 5)
    assert until(lambda: server.calls_in_flight == 0)


def test_a_call_may_be_cancelled_at_any_moment(world: World) -> None:
    later, calls = Later(), weakref.WeakSet[Call]()

    def handler(message: bytes, call: Call) -> Pending[bytes]:
        calls.add(call)
        answer = later(message, call)
        later.calls.clear()
        return answer

    server = world.serve({"u": handler, "echo": echo})
    channel = world.dial()
    for turn in range(200):
        future = unary_of(channel, "u").future(b"x")
        if turn % 2:
            opened = len(later.answers)
            until(lambda: len(later.answers) > opened, 0.02)  # noqa: B023 # called at once
        future.cancel()
    assert unary_of(channel, "echo")(b"1") == b"1"
    assert until(lambda: server.calls_in_flight == 0)
    assert until(lambda: later.cancels == len(later.answers))
    assert until(lambda: gc.collect() >= 0 and not calls)


def test_a_pending_that_objects_to_being_cancelled_harms_nobody(
    world: World,
) -> None:
    asked, told = threading.Event(), threading.Event()

    def refuse() -> None:
        told.set()
        raise SystemExit(3)

    def handler(message: bytes, call: Call) -> Pending[bytes]:
        asked.set()
        return Pending[bytes](refuse)

    world.serve({"u": handler, "echo": echo})
    channel = world.dial()
    future = unary_of(channel, "u").future(b"")
    assert asked.wait(10)
    future.cancel()
    assert told.wait(10)
    assert unary_of(channel, "echo")(b"1") == b"1"


def test_a_call_knows_its_facts(world: World) -> None:
    seen: list[Call] = []

    def handler(message: bytes, call: Call) -> bytes:
        seen.append(call)
        call.initial_metadata = (("early", "1"),)
        call.trailing_metadata = (("late", "2"), ("x-bin", b"\x01"))
        return b""

    world.serve({"u": handler})
    metadata = (("in", "v"), ("in-bin", b"\x00"))
    _, answered = world.unary("u").with_call(b"", metadata=metadata)
    [call] = seen
    assert call.method == "/test.Service/u"
    assert call.peer.startswith("ipv4:127.0.0.1:")
    assert call.deadline is None
    assert call.time_remaining is None
    assert not call.is_cancelled
    assert dict(call.invocation_metadata)["in"] == "v"
    assert dict(call.invocation_metadata)["in-bin"] == b"\x00"
    assert ("early", "1") in answered.initial_metadata()
    assert ("late", "2") in answered.trailing_metadata()
    assert ("x-bin", b"\x01") in answered.trailing_metadata()


def test_metadata_goes_with_every_status(world: World) -> None:
    def handler(message: bytes, call: Call) -> bytes:
        call.initial_metadata = (("early", "1"),)
        call.trailing_metadata = (("late", "2"),)
        raise Abort(Code.ABORTED, "", (("later", "3"),))

    world.serve({"u": handler})
    call = world.unary("u").future(b"")
    assert call.exception().code() == grpc.StatusCode.ABORTED
    assert ("early", "1") in call.initial_metadata()
    assert {("late", "2"), ("later", "3")} <= set(call.trailing_metadata())


def test_metadata_that_cannot_be_sent_fails_the_call_at_once(world: World) -> None:
    def handler(message: bytes, call: Call) -> bytes:
        call.trailing_metadata = ((message.decode(), "x"),)
        return b""

    world.serve({"u": handler})
    rpc = world.unary("u")
    assert rpc(b"fine") == b""
    error = refusal(rpc, b"UPPER CASE", timeout=30)
    assert error.code() == grpc.StatusCode.INTERNAL


def test_a_long_reason_is_cut_so_that_the_status_arrives(world: World) -> None:
    def refuse(message: bytes, call: Call) -> bytes:
        raise Abort(Code.INVALID_ARGUMENT, message.decode() * 20_000)

    world.serve({"u": refuse})
    rpc = world.unary("u")
    for text in ("x", "ж", "\n", "%"):
        error = refusal(rpc, text.encode())
        assert error.code() == grpc.StatusCode.INVALID_ARGUMENT
        assert error.details()
        assert set(error.details()) == {text}


def test_a_call_without_a_message_is_refused(world: World) -> None:
    server = world.serve({"u": echo})
    error = refusal(stream_of(world.dial(), "u"), iter(()), timeout=20)
    assert error.code() == grpc.StatusCode.UNIMPLEMENTED
    assert until(lambda: server.calls_in_flight == 0)
