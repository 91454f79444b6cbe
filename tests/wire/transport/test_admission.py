"""Who may call is asked before a message is read."""

from __future__ import annotations

import threading

import grpc
import pytest

from ovms_mp.frontend.transport.seam import Abort, Call, Code, Stream, Unary
from tests.wire.transport.world import (
    Made,
    Open,
    World,
    echo,
    refusal,
    stream_of,
    unary_of,
    until,
)


@pytest.mark.parametrize("kind", ["unary", "stream"])
def test_who_is_not_admitted_is_refused_before_a_message_is_read(
    world: World, kind: str
) -> None:
    heard: list[bytes] = []

    def admit(call: Call) -> None:
        if ("key", "good") not in call.invocation_metadata:
            raise Abort(Code.UNAUTHENTICATED, f"not to {call.method}", (("why", "1"),))

    def answer(message: bytes, call: Call) -> bytes:
        heard.append(message)
        return message

    made = Made(Open)
    server = world.serve(
        {"u": Unary(answer, admission=admit), "s": Stream(made, admit)}
    )
    rpc = stream_of(world.dial(), kind[0])
    silence = threading.Event()
    for requests in (iter([b"x" * 1_000_000]), iter(silence.wait, True), iter([])):
        error = refusal(rpc, (b"x" for _ in requests), timeout=20)
        assert error.code() == grpc.StatusCode.UNAUTHENTICATED
        assert error.details() == f"not to /test.Service/{kind[0]}"
        assert ("why", "1") in error.trailing_metadata()
    assert not heard and not made.sessions
    silence.set()
    if kind == "unary":
        good = unary_of(world.dial(), "u")
        assert good(b"1", metadata=(("key", "good"),)) == b"1"
    else:
        call = rpc(iter([b"1"]), metadata=(("key", "good"),))
        assert until(lambda: made.sessions and made.last.messages == [b"1"])
        call.cancel()
    assert until(lambda: server.calls_in_flight == 0)


def test_an_admission_that_fails_lets_nobody_in(world: World) -> None:
    def admit(call: Call) -> None:
        raise RuntimeError("secret")

    world.serve({"u": Unary(echo, admission=admit)})
    error = refusal(world.unary("u"), b"x")
    assert error.code() == grpc.StatusCode.INTERNAL
    assert "secret" not in error.details()
