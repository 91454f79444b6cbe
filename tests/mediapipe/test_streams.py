"""What a stream takes, and how far it is settled (input_stream_manager_test,
output_stream_manager_test).
"""

from __future__ import annotations

from typing import Any

import pytest

from ovms_mp.core.timestamp import (
    DONE,
    MAX,
    MIN,
    ONE_OVER_POSTSTREAM,
    POSTSTREAM,
    PRESTREAM,
    UNSET,
    UNSTARTED,
)
from tests.mediapipe.driver import Run, does

RECORDED = """
input_stream: "in" input_side_packet: "log"
node { calculator: "Records" input_stream: "in" input_side_packet: "LOG:log" %s }
"""
UNTIMED = 'input_stream_handler { input_stream_handler: "BarrierInputStreamHandler" }'

# Feeds a stream from inside the graph with what `do` sends.
SENT = """
input_stream: "in" input_side_packet: "do"
node { calculator: "%s" input_stream: "in" output_stream: "out"
  input_side_packet: "DO:do" }
"""
ALIVE = """
input_stream: "in" input_stream: "more" input_side_packet: "do"
node { calculator: "%s" input_stream: "in" input_stream: "more"
  output_stream: "out" input_side_packet: "DO:do"
  input_stream_handler { input_stream_handler: "ImmediateInputStreamHandler" } }
"""


def fed(*times: int, handler: str = "") -> tuple[Run, list[Any]]:
    """A stream that has been fed at these times, and what its consumer saw."""
    log: list[Any] = []
    run = Run(RECORDED % handler, log=log)
    for at in times:
        run.feed("in", at, at)
    return run, [call[0] for call in log if call != "closed"]


def sends(*times: int, before: int | None = None) -> Run:
    """A run of a node that sends at these times in one call."""

    def process(node, ctx):
        if before is not None:
            ctx.set_next_bound(node.outs[0], before)
        for at in times:
            ctx.send(node.outs[0], at, at=at)

    run = Run(SENT % "Does", observe="out", do=does(process=process))
    run.feed("in", 0)
    return run


def bounds_of(offset: int | None, at: int, *sent: tuple[int, bool]) -> int:
    """The bound of an output when its node processes `at`, after what it
    has sent: packets (True) and promises (False).
    """

    def opened(node, ctx):
        node.timestamp_offset = offset

    def process(node, ctx):
        for time, is_packet in sent:
            if is_packet:
                ctx.send(node.outs[0], None, at=time)
            else:
                ctx.set_next_bound(node.outs[0], time)

    # The second input keeps the node open at the end of the first.
    run = Run(ALIVE % "Does", do=does(open=opened, process=process))
    run.feed("in", at)
    assert run.error is None
    return run.run._scheduler.streams[run.definition.stream_number("out")].bound


def test_a_stream_takes_packets_at_increasing_times():
    run, seen = fed(10, 20, 30)
    assert run.error is None and seen == [10, 20, 30]


@pytest.mark.parametrize("at", [UNSET, UNSTARTED, ONE_OVER_POSTSTREAM, DONE])
def test_a_graph_input_takes_no_packet_at_a_time_that_no_packet_may_have(at):
    run, seen = fed(at)
    assert run.is_done and run.error is not None and seen == []
    assert "In stream" in run.error.details and "illegal value" in run.error.details


@pytest.mark.parametrize("at", [UNSET, UNSTARTED, ONE_OVER_POSTSTREAM, DONE])
def test_a_node_sends_no_packet_at_a_time_that_no_packet_may_have(at):
    run = sends(at)
    assert run.is_done and run.error is not None and run.told["out"] == []
    assert "illegal value" in run.error.details


@pytest.mark.parametrize("special", [PRESTREAM, POSTSTREAM])
def test_a_packet_at_prestream_or_poststream_may_be_the_only_one(special):
    run, seen = fed(special)
    assert run.error is None and seen == [special]
    run = sends(special)
    assert run.error is None and run.times("out") == [special]


def test_nothing_follows_a_packet_at_prestream():
    run = Run(RECORDED % 'input_stream: "other"' + 'input_stream: "other"', log=[])
    run.feed("in", PRESTREAM)
    assert run.error is None
    run.feed("in", 10)
    assert run.error is not None and "timestamp mismatch" in run.error.details
    run = sends(PRESTREAM, 10)
    assert run.error is not None and "mismatch" in run.error.details


