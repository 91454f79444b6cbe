"""Laws of the calculators that say which packets pass."""

from __future__ import annotations

from typing import Any

import pytest

from ovms_mp.core.errors import ServingError
from ovms_mp.core.timestamp import MAX
from tests.unit.calculators.support import Started, graph, pairs

LOOP = """
input_stream: "in"
output_stream: "passed"
output_stream: "allow"
node {{
  calculator: "{limiter}"
  input_stream: "in"
  input_stream: "FINISHED:done"
  input_stream_info {{ tag_index: "FINISHED" back_edge: true }}
  output_stream: "passed"
  output_stream: "ALLOW:allow"
  {options}
}}
"""


def limiter(options: str = "") -> Started:
    return graph(
        'input_stream: "done" '
        + LOOP.format(limiter="FlowLimiterCalculator", options=options)
    )


def limits(text: str) -> str:
    name = "type.googleapis.com/mediapipe.FlowLimiterCalculatorOptions"
    return f"node_options: {{ [{name}] {{ {text} }} }}"


def test_a_limiter_lets_one_pass_and_drops_until_it_is_finished():
    run = limiter()
    for at in (0, 10, 20):
        run.feed("in", f"frame {at}", at)
    assert pairs(run.outputs["passed"]) == [(0, "frame 0")]
    run.feed("done", "result", 0)
    run.feed("in", "frame 30", 30)
    assert pairs(run.outputs["passed"]) == [(0, "frame 0"), (30, "frame 30")]
    assert pairs(run.outputs["allow"]) == [
        (0, True),
        (10, False),
        (20, False),
        (30, True),
    ]


def test_a_limiter_s_queue_holds_the_newest():
    run = limiter(limits("max_in_queue: 1"))
    for at in (0, 10, 20):
        run.feed("in", at, at)
    run.feed("done", "result", 0)
    assert pairs(run.outputs["passed"]) == [(0, 0), (20, 20)]


def test_a_limiter_gives_up_waiting_after_its_timeout():
    run = limiter(limits("in_flight_timeout: 100"))
    run.feed("in", 0, 0)
    run.feed("in", 100, 100)
    run.feed("in", 101, 101)
    assert pairs(run.outputs["passed"]) == [(0, 0), (101, 101)]


def test_a_limiter_s_other_inputs_share_the_first_one_s_fate():
    run = graph("""
input_stream: "in" input_stream: "info" input_stream: "done"
output_stream: "passed" output_stream: "with"
node {
  calculator: "FlowLimiterCalculator"
  input_stream: "in" input_stream: "info" input_stream: "FINISHED:done"
  output_stream: "passed" output_stream: "with"
}""")
    for at in (0, 10):
        run.feed("info", f"info {at}", at)
        run.feed("in", f"frame {at}", at)
    run.feed("done", 0, 0)
    for at in (20,):
        run.feed("info", f"info {at}", at)
        run.feed("in", f"frame {at}", at)
    assert pairs(run.outputs["with"]) == [(0, "info 0"), (20, "info 20")]


def test_the_old_limiter_counts_what_is_finished():
    text = LOOP.format(limiter="RealTimeFlowLimiterCalculator", options="")
    run = graph('input_stream: "done" ' + text)
    for at in (5, 6):
        run.feed("in", at, at)
    run.feed("done", "x", 5)
    run.feed("in", 7, 7)
    assert pairs(run.outputs["passed"]) == [(5, 5), (7, 7)]
    assert pairs(run.outputs["allow"]) == [(1, False), (2, True), (3, False)]


LOOPBACK = """
input_stream: "in"
output_stream: "out"
node {
  calculator: "PreviousLoopbackCalculator"
  input_stream: "MAIN:in"
  input_stream: "LOOP:out"
  input_stream_info { tag_index: "LOOP" back_edge: true }
  output_stream: "PREV_LOOP:before"
}
node {
  calculator: "MergeCalculator"
  input_stream: "before"
  input_stream: "in"
  output_stream: "out"
}
"""


