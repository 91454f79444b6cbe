"""Side packets that nodes make, in open, process and close
(calculator_graph_side_packet_test).
"""

from __future__ import annotations

import pytest

from ovms_mp.core.timestamp import POSTSTREAM
from tests.mediapipe.driver import Run, define, does


def test_a_side_packet_set_in_process_opens_what_waits_for_it_in_every_run():
    graph = define("""
input_stream: "in" output_stream: "out"
node { calculator: "SideFromPacket" input_stream: "in" output_side_packet: "made" }
node { calculator: "SideToStream" input_side_packet: "made" output_stream: "out" }
""")
    for value in (100, 200):
        run = Run(graph)
        run.feed("in", 0, value)
        run.close()
        assert run.ended_well()
        assert run.told["out"] == [(POSTSTREAM, value)]
        assert run.run.side_outputs["made"] == value


def test_a_side_packet_may_be_set_once_only():
    run = Run("""
input_stream: "in"
node { calculator: "SideFromPacket" input_stream: "in" output_side_packet: "made" }
""")
    run.feed("in", 0, 100)
    assert run.error is None
    run.feed("in", 1, 100)
    assert run.is_done and run.error is not None
    assert "already set" in run.error.details


def test_a_source_may_wait_for_a_side_packet_that_comes_late():
    run = Run("""
input_stream: "in" output_stream: "out"
node { calculator: "SideFromPacket" input_stream: "in" output_side_packet: "made" }
node { calculator: "CountUp" output_stream: "count" input_side_packet: "TO:made" }
node { calculator: "Pass" input_stream: "count" output_stream: "out" }
""")
    assert run.told["out"] == [] and not run.is_done
    run.feed("in", 0, 10)
    run.close()
    assert run.ended_well()
    assert run.told["out"] == [(at, at) for at in range(10)]


def test_a_source_that_a_later_layer_would_have_to_open_is_reported_not_awaited():
    run = Run(
        """
output_stream: "out" input_side_packet: "to"
node { calculator: "CountUp" output_stream: "count0" input_side_packet: "TO:to"
  source_layer: 0 }
node { calculator: "CountUp" output_stream: "count1" input_side_packet: "TO:to"
  source_layer: 1 }
node { calculator: "FirstOnly" input_stream: "count1" output_stream: "first" }
node { calculator: "SideFromPacket" input_stream: "first" output_side_packet: "by" }
node { calculator: "CountUp" output_stream: "out" input_side_packet: "TO:to"
  input_side_packet: "BY:by" source_layer: 0 }
""",
        to=10,
    )
    assert run.is_done and run.error is not None
    assert "deadlock" in run.error.details


def test_side_packets_made_in_open_are_ready_for_the_next_nodes():
    run = Run("""
output_stream: "out"
node { calculator: "SideToStream" input_side_packet: "three" output_stream: "out" }
node { calculator: "SideSum" input_side_packet: "A:two" input_side_packet: "B:one_more"
  output_side_packet: "three" }
node { calculator: "SideOne" output_side_packet: "one" }
node { calculator: "SideOne" output_side_packet: "another" }
node { calculator: "SideSum" input_side_packet: "A:one" input_side_packet: "B:another"
  output_side_packet: "two" }
node { calculator: "SideOne" output_side_packet: "one_more" }
""")
    assert run.ended_well()
    assert run.told["out"] == [(POSTSTREAM, 3)]


def test_a_side_packet_set_in_close_opens_what_waits_for_it():
    run = Run("""
input_stream: "in" output_stream: "out"
node { calculator: "SideFromCount" input_stream: "in" output_side_packet: "count" }
node { calculator: "SideToStream" input_side_packet: "count" output_stream: "out" }
""")
    for at in range(100):
        run.feed("in", at, at)
    run.close()
    assert run.ended_well()
    assert run.told["out"] == [(POSTSTREAM, 100)]


@pytest.mark.parametrize("declared", ["", 'output_side_packet: "count"'])
def test_side_packets_can_be_had_when_the_run_has_ended(declared):
    graph = define(f"""
input_stream: "in" {declared}
node {{ calculator: "SideFromCount" input_stream: "in" output_side_packet: "count" }}
""")
    for number in (3, 5):
        run = Run(graph)
        for at in range(number):
            run.feed("in", at, at)
        assert "count" not in run.run.side_outputs
        run.close()
        assert run.run.side_outputs["count"] == number


def test_a_side_packet_made_in_open_can_be_had_while_the_graph_runs():
    run = Run("""
input_stream: "in"
node { calculator: "SideOne" output_side_packet: "one" }
node { calculator: "Silent" input_stream: "in" }
""")
    assert not run.is_done and run.run.side_outputs["one"] == 1


def test_every_run_makes_its_side_packets_again():
    graph = define("""
output_stream: "out"
node { calculator: "SideOne" output_side_packet: "one" }
node { calculator: "SideToStream" input_side_packet: "one" output_stream: "out" }
""")
    runs = [Run(graph) for _ in range(3)]
    assert [run.told["out"] for run in runs] == [[(POSTSTREAM, 1)]] * 3


def test_a_side_packet_of_another_type_than_declared_fails_the_run():
    run = Run(
        """
output_side_packet: "made" input_side_packet: "do"
node { calculator: "SideSum" input_side_packet: "A:a" input_side_packet: "B:b"
  output_side_packet: "made" }
input_side_packet: "a" input_side_packet: "b"
""",
        do=does(),
        a="text",
        b=1,
    )
    assert run.is_done and run.error is not None
    assert '"a"' in run.error.details