def test_nothing_precedes_a_packet_at_poststream():
    run, seen = fed(10, POSTSTREAM)
    assert run.error is not None and seen == [10]
    assert "PostStream" in run.error.details
    run = sends(10, POSTSTREAM)
    assert run.error is not None and "PostStream" in run.error.details


@pytest.mark.parametrize("second", [9, 10])
def test_a_packet_that_is_not_later_than_the_last_fails_the_run(second):
    run, seen = fed(10, second)
    assert run.error is not None and seen == [10]
    assert "expected timestamp is 11" in run.error.details
    assert f"received {second}" in run.error.details
    run = sends(10, second)
    assert run.error is not None and "expected timestamp is 11" in run.error.details


def test_a_packet_before_a_promise_fails_the_run():
    run = sends(50, before=100)
    assert run.error is not None and "expected timestamp is 100" in run.error.details


def test_a_packet_at_the_bound_is_taken():
    run, _ = fed(10)
    run.advance("in", 20)
    run.feed("in", 20, 20)
    assert run.error is None
    run.feed("in", 20, 20)
    assert run.error is not None


def test_a_promise_that_takes_an_earlier_one_back_fails_the_run():
    run = Run(
        SENT % "Does",
        observe="out",
        do=does(
            process=lambda node, ctx: ctx.set_next_bound(
                node.outs[0], 1000 - ctx.timestamp
            )
        ),
    )
    run.feed("in", 0)
    assert run.error is None
    run.feed("in", 1)
    assert run.error is not None
    assert "SetNextTimestampBound" in run.error.details


def test_a_promise_taken_back_matters_only_to_those_who_listen():
    run = Run(
        SENT % "Does",
        do=does(
            process=lambda node, ctx: ctx.set_next_bound(
                node.outs[0], 1000 - ctx.timestamp
            )
        ),
    )
    for at in range(3):
        run.feed("in", at)
    run.close()
    assert run.ended_well()


def test_inputs_without_timestamps_take_packets_in_any_order_of_time():
    run, seen = fed(10, 5, 10, handler=UNTIMED)
    assert run.error is None and seen == [10, 5, 10]


@pytest.mark.parametrize("times", [(PRESTREAM, 10), (10, POSTSTREAM)])
def test_inputs_without_timestamps_take_packets_beside_special_ones(times):
    run, seen = fed(*times, handler=UNTIMED)
    assert run.error is None and seen == list(times)


def test_a_payload_of_another_type_than_the_consumer_takes_fails_the_run():
    run = Run('input_stream: "in" node { calculator: "TakesText" input_stream: "in" }')
    run.feed("in", 0, "text")
    assert run.error is None
    run.feed("in", 1, 1)
    assert run.error is not None
    assert "str" in run.error.details and "int" in run.error.details


def test_a_closed_input_has_nothing_more_and_its_packets_are_processed_first():
    log: list[Any] = []
    run = Run(RECORDED % "", log=log)
    run.feed("in", 10, "x")
    run.close("in")
    assert log == [(10, "x"), "closed"] and run.ended_well()


def test_what_follows_the_close_of_an_input_is_not_processed():
    log: list[Any] = []
    run = Run(RECORDED % 'input_stream: "other"' + 'input_stream: "other"', log=log)
    run.close("in")
    run.feed("in", 10, "x")
    run.close("other")
    assert run.is_done and log == ["closed"]


def test_a_packet_on_an_output_that_its_node_has_closed_fails_the_run():
    def process(node, ctx):
        ctx.close(node.outs[0])
        ctx.send(node.outs[0], "late")

    run = Run(SENT % "Does", do=does(process=process))
    run.feed("in", 0)
    assert run.error is not None and "closed stream" in run.error.details


def test_the_packets_of_a_stream_reach_all_its_consumers():
    run = Run("""
input_stream: "in" output_stream: "x" output_stream: "y" output_stream: "z"
node { calculator: "Pass" input_stream: "in" output_stream: "mid" }
node { calculator: "Pass" input_stream: "mid" output_stream: "x" }
node { calculator: "Pass" input_stream: "mid" output_stream: "y" }
node { calculator: "UnitDelay" input_stream: "mid" output_stream: "z" }
""")
    for at in (1, 2):
        run.feed("in", at, at)
    assert run.told["x"] == run.told["y"] == [(1, 1), (2, 2)]
    assert run.told["z"] == [(0, 0), (2, 1), (3, 2)]


