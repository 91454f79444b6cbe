"""What a connection is told, and what a user may tell it instead."""

from __future__ import annotations

from ovms_mp_clients import Keepalive
from ovms_mp_clients.channel import KEEPALIVE, arguments

# Of a gRPC server as it comes, and of a load balancer that forgets silent connections.
PINGS_MAY_COME_EVERY = 300
BALANCER_FORGETS_AFTER = 350


def test_the_usual_keepalive_offends_no_server_and_is_noticed_by_balancers():
    assert PINGS_MAY_COME_EVERY < KEEPALIVE.time < BALANCER_FORGETS_AFTER


def test_keepalive_is_in_seconds_here_and_in_milliseconds_there():
    told = dict(arguments(Keepalive(time=1.5, timeout=0.25), None))
    assert told["grpc.keepalive_time_ms"] == 1500
    assert told["grpc.keepalive_timeout_ms"] == 250


def test_without_keepalive_nothing_is_said_of_it():
    told = dict(arguments(None, None))
    assert not any("keepalive" in key or "ping" in key for key in told)


def test_options_of_the_user_come_last():
    options = {"grpc.max_receive_message_length": 7, "grpc.lb_policy_name": "x"}
    told = arguments(KEEPALIVE, options)
    assert len(dict(told)) == len(told)
    assert options.items() <= dict(told).items()
