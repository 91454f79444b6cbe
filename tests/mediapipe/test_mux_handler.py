"""MuxInputStreamHandler: a control input says which of the others counts."""

from __future__ import annotations

import pytest

from tests.mediapipe.driver import Run

MUX = 'input_stream_handler { input_stream_handler: "MuxInputStreamHandler" }'

# Each input has a valve before it, so that it may have a packet or only a bound.
GATED = f"""
{" ".join(f'input_stream: "in{n}" input_stream: "allow{n}"' for n in range(3))}
input_stream: "select" output_stream: "out"
{
    " ".join(
        f'node {{ calculator: "Valve" input_stream: "IN:in{n}" '
        f'input_stream: "GATE:allow{n}" output_stream: "gated{n}" }}'
        for n in range(3)
    )
}
node {{ calculator: "Select" input_stream: "IN:0:gated0" input_stream: "IN:1:gated1"
  input_stream: "IN:2:gated2" input_stream: "SELECT:select" output_stream: "out" {
    MUX
} }}
"""

# What is selected, which inputs have a packet, and what comes out.
STEPS = {
    "only the selected input has a packet": [
        (0, "0", 0),
        (1, "1", 1),
        (2, "2", 2),
    ],
    "all inputs have packets": [(0, "012", 0), (1, "012", 1), (2, "012", 2)],
    "no input has a packet": [(0, "", None), (1, "", None), (2, "", None)],
    "only the selected input has none": [
        (0, "12", None),
        (1, "02", None),
        (2, "01", None),
    ],
    "now these, now those": [
        (0, "", None),
        (1, "1", 1),
        (2, "01", None),
        (2, "012", 2),
        (0, "0", 0),
    ],
}


def check(run: Run, steps: list[tuple[int, str, int | None]]) -> None:
    expected = []
    for at, (selected, allowed, comes) in enumerate(steps, start=1):
        for n in range(3):
            run.feed(f"in{n}", at, f"{n}@{at}")
        run.feed("select", at, selected)
        for n in range(3):
            run.feed(f"allow{n}", at, str(n) in allowed)
        if comes is not None:
            expected.append((at, f"{comes}@{at}"))
        assert run.told["out"] == expected
    run.close()
    assert run.ended_well() and run.told["out"] == expected


def test_the_selected_of_inputs_of_which_one_has_a_packet_comes_through():
    check(Run(GATED), STEPS["only the selected input has a packet"])


def test_the_selected_of_inputs_that_all_have_packets_comes_through():
    check(Run(GATED), STEPS["all inputs have packets"])


def test_bounds_of_all_inputs_select_nothing_and_stall_nothing():
    check(Run(GATED), STEPS["no input has a packet"])


def test_a_bound_of_the_selected_input_is_enough():
    check(Run(GATED), STEPS["only the selected input has none"])


def test_packets_and_bounds_of_the_selected_input_may_alternate():
    check(Run(GATED), STEPS["now these, now those"])


PAIRED = f"""
input_stream: "in0" input_stream: "in1" input_stream: "select" output_stream: "pair"
node {{ calculator: "Select" input_stream: "IN:0:in0" input_stream: "IN:1:in1"
  input_stream: "SELECT:select" output_stream: "out" {MUX} }}
node {{ calculator: "Join" input_stream: "select" input_stream: "out"
  output_stream: "pair" }}
"""
PAIRS = [(1, (0, None)), (2, (0, 1000)), (3, (1, None)), (4, (1, 800))]


def test_a_control_packet_before_the_data_becomes_a_bound():
    run = Run(PAIRED)
    run.feed("select", 1, 0)
    assert run.told["pair"] == []
    run.feed("in0", 2, 1000)
    assert run.told["pair"] == PAIRS[:1]
    run.feed("in1", 1, 900)
    run.feed("in1", 4, 800)
    assert run.told["pair"] == PAIRS[:1]
    for count, (at, selected) in enumerate(((2, 0), (3, 1), (4, 1)), start=2):
        run.feed("select", at, selected)
        assert run.told["pair"] == PAIRS[:count]


def test_control_packets_that_come_after_the_data_say_the_same():
    run = Run(PAIRED)
    run.feed("select", 1, 0)
    run.feed("in0", 2, 1000)
    run.feed("in1", 1, 900)
    run.feed("in1", 4, 800)
    for at, selected in ((2, 0), (3, 1), (4, 1)):
        run.feed("select", at, selected)
    assert run.told["pair"] == PAIRS
    run.close()
    assert run.ended_well()


def test_a_bound_of_the_selected_input_becomes_a_bound_of_the_output():
    run = Run(f"""
input_stream: "in0" input_stream: "in1" input_stream: "select"
input_stream: "allow0" input_stream: "allow1" output_stream: "pair"
node {{ calculator: "Valve" input_stream: "IN:in0" input_stream: "GATE:allow0"
  output_stream: "gated0" }}
node {{ calculator: "Valve" input_stream: "IN:in1" input_stream: "GATE:allow1"
  output_stream: "gated1" }}
node {{ calculator: "Select" input_stream: "IN:0:gated0" input_stream: "IN:1:gated1"
  input_stream: "SELECT:select" output_stream: "out" {MUX} }}
node {{ calculator: "Join" input_stream: "select" input_stream: "out"
  output_stream: "pair" }}
""")
    for at, payload, allowed in ((1, 1000, False), (2, 900, True)):
        run.feed("select", at, 0)
        run.feed("in0", at, payload)
        run.feed("allow0", at, allowed)
    assert run.told["pair"] == [(1, (0, None)), (2, (0, 900))]


def test_packets_that_are_not_selected_leave_their_queue():
    run = Run(f"""
max_queue_size: 2 report_deadlock: true {PAIRED}
""")
    run.feed("select", 2, 0)
    run.feed("in0", 2, 1000)
    run.feed("in1", 1, 900)
    run.feed("in1", 2, 900)
    assert run.error is None and run.has_room


@pytest.mark.parametrize("shared", [MUX, ""])
def test_streams_of_a_demultiplexer_come_back_together_in_order(shared):
    inputs = " ".join(f'input_stream: "IN:{n}:same{n}"' for n in range(5))
    demux = " ".join(f'output_stream: "OUT:{n}:one{n}"' for n in range(5))
    passes = " ".join(
        f'node {{ calculator: "Pass" input_stream: "one{n}" output_stream: "same{n}" }}'
        for n in range(5)
    )
    run = Run(f"""
input_stream: "in" output_stream: "out"
node {{ calculator: "RoundRobin" input_stream: "in" {demux}
  output_stream: "SELECT:select" }}
{passes}
node {{ calculator: "{"Select" if shared else "SelectsByItself"}" {inputs}
  input_stream: "SELECT:select" output_stream: "out" {shared} }}
""")
    for at in range(200):
        run.feed("in", at, at)
    run.close()
    assert run.ended_well() and run.values("out") == list(range(200))
