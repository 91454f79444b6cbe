"""Connections: how long they live, how they are found dead, and how they are told that
the server goes. gRPC's channel arguments decide, and reach every transport.
"""

from __future__ import annotations

import threading

import grpc
from hyperframe.frame import (
    DataFrame,
    GoAwayFrame,
    PingFrame,
    SettingsFrame,
)

from ovms_mp.frontend.transport.seam import Call, Server
from tests.wire.transport.rude import Rude, call, message
from tests.wire.transport.world import (
    Echo,
    Later,
    World,
    echo,
    refusal,
    rest,
    stream_of,
    unary_of,
    until,
)

ENHANCE_YOUR_CALM = 11


def connect(server: Server) -> Rude:
    return Rude(server.ports[0])


def goodbye(rude: Rude) -> GoAwayFrame:
    """The first that is heard; what else the server sends is skipped."""
    for frame in rude.frames():
        if isinstance(frame, GoAwayFrame):
            return frame
    raise AssertionError("the server said no goodbye")


def test_an_old_connection_is_ended_and_its_calls_are_not(world: World) -> None:
    later = Later()
    server = world.serve({"u": later}, options=[("grpc.max_connection_age_ms", 300)])
    with connect(server) as rude:
        rude.hello()
        rude.send(*call(1, message(b"x")))
        goodbye(rude)
        assert until(lambda: later.answers)
        later.answers[0].complete(b"late")
        assert rude.hears(DataFrame, 1)


def test_an_idle_connection_is_ended(world: World) -> None:
    server = world.serve({"u": echo}, options=[("grpc.max_connection_idle_ms", 300)])
    with connect(server) as rude:
        rude.hello()
        goodbye(rude)


def test_a_client_that_does_not_answer_pings_is_lost(world: World) -> None:
    later = Later()
    server = world.serve(
        {"u": later},
        options=[
            ("grpc.keepalive_time_ms", 200),
            # A shorter grpc.keepalive_timeout_ms, without it, changes nothing. Who is lost
            # before his call is taken up has none that would be cancelled.
            ("grpc.http2.ping_timeout_ms", 2000),
        ],
    )
    with connect(server) as rude:
        rude.hello()
        rude.send(*call(1, message(b"x")))
        assert until(lambda: later.cancels)
        assert rude.hears(PingFrame)


def test_a_client_that_pings_too_often_is_sent_away(world: World) -> None:
    server = world.serve({"u": echo})
    with connect(server) as rude:
        rude.hello()
        rude.send(*[PingFrame(0, b"12345678")] * 20)
        assert goodbye(rude).error_code == ENHANCE_YOUR_CALM


def test_a_client_may_ping_as_often_as_the_server_says(world: World) -> None:
    server = world.serve(
        {"u": echo},
        options=[
            ("grpc.http2.min_ping_interval_without_data_ms", 0),
            ("grpc.http2.min_recv_ping_interval_without_data_ms", 0),
            ("grpc.http2.max_ping_strikes", 0),
        ],
    )
    with connect(server) as rude:
        rude.hello()
        rude.send(*[PingFrame(0, b"12345678")] * 20, *call(1, message(b"x")))
        assert rude.hears(DataFrame, 1)


def test_the_server_says_goodbye_before_it_goes(world: World) -> None:
    later = Later()
    server = world.serve({"u": later})
    with connect(server) as rude:
        rude.hello()
        rude.send(*call(1, message(b"x")))
        assert until(lambda: later.answers)
        stopping = threading.Thread(target=world.stop, args=(server, 20))
        stopping.start()
        goodbye(rude)
        later.answers[0].complete(b"x")
        assert rude.hears(DataFrame, 1)
    stopping.join(20)
    assert not stopping.is_alive()


def test_compressed_messages_are_taken_and_given_back(world: World) -> None:
    world.serve({"u": echo, "s": Echo})
    channel, body = world.dial(), b"x" * 100_000
    gzip = grpc.Compression.Gzip
    assert unary_of(channel, "u")(body, compression=gzip) == body
    answers = stream_of(channel, "s")(iter([body, body]), compression=gzip)
    assert list(answers) == [body, body]


def test_a_message_is_not_inflated_beyond_the_limit(world: World) -> None:
    world.serve({"u": lambda message, call: b"%d" % len(message)})
    bomb = bytes(20 << 20)
    error = refusal(
        unary_of(world.dial(), "u"), bomb, compression=grpc.Compression.Gzip
    )
    assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED


def test_compression_can_be_off(world: World) -> None:
    world.serve(
        {"u": echo}, options=[("grpc.compression_enabled_algorithms_bitset", 1)]
    )
    rpc = unary_of(world.dial(), "u")
    assert rpc(b"x") == b"x"
    error = refusal(rpc, b"x" * 1000, compression=grpc.Compression.Gzip)
    assert error.code() == grpc.StatusCode.UNIMPLEMENTED


def test_a_call_that_expired_while_it_waited_is_not_served(world: World) -> None:
    inside, go_on = threading.Event(), threading.Event()
    served: list[bytes] = []

    def handler(message: bytes, call: Call) -> bytes:
        served.append(message)
        inside.set()
        go_on.wait(20)
        return b""

    server = world.serve({"u": handler})
    with connect(server) as rude:
        rude.hello()
        # One connection's calls go to one thread, as long as that has room.
        rude.send(*call(1, message(b"first")))
        assert inside.wait(10)
        rude.send(*call(3, message(b"second"), grpc_timeout="100m"))
        assert not rude.hears(DataFrame, 3)
        go_on.set()
    assert until(lambda: server.calls_in_flight == 0)
    assert served == [b"first"]


def test_settings_of_the_server_are_its_options(world: World) -> None:
    server = world.serve({"u": echo}, options=[("grpc.max_concurrent_streams", 7)])
    with connect(server) as rude:
        rude.hello()
        settings = next(f for f in rude.frames() if isinstance(f, SettingsFrame))
    assert settings.settings[SettingsFrame.MAX_CONCURRENT_STREAMS] == 7


def test_a_client_with_more_calls_than_its_connection_may_have_waits(
    world: World,
) -> None:
    """And no call of it is refused, however little ago another one has ended."""
    later = Later()
    world.serve(
        {"later": later, "now": echo}, options=[("grpc.max_concurrent_streams", 2)]
    )
    channel = world.dial()

    def reach(count: int) -> bool:
        return until(lambda: len(later.answers) >= count)

    futures = [unary_of(channel, "later").future(b"", timeout=60) for _ in range(5)]
    for number in range(5):
        assert reach(min(5, number + 2))
        assert rest(lambda: len(later.answers), 0.1) <= number + 2
        later.answers[number].complete(b"1")
    assert [future.result() for future in futures] == [b"1"] * 5
    for _ in range(50):
        futures = [unary_of(channel, "now").future(b"", timeout=60) for _ in range(10)]
        assert [future.result() for future in futures] == [b""] * 10
