"""Stop, cancel, throttle, fail: how runs end (calculator_graph_stopping_test,
calculator_graph_event_loop_test, calculator_graph_error_callback_test,
calculator_parallel_execution_test).
"""

from __future__ import annotations

from typing import Any

import pytest

from ovms_mp.core.errors import Status
from tests.mediapipe.driver import Run, define, does

SLOW = """
max_queue_size: %d input_stream: "in" output_stream: "out" input_side_packet: "waits"
node { calculator: "Slow" input_stream: "in" output_stream: "out"
  input_side_packet: "WAITS:waits" }
"""
LOOP = """
input_stream: "in" output_stream: "out"
node { calculator: "Pass" input_stream: "in" output_stream: "out" }
"""


def endless(node, ctx):
    """A source that only a stop from outside ends."""
    at = ctx.next_bound(node.outs[0])
    ctx.send(node.outs[0], at, at=max(at, 0))


def test_stopping_the_sources_closes_every_node_and_lets_it_send():
    seen = []

    def process(node, ctx):
        for source, target in zip(node.ins, node.outs, strict=False):
            if ctx.has(source):
                ctx.send(target, ctx[source])
        seen.append(ctx.timestamp)

    run = Run(
        """
max_queue_size: 5 input_stream: "in" output_stream: "counted" output_stream: "same"
output_stream: "events" output_stream: "source_events"
input_side_packet: "source" input_side_packet: "passes"
node { calculator: "Does" output_stream: "count" output_stream: "source_events"
  input_side_packet: "DO:source" }
node { calculator: "Does" input_stream: "count" input_stream: "in"
  output_stream: "counted" output_stream: "same" output_stream: "events"
  input_side_packet: "DO:passes" }
""",
        source=does(
            open=lambda node, ctx: ctx.send(node.outs[1], "opened", at=1),
            process=endless,
            close=lambda node, ctx: ctx.send(node.outs[1], "closed", at=2),
        ),
        passes=does(
            open=lambda node, ctx: ctx.send(node.outs[2], "opened", at=1),
            process=process,
            close=lambda node, ctx: ctx.send(node.outs[2], "closed", at=2),
        ),
    )
    # The source is throttled: the other input has not come yet.
    for at in range(8):
        run.feed("in", at, at)
    assert run.values("same") == list(range(8)) and not run.is_done
    run.run.post(run.run.stop_sources)
    run.close()
    assert run.ended_well()
    assert run.values("same") == list(range(8)) and len(run.told["counted"]) >= 8
    assert run.values("events") == run.values("source_events") == ["opened", "closed"]


def test_a_deadlock_of_a_graph_input_is_reported():
    run = Run("""
max_queue_size: 2 report_deadlock: true input_stream: "a" input_stream: "b"
output_stream: "x"
node { calculator: "Pass" input_stream: "a" input_stream: "b"
  output_stream: "x" output_stream: "y" }
""")
    run.feed("a", 1, 1)
    assert not run.error
    run.feed("a", 2, 2)
    run.feed("a", 3, 3)
    assert run.is_done and "UNAVAILABLE" in run.error.details
    assert "Detected a deadlock due to input throttling" in run.error.details
    assert run.told["x"] == []


def test_a_deadlock_of_a_graph_input_is_resolved_by_a_longer_queue():
    run = Run("""
max_queue_size: 2 input_stream: "a" input_stream: "b" output_stream: "x"
node { calculator: "Pass" input_stream: "a" input_stream: "b"
  output_stream: "x" output_stream: "y" }
""")
    for at in range(1, 10):
        assert run.has_room
        run.feed("a", at, at)
    run.feed("b", 30, 30)
    assert run.values("x") == list(range(1, 10))
    # The queue keeps the length that it has got.
    for at in range(11, 20):
        run.feed("a", at, at)
    run.close()
    assert run.ended_well() and len(run.told["x"]) == 18


def test_a_well_provisioned_graph_passes_everything_in_order():
    run = Run(LOOP)
    for at in range(200):
        run.feed("in", at, at)
    run.close("in")
    assert run.ended_well() and run.values("out") == list(range(200))


def fails_at_nine(node, ctx):
    """Fail once."""
    if ctx.timestamp == 9:
        raise RuntimeError("meant to fail, magic 4711")
    ctx.send(node.outs[0], ctx[node.ins[0]])


FAILING = """
input_stream: "in" output_stream: "out" input_side_packet: "do"
node { calculator: "Does" input_stream: "in" output_stream: "out"
  input_side_packet: "DO:do" }
"""


def test_a_failure_ends_the_run_and_nothing_fed_after_it_is_processed():
    run = Run(FAILING, do=does(process=fails_at_nine))
    for at in range(20):
        run.feed("in", at, at)
        assert run.is_done == (at >= 9)
    run.close("in")
    assert "magic 4711" in run.error.details
    assert run.values("out") == list(range(9))


def test_an_error_of_process_is_told_once_with_the_node_that_failed():
    run = Run(FAILING, do=does(process=fails_at_nine))
    run.feed("in", 9)
    assert run.error.status is Status.MEDIAPIPE_EXECUTION_ERROR
    assert "Calculator::Process()" in run.error.details
    assert '"Does"' in run.error.details


