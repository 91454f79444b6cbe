"""A calculator that sends one packet when no more can come
(calculator_graph_summary_packet_test).
"""

from __future__ import annotations

import pytest

from ovms_mp.core.timestamp import MAX, POSTSTREAM, PRESTREAM
from tests.mediapipe.driver import Run, does

SUMMARY = """
input_stream: "in" output_stream: "out"
node { calculator: "Summary" input_stream: "in" output_stream: "out" }
"""


def test_a_summary_comes_when_the_inputs_close():
    run = Run(SUMMARY)
    run.feed("in", 10, 10)
    run.feed("in", 11, 20)
    assert run.told["out"] == []
    run.close()
    assert run.told["out"] == [(MAX, 30)] and run.ended_well()


@pytest.mark.parametrize("before", [{}, {10: 10}])
def test_a_summary_comes_with_a_packet_at_max(before):
    run = Run(SUMMARY)
    for at, value in before.items():
        run.feed("in", at, value)
    run.feed("in", MAX, 20)
    assert run.told["out"] == [(MAX, 20 + sum(before.values()))]
    run.close()
    assert len(run.told["out"]) == 1 and run.ended_well()


def test_a_summary_comes_with_a_packet_at_prestream():
    run = Run(SUMMARY)
    run.feed("in", PRESTREAM, 10)
    assert run.told["out"] == [(MAX, 10)]
    run.close()
    assert len(run.told["out"]) == 1 and run.ended_well()


def test_a_summary_comes_with_a_packet_at_poststream():
    run = Run(SUMMARY)
    run.feed("in", POSTSTREAM, 10)
    assert run.told["out"] == [(MAX, 10)]
    run.close()
    assert len(run.told["out"]) == 1 and run.ended_well()


def two(node, ctx):
    """Send 20 and 10."""
    ctx.send(node.outs[0], 20, at=0)
    ctx.send(node.outs[0], 10, at=1000)


def two_and_stop(node, ctx):
    """The same as a source."""
    two(node, ctx)
    ctx.stop()


def fails(node, ctx):
    """Fail."""
    raise ValueError("meant to fail")


def test_a_summary_comes_when_a_source_stops():
    run = Run(
        """
output_stream: "out" input_side_packet: "do"
node { calculator: "Does" output_stream: "numbers" input_side_packet: "DO:do" }
node { calculator: "Summary" input_stream: "numbers" output_stream: "out" }
""",
        do=does(process=two_and_stop),
    )
    assert run.told["out"] == [(MAX, 30)] and run.ended_well()


BEHIND = """
input_stream: "in" output_stream: "out" input_side_packet: "do"
node { calculator: "Does" input_stream: "in" output_stream: "numbers"
  input_side_packet: "DO:do" }
node { calculator: "Summary" input_stream: "numbers" output_stream: "out" }
"""


def test_a_summary_comes_of_what_another_node_sends_in_close():
    run = Run(BEHIND, do=does(close=two))
    assert run.told["out"] == []
    run.close("in")
    assert run.told["out"] == [(MAX, 30)] and run.ended_well()


def test_no_summary_comes_when_another_node_fails_in_close():
    run = Run(BEHIND, do=does(close=fails))
    run.close("in")
    assert run.is_done and "meant to fail" in run.error.details
    assert run.told["out"] == []


def test_no_summary_comes_when_another_node_fails_in_process():
    run = Run(BEHIND, do=does(process=fails))
    run.feed("in", POSTSTREAM, 10)
    assert run.is_done and "meant to fail" in run.error.details
    assert run.told["out"] == []
