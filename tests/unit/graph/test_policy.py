"""Laws of the input policies, on queues alone."""

from __future__ import annotations

from ovms_mp.calculator.context import EMPTY
from ovms_mp.core.packet import Packet
from ovms_mp.core.timestamp import DONE, ONE_OVER_POSTSTREAM, PRESTREAM
from ovms_mp.graph.policy import ImmediatePolicy, Readiness, SynchronisedPolicy
from ovms_mp.graph.stream import InputStream


def stream(bound, *timestamps):
    made = InputStream()
    made.bound = bound
    made.packets.extend(Packet(each, each) for each in timestamps)
    return made


def test_synchronised_waits_for_every_input_to_be_settled():
    a, b = stream(6, 5), stream(5)
    policy = SynchronisedPolicy([a, b])
    assert policy.readiness() == (Readiness.NOT_READY, 5)
    b.bound = 6
    assert policy.readiness() == (Readiness.READY_FOR_PROCESS, 5)
    assert policy.take(5) == [5, EMPTY]


def test_synchronised_takes_packets_of_exactly_one_timestamp():
    policy = SynchronisedPolicy([stream(8, 5, 7), stream(8, 7)])
    assert policy.readiness() == (Readiness.READY_FOR_PROCESS, 5)
    assert policy.take(5) == [5, EMPTY]
    assert policy.take(7) == [7, 7]


def test_synchronised_closes_when_all_inputs_are_done_and_empty():
    policy = SynchronisedPolicy([stream(DONE), stream(ONE_OVER_POSTSTREAM)])
    assert policy.readiness() == (Readiness.READY_FOR_CLOSE, DONE)
    waiting = SynchronisedPolicy([stream(DONE, 5), stream(DONE)])
    assert waiting.readiness() == (Readiness.READY_FOR_PROCESS, 5)


def test_at_the_start_nothing_is_ready():
    for policy in (SynchronisedPolicy, ImmediatePolicy):
        assert policy([stream(PRESTREAM)]).readiness() == (
            Readiness.NOT_READY,
            PRESTREAM,
        )


def test_immediate_takes_the_earliest_packet_and_what_equals_it():
    policy = ImmediatePolicy([stream(8, 7), stream(6, 5), stream(6, 5)])
    assert policy.readiness() == (Readiness.READY_FOR_PROCESS, 5)
    assert policy.take(5) == [EMPTY, 5, 5]
    assert policy.readiness() == (Readiness.READY_FOR_PROCESS, 7)


def test_immediate_calls_once_for_an_input_that_ends_before_the_others():
    policy = ImmediatePolicy([stream(DONE), stream(9)])
    assert policy.readiness() == (Readiness.READY_FOR_PROCESS, 9)
    assert policy.take(9) == [EMPTY, EMPTY]
    assert policy.readiness() == (Readiness.NOT_READY, 9)


def test_immediate_closes_when_all_inputs_have_ended():
    policy = ImmediatePolicy([stream(DONE), stream(ONE_OVER_POSTSTREAM)])
    assert policy.readiness() == (Readiness.READY_FOR_CLOSE, DONE)