def test_an_error_of_open_is_told_before_anything_is_fed():
    def fail(node, ctx):
        raise RuntimeError("no way")

    run = Run(FAILING, do=does(open=fail))
    assert run.is_done and "no way" in run.error.details
    assert "Calculator::Open()" in run.error.details


def test_after_each_packet_the_graph_has_done_all_that_it_can():
    run = Run(LOOP)
    for at in range(100):
        run.feed("in", at, at)
        assert len(run.told["out"]) == at + 1


def test_a_full_graph_input_has_no_room():
    waits: list[Any] = []
    run = Run(SLOW % 1, waits=waits)
    refused = 0
    for at in range(20):
        if run.has_room:
            run.feed("in", at, at)
        else:
            refused += 1
    assert refused == 18
    while len(waits) > len(run.told["out"]):
        waits[len(run.told["out"])].complete(None)
    assert run.has_room
    run.close("in")
    assert run.ended_well() and run.values("out") == [0, 1]


def test_without_a_queue_size_limit_there_is_always_room():
    waits: list[Any] = []
    run = Run(SLOW % -1, waits=waits)
    for at in range(300):
        run.feed("in", at, at)
        assert run.has_room
    assert len(waits) == 1


def test_a_graph_input_throttles_in_every_run_anew():
    graph = define(SLOW % 1)
    for _ in range(2):
        waits: list[Any] = []
        run = Run(graph, waits=waits)
        run.feed("in", 0)
        assert run.has_room
        run.feed("in", 1)
        assert not run.has_room
        run.close("in")
        waits[0].complete(None)
        waits[1].complete(None)
        assert run.ended_well()


def test_who_waits_for_room_can_feed_everything():
    waits: list[Any] = []
    run = Run(SLOW % 10, waits=waits)
    for at in range(20):
        if not run.has_room:
            waits[len(run.told["out"])].complete(None)
        assert run.has_room
        run.feed("in", at, at)
    run.close("in")
    while not run.is_done:
        waits[len(run.told["out"])].complete(None)
    assert run.ended_well() and run.values("out") == list(range(20))


def test_a_cancelled_run_ends_although_its_inputs_are_open():
    run = Run("""
input_stream: "a" input_stream: "b"
node { calculator: "Pass" input_stream: "a" input_stream: "b"
  output_stream: "x" output_stream: "y" }
""")
    run.feed("a", 1, 1)
    run.close("a")
    run.feed("b", 2, 2)
    assert not run.is_done
    run.run.cancel()
    assert run.is_done and run.error.status is Status.CANCELLED


def test_a_cancelled_run_ends_although_it_is_held():
    run = Run(LOOP)
    run.run.hold()
    run.feed("in", 1, 1)
    assert run.told["out"] == []
    run.run.cancel()
    run.run.hold()
    assert run.is_done and run.error.status is Status.CANCELLED
    assert run.told["out"] == []


def test_a_run_whose_last_call_ends_while_it_is_held_ends_when_released():
    waits: list[Any] = []
    run = Run(SLOW % 1, waits=waits)
    run.feed("in", 0, 0)
    run.close("in")
    run.run.hold()
    waits[0].complete(None)
    assert not run.is_done
    run.run.release()
    assert run.ended_well() and run.values("out") == [0]


def test_a_run_that_nobody_ends_can_be_forgotten():
    run = Run("""
input_stream: "a" input_stream: "b"
node { calculator: "Pass" input_stream: "a" input_stream: "b"
  output_stream: "x" output_stream: "y" }
""")
    assert not run.is_done
    del run


def test_a_consumer_that_stops_ends_the_sources_and_goes_on_itself():
    closed = []

    def stop_at_five(node, ctx):
        ctx.send(node.outs[0], ctx[node.ins[0]])
        if len(closed) == 0 and ctx.timestamp == 5:
            ctx.stop()

    run = Run(
        """
output_stream: "out" input_side_packet: "source" input_side_packet: "stops"
node { calculator: "Does" output_stream: "count" input_side_packet: "DO:source" }
node { calculator: "Does" input_stream: "count" output_stream: "out"
  input_side_packet: "DO:stops" }
""",
        source=does(process=endless, close=lambda node, ctx: closed.append("source")),
        stops=does(
            process=stop_at_five, close=lambda node, ctx: closed.append("stops")
        ),
    )
    assert run.ended_well() and closed == ["source", "stops"]
    assert run.times("out")[-1] == 5


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0), (1, 3, 0, 2)])
def test_calls_in_flight_send_in_the_order_of_their_inputs(order):
    waits: list[Any] = []
    run = Run(
        """
input_stream: "in" output_stream: "out" input_side_packet: "waits"
node { calculator: "Slow" input_stream: "in" output_stream: "mid" max_in_flight: 4
  input_side_packet: "WAITS:waits" }
node { calculator: "Pass" input_stream: "mid" output_stream: "out" }
""",
        waits=waits,
    )
    for at in range(4):
        run.feed("in", at, at)
    run.close()
    assert len(waits) == 4
    for number in order:
        waits[number].complete(None)
    assert run.ended_well() and run.values("out") == [0, 1, 2, 3]
