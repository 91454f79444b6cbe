"""However a stream ends, its session is told, once, and never that the client had said
everything when it had not.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import grpc
import pytest

from ovms_mp.frontend.transport.seam import SendQueueFull, StreamCall
from tests.wire.transport.world import (
    Echo,
    Made,
    Open,
    World,
    catch_up,
    echo,
    refusal,
    stream_of,
    until,
)


def test_a_stream_may_be_cancelled_at_any_moment(world: World) -> None:
    made = Made(Echo)
    server = world.serve({"s": made, "echo": echo})
    channel, chance = world.dial(), random.Random(1)
    rpc = stream_of(channel, "s")
    catch_up(channel)
    for _ in range(300):
        stop = threading.Event()

        def feed(
            stop: threading.Event = stop, count: int = chance.randrange(6)
        ) -> Iterator[bytes]:
            for _ in range(count):
                yield b"x" * chance.choice([1, 100, 100_000])
            stop.wait(1)

        answers = rpc(feed())
        if chance.random() < 0.7:
            time.sleep(chance.random() * 0.003)
        answers.cancel()
        stop.set()
    catch_up(channel)
    assert until(lambda: server.calls_in_flight == 0)
    ends = {(session.cancels, session.half_closes) for session in made.sessions}
    assert ends <= {(1, 0), (0, 1)}
    # Half-closed are those whose feed ran out when `stop` was set, before the
    # cancellation was sent.
    assert sum(session.cancels for session in made.sessions) > 200


def cancelled_by_the_client(world: World, made: Made[Open]) -> None:
    channel = world.dial()
    rpc = stream_of(channel, "s")
    catch_up(channel)
    for turn in range(200):
        stop = threading.Event()
        answers = rpc(opened(stop))
        until(lambda: len(made.sessions) > turn, 0.02)  # noqa: B023 # called at once
        answers.cancel()
        stop.set()
    catch_up(channel)


def ended_by_its_deadline(world: World, made: Made[Open]) -> None:
    channel, stop = world.dial(), threading.Event()
    rpc = stream_of(channel, "s")
    catch_up(channel)
    calls = [rpc(opened(stop), timeout=0.1 + n / 400) for n in range(100)]
    for call in calls:
        assert refusal(list, call).code() == grpc.StatusCode.DEADLINE_EXCEEDED
    stop.set()
    catch_up(channel)


def whose_connection_broke(world: World, made: Made[Open]) -> None:
    stop = threading.Event()
    calls = []
    for turn in range(30):
        channel = world.dial()
        calls.append(stream_of(channel, "s")(opened(stop)))
        assert until(lambda: len(made.sessions) > turn)  # noqa: B023 # called at once
        world.hang_up(channel)
    stop.set()


def whose_server_stopped(world: World, made: Made[Open]) -> None:
    rpc, stop = world.stream("s"), threading.Event()
    calls = [rpc(opened(stop)) for _ in range(50)]
    assert until(lambda: len(made.sessions) == 50)
    assert world.stop(world.servers[-1], grace=0.05)
    for call in calls:
        refusal(list, call)
    stop.set()
    assert all(session.cancels == 1 for session in made.sessions)


def opened(stop: threading.Event) -> Iterator[bytes]:
    """One message, and no more for now."""
    yield b"1"
    stop.wait(20)


@pytest.mark.parametrize(
    "end",
    [
        cancelled_by_the_client,
        ended_by_its_deadline,
        whose_connection_broke,
        whose_server_stopped,
    ],
)
def test_no_half_close_is_seen_on_a_stream(world: World, end) -> None:
    made = Made(Open)
    server = world.serve({"s": made, "echo": echo})
    end(world, made)
    assert until(lambda: server.calls_in_flight == 0)
    assert made.sessions
    assert sum(session.half_closes for session in made.sessions) == 0
    assert {session.cancels for session in made.sessions} == {1}


def test_a_client_that_dies_frees_its_stream_promptly(world: World) -> None:
    made = Made(Open)
    server = world.serve({"s": made})
    child = world.client("s", None)
    assert until(lambda: made.sessions and made.last.messages)
    child.kill()
    # 70 ms at the worst of 75, on two cores with nine busy processes.
    assert until(lambda: made.last.cancels, 5)
    assert until(lambda: server.calls_in_flight == 0)


def test_a_deadline_ends_a_stream_whose_client_does_not_read(world: World) -> None:
    class Blocked(Open):
        def on_open(self, call: StreamCall) -> None:
            super().on_open(call)
            for _ in range(32):
                call.write(bytes(4 << 20))
            call.finish()

    made = Made(Blocked)
    server = world.serve({"s": made, "echo": echo})
    channel = world.dial()
    catch_up(channel)
    for seconds in (0.5, 5, 50):  # the next if nothing could come in time
        answers = stream_of(channel, "s")(iter(()), timeout=seconds)
        with suppress(grpc.RpcError):
            assert next(answers)
            break
    else:
        raise AssertionError("nothing was sent")
    assert until(lambda: server.calls_in_flight == 0)
    assert refusal(list, answers).code() == grpc.StatusCode.DEADLINE_EXCEEDED
    assert made.last.cancels == 1


class Noise(Echo):
    """Three threads write as fast as they can."""

    def __init__(self) -> None:
        super().__init__()
        self.accepted = 0
        self.told = 0
        self.threads = [threading.Thread(target=self.shout) for _ in range(3)]
        self.lock = threading.Lock()

    def on_open(self, call: StreamCall) -> None:
        super().on_open(call)
        for thread in self.threads:
            thread.start()

    def shout(self) -> None:
        for _ in range(300):
            try:
                if not self.call.write(b"x" * 100, self.on_told):
                    return
            except SendQueueFull:
                time.sleep(0.001)
            else:
                with self.lock:
                    self.accepted += 1

    def on_told(self, is_sent: bool) -> None:
        self.told += 1


def test_every_write_is_accounted_for_whenever_the_client_goes(world: World) -> None:
    made = Made(Noise)
    server = world.serve({"s": made, "echo": echo})
    channel, chance = world.dial(), random.Random(2)
    rpc = stream_of(channel, "s")
    catch_up(channel)
    for _ in range(60):
        answers = rpc(iter([b"1"]))
        time.sleep(chance.random() * 0.01)
        answers.cancel()
    catch_up(channel)
    assert until(lambda: server.calls_in_flight == 0)
    for session in made.sessions:
        for thread in session.threads:
            if thread.ident is not None:
                thread.join()
        assert until(lambda: session.told == session.accepted)  # noqa: B023 # called at once
    assert sum(session.told for session in made.sessions) > 0


def test_nothing_comes_of_a_call_after_its_end(world: World) -> None:
    made = Made(Open)
    server = world.serve({"s": made})
    stop = threading.Event()
    answers = world.stream("s")(opened(stop))
    assert until(lambda: made.sessions and made.last.messages)
    answers.cancel()
    stop.set()
    assert until(lambda: server.calls_in_flight == 0)
    call = made.last.call
    assert call.is_cancelled
    assert call.write(b"x") is False
    assert call.finish() is False
    call.request_next()
    assert call.queued == call.queued_bytes == 0
    assert call.peer
