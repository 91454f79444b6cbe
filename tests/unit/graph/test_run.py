"""Laws of a graph run: order, life cycle, errors, waiting, room."""

from __future__ import annotations

import pytest

from ovms_mp.calculator import CalculatorError
from ovms_mp.core.errors import Status
from ovms_mp.core.pending import Cancelled
from ovms_mp.graph import growth
from tests.unit.graph.support import Later, Run

STORY = 'input_stream: "in" output_stream: "out" node { calculator: "Story" name: "s" input_stream: "in" output_stream: "out" }'
LATER = 'input_stream: "in" output_stream: "out" node { calculator: "Later" input_stream: "in" output_stream: "out" }'
JOIN = 'input_stream: "a" input_stream: "b" output_stream: "out" node { calculator: "Collect" input_stream: "a" input_stream: "b" output_stream: "out" }'


def test_a_node_opens_processes_in_order_and_closes():
    run = Run(STORY)
    run.feed("in", 1, "x")
    run.feed("in", 2, "y")
    run.close()
    assert run.node("s").told == ["open", "process 1", "process 2", "close"]
    assert [text for _, _, text in run.packets] == [
        "opened",
        "processed x",
        "processed y",
        "closed",
    ]
    assert run.is_done and run.error is None


def test_packets_meet_at_equal_timestamps_however_they_come():
    run = Run(JOIN)
    run.feed("a", 1, "a1")
    run.feed("a", 2, "a2")
    assert run.packets == []
    run.feed("b", 2, "b2")
    run.close()
    assert run.packets == [("out", 1, ("a1", None)), ("out", 2, ("a2", "b2"))]


def test_an_offset_tells_a_join_that_nothing_comes():
    run = Run(
        'input_stream: "in" output_stream: "out" '
        'node { calculator: "Odd" input_stream: "in" output_stream: "odd" } '
        'node { calculator: "Collect" input_stream: "in" input_stream: "odd" output_stream: "out" }'
    )
    run.feed("in", 0, 2)
    assert run.packets == [("out", 0, (2, None))]


def test_without_an_offset_a_join_waits_until_the_silent_node_is_closed():
    run = Run(
        'input_stream: "in" output_stream: "out" '
        'node { calculator: "Silent" input_stream: "in" output_stream: "s" } '
        'node { calculator: "Collect" input_stream: "in" input_stream: "s" output_stream: "out" }'
    )
    run.feed("in", 0, 2)
    assert run.packets == []
    run.close()
    assert run.packets == [("out", 0, (2, None))]


def test_bounds_run_down_a_chain_longer_than_the_recursion_limit():
    length = 1500
    nodes = "".join(
        f'node {{ calculator: "PassThrough" input_stream: "s{n}" output_stream: "s{n + 1}" }} '
        for n in range(length)
    )
    run = Run(f'input_stream: "s0" output_stream: "s{length}" {nodes}')
    run.feed("s0", 0, "x")
    run.close()
    assert run.packets == [(f"s{length}", 0, "x")] and run.is_done


def test_immediate_inputs_are_processed_as_they_come():
    run = Run(
        'input_stream: "a" input_stream: "b" output_stream: "out" node { calculator: "Collect" '
        'input_stream: "a" input_stream: "b" output_stream: "out" '
        'input_stream_handler { input_stream_handler: "ImmediateInputStreamHandler" } }'
    )
    run.feed("a", 5, "a5")
    run.feed("b", 6, "b6")
    assert run.packets == [("out", 5, ("a5", None)), ("out", 6, (None, "b6"))]


def test_a_timestamp_that_does_not_increase_ends_the_run():
    run = Run(STORY)
    run.feed("in", 5, "x")
    run.feed("in", 5, "y")
    assert run.is_done and run.error is not None
    assert run.error.status is Status.MEDIAPIPE_EXECUTION_ERROR
    assert "Current minimum expected timestamp is 6 but received 5" in run.error.text
    assert run.node("s").told[-1] == "close"


class Unspeakable(Exception):
    def __str__(self):
        raise SystemExit


@pytest.mark.parametrize(
    "error",
    [
        ValueError("bad\nthing in /a/b/c.py"),
        SystemExit(3),
        KeyboardInterrupt(),
        Unspeakable(),
    ],
)
def test_whatever_a_calculator_raises_ends_its_run_with_node_and_reason(error, caplog):
    run = Run(
        'input_stream: "in" output_stream: "out" '
        'node { calculator: "Raises" name: "r" input_stream: "in" output_stream: "out" }'
    )
    run.feed("in", 0, error)
    assert run.is_done and run.error is not None
    assert (
        f'Calculator::Process() for node "r" failed: {type(error).__name__}'
        in run.error.text
    )
    assert "/a/b" not in run.error.text and "\n" not in run.error.text
    assert "Traceback" in caplog.text