def test_a_loopback_brings_what_came_of_the_packet_before():
    run = graph(LOOPBACK)
    for at in (1, 5, 9):
        run.feed("in", f"made at {at}", at)
    assert pairs(run.outputs["out"]) == [
        (1, "made at 1"),
        (5, "made at 1"),
        (9, "made at 1"),
    ]
    run.close()
    assert run.is_done and run.error is None


def test_a_loopback_passes_the_bounds_of_its_main_input():
    run = graph(LOOPBACK)
    run.feed("in", 1, 1)
    run.advance("in", 8)
    run.feed("in", 2, 8)
    assert pairs(run.outputs["out"]) == [(1, 1), (8, 1)]


def gate(streams: str, options: str = "", **side: Any) -> Started:
    name = "type.googleapis.com/mediapipe.GateCalculatorOptions"
    return graph(
        f"""
input_stream: "in" input_stream: "control"
output_stream: "out" output_stream: "change"
node {{
  calculator: "GateCalculator"
  input_stream: "in" {streams}
  output_stream: "out" output_stream: "STATE_CHANGE:change"
  node_options: {{ [{name}] {{ {options} }} }}
}}""",
        **side,
    )


@pytest.mark.parametrize(("tag", "passing"), [("ALLOW", [1, 4]), ("DISALLOW", [2])])
def test_a_gate_does_what_the_stream_says_and_tells_when_it_changes(tag, passing):
    run = gate(f'input_stream: "{tag}:control"')
    for at, is_yes in ((1, True), (2, False), (4, True)):
        run.feed("control", is_yes, at)
        run.feed("in", at, at)
    assert [at for at, _ in run.outputs["out"]] == passing
    assert pairs(run.outputs["change"]) == [
        (2, tag == "DISALLOW"),
        (4, tag == "ALLOW"),
    ]


@pytest.mark.parametrize(
    ("options", "passing"), [("", 0), ("empty_packets_as_allow: true", 1)]
)
def test_a_gate_without_a_word_is_shut_unless_told_otherwise(options, passing):
    run = gate('input_stream: "ALLOW:control"', options)
    run.advance("control", 10)
    run.feed("in", 1, 1)
    assert len(run.outputs["out"]) == passing


def test_a_gate_by_side_packet_or_by_option():
    assert (
        not gate('input_side_packet: "ALLOW:a"', a=False).sent("in", 1).outputs["out"]
    )
    assert gate('input_side_packet: "DISALLOW:a"', a=False).sent("in", 1).outputs["out"]
    assert gate("", "allow: true").sent("in", 1).outputs["out"]
    assert not gate("").sent("in", 1).outputs["out"]


def test_a_gate_has_one_who_decides():
    with pytest.raises(ServingError, match="one of ALLOW and DISALLOW"):
        gate('input_stream: "ALLOW:control" input_side_packet: "DISALLOW:a"', a=True)


MUX = """
input_stream: "a" input_stream: "b" input_stream: "which"
output_stream: "out"
node {
  calculator: "MuxCalculator"
  input_stream: "SELECT:which" input_stream: "INPUT:0:a" input_stream: "INPUT:1:b"
  output_stream: "OUTPUT:out"
}
"""


def test_a_mux_waits_for_the_chosen_input_only():
    run = graph(MUX)
    run.feed("which", 1, 5)
    run.feed("b", "b", 5)
    assert pairs(run.outputs["out"]) == [(5, "b")]
    run.feed("which", 0, 6)
    run.feed("b", "b", 6)
    assert len(run.outputs["out"]) == 1
    run.feed("a", "a", 6)
    assert pairs(run.outputs["out"]) == [(5, "b"), (6, "a")]


def test_a_mux_refuses_a_choice_that_there_is_not():
    run = graph(MUX)
    run.feed("which", 2, 5)
    assert run.error is not None
    assert "expected an int from 0 to 1" in run.error.text