def test_a_queue_is_full_at_its_size_and_has_room_again_below_it():
    waits: list[Any] = []
    run = Run(
        """
max_queue_size: 2 input_stream: "in" input_side_packet: "waits"
node { calculator: "Slow" input_stream: "in" output_stream: "out"
  input_side_packet: "WAITS:waits" }
""",
        waits=waits,
    )
    room = []
    for at in range(4):
        run.feed("in", at, at)
        room.append(run.has_room)
    # The first packet is being processed: it is in no queue.
    assert room == [True, True, False, False]
    waits[0].complete(None)
    assert not run.has_room
    waits[1].complete(None)
    assert run.has_room


def test_packets_are_let_go_of_when_their_consumers_are_done():
    class Thing:
        """Something that counts its own kind."""

        alive = 0

        def __init__(self) -> None:
            Thing.alive += 1

        def __del__(self) -> None:
            Thing.alive -= 1

    run = Run("""
input_stream: "in"
node { calculator: "Pass" input_stream: "in" output_stream: "mid" }
node { calculator: "Pass" input_stream: "mid" output_stream: "out" }
""")
    for at in range(3):
        run.feed("in", at, Thing())
        assert Thing.alive == 0
    run.close()
    assert run.ended_well()


def test_without_an_offset_only_packets_and_promises_move_a_bound():
    assert bounds_of(None, 0) == PRESTREAM
    assert bounds_of(None, 0, (10, True)) == 11
    assert bounds_of(None, 0, (10, True), (20, True)) == 21
    assert bounds_of(None, 0, (10, True), (100, False)) == 100
    assert bounds_of(None, MAX, (100, False)) == 100


def test_an_offset_moves_a_bound_to_what_follows_the_input():
    assert bounds_of(0, 0) == 1
    assert bounds_of(0, 0, (10, True)) == 11
    assert bounds_of(0, 0, (10, True), (20, True)) == 21
    assert bounds_of(0, 0, (100, False)) == 100
    assert bounds_of(0, MAX) == POSTSTREAM


def test_a_negative_offset_leaves_the_bound_behind():
    assert bounds_of(-10, 0) == -9
    assert bounds_of(-10, 0, (10, True)) == 11
    assert bounds_of(-10, MAX) == MAX - 9


def test_an_offset_stops_at_the_first_and_at_the_last_time():
    assert bounds_of(200, MAX - 100) == MAX
    assert bounds_of(-200, MIN + 100) == MIN


@pytest.mark.parametrize("offset", [0, -10])
def test_after_poststream_nothing_follows_whatever_the_offset(offset):
    assert bounds_of(offset, POSTSTREAM) == ONE_OVER_POSTSTREAM


@pytest.mark.parametrize("offset", [None, 0])
@pytest.mark.parametrize(
    ("sent", "bound"), [((), PRESTREAM), ((20,), 21), ((20, DONE), DONE)]
)
def test_open_moves_a_bound_by_what_it_sends_whatever_the_offset(offset, sent, bound):
    def opened(node, ctx):
        node.timestamp_offset = offset
        for at in sent:
            if at == DONE:
                ctx.close(node.outs[0])
            else:
                ctx.send(node.outs[0], None, at=at)

    run = Run(SENT % "Does", do=does(open=opened))
    assert (
        run.run._scheduler.streams[run.definition.stream_number("out")].bound == bound
    )


def test_without_an_offset_prestream_moves_no_bound():
    seen = []
    run = Run(
        ALIVE % "Does",
        do=does(process=lambda node, ctx: seen.append(ctx.next_bound(node.outs[0]))),
    )
    run.feed("in", PRESTREAM)
    run.feed("more", 5)
    assert seen[0] == PRESTREAM and run.error is None
    assert set(seen) == {PRESTREAM}


def test_with_an_offset_prestream_moves_the_bound_to_the_first_time():
    seen = []
    run = Run(
        ALIVE % "DoesWithOffset",
        do=does(process=lambda node, ctx: seen.append(ctx.next_bound(node.outs[0]))),
    )
    run.feed("in", PRESTREAM)
    run.feed("more", 5)
    assert seen[0] == PRESTREAM and seen[-1] >= MIN and run.error is None
