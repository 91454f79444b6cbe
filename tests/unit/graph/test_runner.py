"""CalculatorRunner: one node, everything that can happen to it, in the test's thread."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from ovms_mp.calculator import (
    Calculator,
    Context,
    Input,
    Output,
    SideInput,
    SideInputs,
    SideOutputs,
)
from ovms_mp.core.packet import Packet
from ovms_mp.core.pending import Pending
from ovms_mp.graph.runner import CalculatorRunner

IN_OUT = 'calculator: "Any" input_stream: "in" output_stream: "out"'


class Doubles(Calculator):
    value = Input(int)
    out = Output(int)
    timestamp_offset = 0

    def process(self, ctx: Context) -> None:
        ctx.send(self.out, ctx[self.value] * 2)


class Pairs(Calculator):
    left = Input(Any, "LEFT")
    right = Input(Any, "RIGHT")
    out = Output(tuple)

    def process(self, ctx: Context) -> None:
        ctx.send(self.out, (ctx.get(self.left), ctx.get(self.right)))


class Counts(Calculator):
    """A source: 0, 1, 2, … up to `LIMIT`, two in each call."""

    limit = SideInput(int, "LIMIT")
    out = Output(int)

    def open(self, ctx: Context) -> None:
        self._next = 0

    def process(self, ctx: Context) -> None:
        for number in (self._next, self._next + 1):
            ctx.send(self.out, number, at=number)
        self._next += 2
        if self._next >= ctx.side(self.limit):
            ctx.stop()


class Sides(Calculator):
    """Each side packet out is ten times the one in."""

    given = SideInputs(int, "GIVEN", optional=True)
    made = SideOutputs(int, "MADE", optional=True)

    def open(self, ctx: Context) -> None:
        for source, target in zip(self.given, self.made, strict=True):
            ctx.set_side(target, ctx.side(source) * 10)


class Waits(Calculator):
    value = Input(Pending)
    out = Output(int)

    def process(self, ctx: Context) -> None:
        ctx.wait(ctx[self.value], lambda value: ctx.send(self.out, value))


PAIRS = """
  calculator: "Pairs"
  input_stream: "LEFT:left"
  input_stream: "RIGHT:right"
  output_stream: "out"
"""
COUNTS = 'calculator: "Counts" input_side_packet: "LIMIT:limit" output_stream: "out"'
SIDES = """
  calculator: "Sides"
  input_side_packet: "GIVEN:0:a"
  input_side_packet: "GIVEN:1:b"
  output_side_packet: "MADE:0:c"
  output_side_packet: "MADE:1:d"
"""


def numbers(runner: CalculatorRunner) -> list[int]:
    return [packet.payload for packet in runner.outputs["out"]]


def test_packets_come_out_as_they_go_in():
    runner = CalculatorRunner(Doubles, IN_OUT)
    runner.feed_all("in", [(1, 2), (5, 3)])
    assert runner.outputs == {"out": [Packet(1, 4), Packet(5, 6)]}
    runner.close()
    assert runner.is_done and runner.error is None


def test_a_bound_settles_an_input_without_a_packet():
    runner = CalculatorRunner(Pairs, PAIRS)
    runner.feed("left", "a", at=3)
    assert runner.outputs["out"] == []
    runner.advance("right", 3)
    assert runner.outputs["out"] == []
    runner.advance("right", 4)
    assert runner.outputs["out"] == [Packet(3, ("a", None))]


def test_one_input_may_close_before_the_others():
    runner = CalculatorRunner(Pairs, PAIRS)
    runner.close("right")
    runner.feed("left", "a", at=3)
    assert runner.outputs["out"] == [Packet(3, ("a", None))]
    assert not runner.is_done
    runner.close("left")
    assert runner.is_done


def test_bounds_tell_how_far_an_output_is_settled():
    runner = CalculatorRunner(Doubles, IN_OUT)
    assert runner.bounds == {}
    runner.advance("in", 10)
    assert runner.bounds == {"out": 10}
    assert runner.outputs["out"] == []
    runner.feed("in", 1, at=12)
    assert runner.bounds == {"out": 13}


def test_a_source_goes_on_for_as_many_packets_as_are_asked_for():
    runner = CalculatorRunner(Counts, COUNTS, side_packets={"limit": 8})
    assert numbers(runner) == []
    runner.run(packets=1)
    assert numbers(runner) == [0, 1]
    runner.run(packets=3)
    assert numbers(runner) == [0, 1, 2, 3, 4, 5]
    assert not runner.is_done
    runner.run()
    assert numbers(runner) == list(range(8))
    assert runner.is_done and runner.error is None


def test_a_source_runs_for_one_packet_at_least():
    runner = CalculatorRunner(Counts, COUNTS, side_packets={"limit": 8})
    with pytest.raises(ValueError, match="one packet at least"):
        runner.run(packets=0)


@pytest.mark.parametrize("given", [("a", "b"), ("GIVEN", "GIVEN:1"), ("GIVEN:0", "b")])
def test_side_packets_go_by_name_and_by_tag(given: tuple[str, str]):
    runner = CalculatorRunner(
        Sides, SIDES, side_packets=dict(zip(given, (1, 2), strict=True))
    )
    expected = {"c": 10, "MADE": 10, "MADE:0": 10, "d": 20, "MADE:1": 20}
    assert runner.side_outputs == expected


def test_a_side_packet_that_the_node_lacks_is_refused():
    with pytest.raises(ValueError, match='no input side packet "GIVEN:2"'):
        CalculatorRunner(Sides, SIDES, side_packets={"GIVEN:2": 1})


def test_a_node_runs_again_with_an_instance_of_its_own():
    runner = CalculatorRunner(Counts, COUNTS, side_packets={"limit": 2})
    runner.run()
    assert runner.is_done
    runner.restart()
    assert not runner.is_done
    assert numbers(runner) == []
    runner.run()
    assert numbers(runner) == [0, 1]
    runner.restart({"LIMIT": 4})
    runner.run()
    assert numbers(runner) == [0, 1, 2, 3]


def test_a_restart_ends_the_run_that_is_under_way():
    closed: list[object] = []

    class Tells(Doubles):
        def close(self, ctx: Context) -> None:
            closed.append(ctx.error)

    runner = CalculatorRunner(Tells, IN_OUT)
    runner.feed("in", 1, at=0)
    runner.restart()
    assert len(closed) == 1
    assert runner.outputs["out"] == [] and runner.error is None
    runner.feed("in", 2, at=0)
    assert numbers(runner) == [4]


def test_what_a_calculator_waits_for_may_come_later():
    runner = CalculatorRunner(Waits, IN_OUT)
    pending: Pending[int] = Pending()
    runner.feed("in", pending, at=0)
    runner.close()
    assert not runner.is_done
    pending.complete(7)
    assert runner.outputs["out"] == [Packet(0, 7)] and runner.is_done


def test_join_waits_for_the_thread_that_ends_the_run():
    runner = CalculatorRunner(Waits, IN_OUT)
    pending: Pending[int] = Pending()
    runner.feed("in", pending, at=0)
    runner.close()
    with pytest.raises(TimeoutError, match="not ended in 0 s"):
        runner.join(0)
    thread = threading.Thread(target=pending.complete, args=(7,))
    thread.start()
    runner.join()
    thread.join()
    assert numbers(runner) == [7]


def test_an_error_ends_the_run_and_is_kept():
    runner = CalculatorRunner(Doubles, IN_OUT)
    runner.feed("in", 1, at=5)
    runner.feed("in", 1, at=5)
    assert runner.is_done and runner.error is not None