def test_what_is_dealt_comes_together_again():
    run = graph("""
input_stream: "in" output_stream: "out"
node {
  calculator: "RoundRobinDemuxCalculator"
  input_stream: "in"
  output_stream: "OUTPUT:0:a" output_stream: "OUTPUT:1:b" output_stream: "SELECT:which"
}
node {
  calculator: "MuxCalculator"
  input_stream: "INPUT:0:a" input_stream: "INPUT:1:b" input_stream: "SELECT:which"
  output_stream: "OUTPUT:out"
}""")
    for at in range(5):
        run.feed("in", at, at)
    assert pairs(run.outputs["out"]) == [(at, at) for at in range(5)]


def test_merge_takes_the_first_input_that_has_a_packet():
    run = graph("""
input_stream: "a" input_stream: "b" output_stream: "out"
node { calculator: "MergeCalculator" input_stream: "a" input_stream: "b" output_stream: "out" }""")
    run.feed("a", "a", 1)
    run.feed("b", "b", 1)
    run.feed("b", "b", 2)
    run.advance("a", 3)
    assert pairs(run.outputs["out"]) == [(1, "a"), (2, "b")]


def test_presence_is_told_of_every_settled_time():
    run = graph("""
input_stream: "in" output_stream: "out"
node { calculator: "PacketPresenceCalculator" input_stream: "PACKET:in" output_stream: "PRESENCE:out" }""")
    run.feed("in", "x", 1)
    run.advance("in", 6)
    run.feed("in", "x", 6)
    assert pairs(run.outputs["out"]) == [(1, True), (5, False), (6, True)]


@pytest.mark.parametrize("options", ["", "process_timestamp_bounds: true"])
def test_an_immediate_mux_passes_what_is_not_late(options):
    name = "type.googleapis.com/mediapipe.ImmediateMuxCalculatorOptions"
    run = graph(f"""
input_stream: "a" input_stream: "b" output_stream: "out" output_stream: "came"
node {{
  calculator: "ImmediateMuxCalculator"
  input_stream: "a" input_stream: "b"
  output_stream: "out" output_stream: "came"
  input_stream_handler {{ input_stream_handler: "ImmediateInputStreamHandler" }}
  node_options: {{ [{name}] {{ {options} }} }}
}}""")
    run.feed("a", "a", 5)
    run.feed("b", "late", 3)
    run.feed("b", "b", 6)
    assert run.error is None
    assert pairs(run.outputs["out"]) == [(5, "a"), (6, "b")]
    assert [payload for _, payload in run.outputs["came"]] == [True] * 3


def cloner(options: str = "") -> Started:
    name = "type.googleapis.com/mediapipe.PacketClonerCalculatorOptions"
    return graph(f"""
input_stream: "a" input_stream: "b" input_stream: "tick"
output_stream: "a2" output_stream: "b2"
node {{
  calculator: "PacketClonerCalculator"
  input_stream: "a" input_stream: "b" input_stream: "TICK:tick"
  output_stream: "a2" output_stream: "b2"
  node_options: {{ [{name}] {{ {options} }} }}
}}""")


def test_a_cloner_repeats_the_newest_at_every_tick():
    run = cloner()
    run.feed("a", "a1", 1)
    run.advance("b", 100)
    run.feed("tick", 0, 2)
    run.feed("a", "a3", 3)
    run.advance("a", 100)
    run.feed("tick", 0, 5)
    run.feed("tick", 0, 6)
    assert pairs(run.outputs["a2"]) == [(2, "a1"), (5, "a3"), (6, "a3")]
    assert run.outputs["b2"] == []


def test_a_cloner_may_wait_for_all_its_inputs():
    run = cloner("output_packets_only_when_all_inputs_received: true")
    run.feed("a", "a", 1)
    run.advance("a", 100)
    run.feed("b", "b", 4)
    run.advance("b", 100)
    run.feed("tick", 0, 2)
    run.feed("tick", 0, 5)
    assert pairs(run.outputs["a2"]) == [(5, "a")]
    assert pairs(run.outputs["b2"]) == [(5, "b")]


def test_the_end_of_time_is_no_fault():
    run = graph(LOOPBACK)
    run.feed("in", 1, MAX)
    run.close()
    assert run.is_done and run.error is None
