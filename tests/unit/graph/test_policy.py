"""Laws of the input policies, on queues alone."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from ovms_mp.calculator.context import EMPTY
from ovms_mp.core.timestamp import DONE, MAX, ONE_OVER_POSTSTREAM, PRESTREAM, UNSET
from ovms_mp.graph.fixed_size import FixedSizePolicy
from ovms_mp.graph.policies import POLICIES, make_policy
from ovms_mp.graph.policy import (
    BatchedPolicy,
    OneInputPolicy,
    SettledPolicy,
    SynchronisedPolicy,
)
from ovms_mp.graph.stream import InputStream, StreamError
from ovms_mp.graph.unsynchronised import (
    BarrierPolicy,
    EarlyClosePolicy,
    ImmediatePolicy,
    MuxPolicy,
    SyncSetPolicy,
    TimestampAlignPolicy,
)


def stream(bound, *timestamps):
    made = InputStream("s", -1, ())
    made.bound = bound
    made.packets.extend((each, each) for each in timestamps)
    return made


def add(queue, timestamp, payload=None):
    queue.packets.append((timestamp, timestamp if payload is None else payload))
    queue.bound = timestamp + 1


def not_ready(policy, bound):
    return policy.take() is None and not policy.is_over and policy.bound == bound


def is_over(policy):
    return policy.take() is None and policy.is_over


def test_synchronised_waits_for_every_input_to_be_settled():
    a, b = stream(6, 5), stream(5)
    policy = SynchronisedPolicy([a, b])
    assert not_ready(policy, 5)
    b.bound = 6
    assert policy.take() == [5, EMPTY] and policy.timestamp == 5


def test_synchronised_takes_packets_of_exactly_one_timestamp():
    policy = SynchronisedPolicy([stream(8, 5, 7), stream(8, 7)])
    assert policy.take() == [5, EMPTY]
    assert policy.take() == [7, 7]
    assert not_ready(policy, 8)


@pytest.mark.parametrize("policy", [SynchronisedPolicy, OneInputPolicy, SettledPolicy])
def test_an_input_that_is_done_and_empty_closes_and_one_with_packets_does_not(policy):
    assert is_over(policy([stream(DONE)]))
    assert is_over(policy([stream(ONE_OVER_POSTSTREAM)]))
    assert policy([stream(DONE, 5)]).take() == [5]


@pytest.mark.parametrize(
    "policy", [SynchronisedPolicy, OneInputPolicy, SettledPolicy, ImmediatePolicy]
)
def test_at_the_start_nothing_is_ready(policy):
    assert not_ready(policy([stream(PRESTREAM)]), PRESTREAM)


def test_settled_timestamps_are_processed_without_packets_once_each():
    a, b = stream(10), stream(6, 3)
    policy = SettledPolicy([a, b])
    assert policy.take() == [EMPTY, 3] and policy.timestamp == 3
    assert policy.take() == [EMPTY, EMPTY] and policy.timestamp == 5
    assert not_ready(policy, 6)
    b.bound = 20
    assert policy.take() == [EMPTY, EMPTY] and policy.timestamp == 9


def test_a_batch_is_held_until_it_is_full_and_flushed_at_the_end():
    queue = stream(4, 1, 3)
    policy = BatchedPolicy(OneInputPolicy([queue]), 3)
    assert not_ready(policy, 1)
    add(queue, 5)
    assert [policy.take(), policy.take(), policy.take()] == [[1], [3], [5]]
    assert not_ready(policy, 6)
    add(queue, 7)
    queue.bound = DONE
    assert policy.take() == [7]
    assert is_over(policy)


def test_immediate_takes_the_earliest_packet_and_what_equals_it():
    policy = ImmediatePolicy([stream(8, 7), stream(6, 5), stream(6, 5)])
    assert policy.take() == [EMPTY, 5, 5] and policy.timestamp == 5
    assert policy.take() == [7, EMPTY, EMPTY] and policy.timestamp == 7


def test_immediate_calls_once_for_an_input_that_ends_before_the_others():
    a, b = stream(DONE), stream(9)
    policy = ImmediatePolicy([a, b])
    assert policy.take() == [EMPTY, EMPTY] and policy.timestamp == 9
    assert not_ready(policy, 9)
    b.bound = DONE
    assert is_over(policy)


def test_immediate_that_processes_bounds_sees_the_end_of_each_input_at_the_last_time():
    a, b = stream(DONE), stream(9)
    policy = ImmediatePolicy([a, b], processes_bounds=True)
    assert policy.take() == [EMPTY, EMPTY] and policy.timestamp == 8
    assert policy.take() == [EMPTY, EMPTY] and policy.timestamp == MAX
    assert not_ready(policy, 9)


def test_a_sync_set_waits_for_its_own_inputs_only_and_the_earliest_goes_first():
    a, b, c = stream(6, 5), stream(5), stream(9, 8)
    policy = SyncSetPolicy([a, b, c], groups=[[0, 1], [2]])
    assert policy.take() == [EMPTY, EMPTY, 8]
    b.bound = 6
    add(c, 9)
    assert policy.take() == [5, EMPTY, EMPTY]
    assert policy.take() == [EMPTY, EMPTY, 9]
    a.bound = b.bound = DONE
    assert policy.take() is None and not policy.is_over
    c.bound = DONE
    assert is_over(policy)


def test_fixed_size_keeps_the_newest_packets():
    a, b = stream(PRESTREAM), stream(PRESTREAM)
    policy = FixedSizePolicy([a, b], trigger=3, target=2)
    for timestamp in (1, 2, 3):
        add(a, timestamp)
    assert [at for at, _ in a.packets] == [2, 3]
    add(b, 1)
    assert not b.packets, "the other queue is cut to the same time"
    add(b, 2)
    assert policy.take() == [2, 2]


def test_fixed_size_processes_the_newest_that_all_inputs_are_settled_for():
    a, b = stream(PRESTREAM), stream(PRESTREAM)
    policy = FixedSizePolicy([a, b], trigger=2, target=1)
    for timestamp in range(5):
        add(a, timestamp)
        add(b, timestamp)
    assert policy.take() == [4, 4] and policy.timestamp == 4


def test_fixed_minimum_size_trims_only_when_all_inputs_have_enough():
    a, b = stream(PRESTREAM), stream(PRESTREAM)
    FixedSizePolicy([a, b], trigger=2, target=1, is_minimum=True)
    for timestamp in range(4):
        add(a, timestamp)
    assert len(a.packets) == 4
    add(b, 2)
    add(b, 3)
    assert [at for at, _ in a.packets] == [3]


def test_mux_takes_what_the_control_selects_and_drops_the_rest():
    a, b, control = stream(6, 1, 5), stream(6, 1, 5), stream(PRESTREAM)
    policy = MuxPolicy([a, b, control])
    assert not_ready(policy, PRESTREAM)
    add(control, 5, 1)
    assert policy.take() == [EMPTY, 5, 1] and policy.timestamp == 5
    assert not a.packets
    add(control, 7, 0)
    assert not_ready(policy, 7)
    a.bound = 8
    assert policy.take() == [EMPTY, EMPTY, 0], "settled without a packet"
    control.bound = DONE
    assert is_over(policy)


@pytest.mark.parametrize("selected", [2, -1, "x", True])
def test_mux_refuses_a_control_packet_that_selects_nothing(selected):
    control = stream(PRESTREAM)
    policy = MuxPolicy([stream(6), stream(6), control])
    add(control, 5, selected)
    with pytest.raises(StreamError, match="expected an int from 0 to 1"):
        policy.take()


def test_barrier_takes_one_of_each_whatever_the_time_and_ends_with_the_first():
    a, b = stream(10, 9), stream(3)
    policy = BarrierPolicy([a, b])
    assert not a.is_timed
    assert policy.take() is None
    add(b, 4)
    assert policy.take() == [9, 4] and policy.timestamp == 4
    a.bound = DONE
    assert is_over(policy)


def test_early_close_ends_with_the_first_input_that_is_done():
    a, b = stream(6, 5), stream(6)
    policy = EarlyClosePolicy([a, b])
    assert policy.take() == [5, EMPTY]
    b.bound = DONE
    assert is_over(policy)


def test_timestamp_align_shifts_inputs_onto_the_base():
    base, other = stream(101, 100), stream(PRESTREAM)
    policy = TimestampAlignPolicy([base, other], base=0)
    assert policy.take() == [100, EMPTY], "the base alone until the others have begun"
    add(other, 7)
    assert not_ready(policy, 101)
    add(base, 110)
    assert policy.take() == [110, 7]
    add(other, 17)
    add(base, 120)
    assert policy.take() == [120, 17] and policy.timestamp == 120


def test_every_name_makes_its_policy_with_defaults_or_options():
    slots = {("", 0): 0, ("B", 0): 1}
    align = SimpleNamespace(timestamp_base_tag_index="B")
    for name in POLICIES:
        options = align if name.startswith("TimestampAlign") else None
        make = make_policy(name, options, slots, processes_bounds=False)
        assert make([stream(PRESTREAM), stream(PRESTREAM)]).timestamp == UNSET
    groups = SimpleNamespace(sync_set=[SimpleNamespace(tag_index=["B"])])
    make = make_policy(
        "SyncSetInputStreamHandler", groups, slots, processes_bounds=False
    )
    assert make([stream(PRESTREAM), stream(6, 5)]).take() == [EMPTY, 5]