@pytest.mark.parametrize(
    ("code", "status", "head"),
    [
        ("INTERNAL", Status.MEDIAPIPE_EXECUTION_ERROR, "INTERNAL: "),
        ("INVALID_ARGUMENT", Status.MEDIAPIPE_EXECUTION_ERROR, "INVALID_ARGUMENT: "),
        (
            "FAILED_PRECONDITION",
            Status.MEDIAPIPE_PRECONDITION_FAILED,
            "FAILED_PRECONDITION: ",
        ),
        ("UNAVAILABLE", Status.MEDIAPIPE_NODE_UNAVAILABLE, ""),
        ("DEADLINE_EXCEEDED", Status.DEADLINE_EXCEEDED, ""),
    ],
)
def test_the_code_that_a_calculator_gives_is_told(code, status, head):
    run = Run(
        'input_stream: "in" output_stream: "out" '
        'node { calculator: "Raises" name: "r" input_stream: "in" output_stream: "out" }'
    )
    run.feed("in", 0, CalculatorError("why", code))
    assert run.is_done and run.error is not None
    assert run.error.status is status
    assert run.error.details == (
        f"{head}CalculatorGraph::Run() failed: "
        'Calculator::Process() for node "r" failed: why'
    )


def test_after_an_error_nothing_more_is_processed():
    run = Run(
        'input_stream: "in" output_stream: "out" '
        'node { calculator: "Raises" input_stream: "in" output_stream: "out" }'
    )
    run.feed("in", 0, ValueError())
    run.feed("in", 1, ValueError())
    run.close()
    assert run.is_done


def test_answers_that_come_late_leave_in_the_order_of_their_inputs():
    run = Run(LATER)
    for n in range(3):
        run.feed("in", n, n)
    first, second, third = (pending for _, pending in Later.left)
    third.complete("c")
    second.complete("b")
    assert run.packets == []
    first.complete("a")
    assert run.packets == [("out", 0, "a"), ("out", 1, "b"), ("out", 2, "c")]


def test_no_more_than_max_in_flight_calls_wait():
    run = Run(LATER)
    for n in range(5):
        run.feed("in", n, n)
    assert len(Later.left) == 3
    Later.left[0][1].complete("a")
    assert len(Later.left) == 4


def test_the_pbtxt_may_lower_max_in_flight():
    run = Run(
        LATER.replace('calculator: "Later"', 'calculator: "Later" max_in_flight: 1')
    )
    run.feed("in", 0, 0)
    run.feed("in", 1, 1)
    assert len(Later.left) == 1


def test_a_node_with_waiting_calls_closes_after_them():
    run = Run(LATER)
    run.feed("in", 0, 0)
    run.close()
    assert not run.is_done
    Later.left[0][1].complete("a")
    assert run.packets == [("out", 0, "a")] and run.is_done


def test_an_error_of_what_a_call_waits_for_is_the_nodes():
    run = Run(LATER)
    run.feed("in", 0, 0)
    Later.left[0][1].fail(ValueError("no"))
    assert run.is_done and run.error is not None and "ValueError: no" in run.error.text


def test_cancel_gives_up_what_is_waited_for():
    run = Run(LATER)
    run.feed("in", 0, 0)
    run.run.cancel()
    assert isinstance(Later.left[0][1].error, Cancelled)
    assert (
        run.is_done and run.error is not None and run.error.status is Status.CANCELLED
    )
    assert run.packets == []


def test_a_source_runs_until_it_stops_and_then_the_run_ends():
    run = Run('output_stream: "out" node { calculator: "Source" output_stream: "out" }')
    assert run.packets == [("out", n, n) for n in range(3)]
    assert run.is_done and run.error is None


def test_side_packets_come_from_nodes_and_from_the_caller():
    text = (
        'input_stream: "in" output_stream: "out" input_side_packet: "given" '
        'node { calculator: "AddsSide" input_stream: "in" output_stream: "mid" input_side_packet: "EXTRA:made" } '
        'node { calculator: "AddsSide" input_stream: "mid" output_stream: "out" input_side_packet: "EXTRA:given" } '
        'node { calculator: "MakesSide" output_side_packet: "MADE:made" }'
    )
    run = Run(text, given=2)
    run.feed("in", 0, 0)
    assert run.packets == [("out", 0, 42)]
    missing = Run(text)
    assert missing.error is not None
    assert missing.error.status is Status.MEDIAPIPE_GRAPH_START_ERROR
    assert '"given"' in missing.error.text


def test_a_full_input_has_no_room_until_the_graph_has_worked():
    run = Run("max_queue_size: 2 " + LATER)
    for n in range(4):
        run.feed("in", n, n)
    assert run.has_room
    run.feed("in", 4, 4)
    assert not run.has_room
    Later.left[0][1].complete("a")
    assert run.has_room


def test_an_input_that_waits_for_another_grows_but_not_for_ever():
    run = Run("max_queue_size: 2 " + JOIN)
    count = 0
    while not run.is_done:
        run.feed("a", count, "a")
        count += 1
        assert count <= 2 * growth.MAX_QUEUE_GROWTH
    assert run.error is not None and "deadlock" in run.error.text


def test_report_deadlock_says_so_at_once():
    run = Run("max_queue_size: 2 report_deadlock: true " + JOIN)
    run.feed("a", 0, "a")
    run.feed("a", 1, "a")
    assert run.error is not None and "deadlock" in run.error.text


def test_a_held_run_makes_no_calls_until_it_is_released():
    run = Run(STORY)
    run.run.hold()
    run.feed("in", 1, "x")
    assert run.node("s").told == ["open"] and not run.has_room
    run.run.release()
    assert run.node("s").told == ["open", "process 1"] and run.has_room
