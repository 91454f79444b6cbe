"""ImmediateInputStreamHandler: each input is a timeline of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ovms_mp.core.pending import Pending
from ovms_mp.core.timestamp import MAX, ONE_OVER_POSTSTREAM, UNSTARTED
from tests.mediapipe.driver import Run

THREE = """
input_stream: "a" input_stream: "b" input_stream: "c" input_side_packet: "log"
input_side_packet: "waits"
node { calculator: "%s" input_stream: "a" input_stream: "b" input_stream: "c"
  input_side_packet: "LOG:log" input_side_packet: "WAITS:waits"
  input_stream_handler { input_stream_handler: "ImmediateInputStreamHandler" } }
"""


class Three:
    """A run of such a node, and its log."""

    def __init__(self, calculator: str) -> None:
        self.log: list[Any] = []
        self.waits: list[Pending[None]] = []
        self.run = Run(THREE % calculator, log=self.log, waits=self.waits)

    @contextmanager
    def busy(self, stream: str, at: int) -> Iterator[None]:
        """What comes within waits while the node is busy with a packet; the log then
        begins after that.
        """
        pending = Pending[None]()
        self.waits.append(pending)
        self.run.feed(stream, at, "busy")
        yield
        self.log.clear()
        pending.complete(None)


def run_three(calculator: str) -> tuple[Run, list[Any]]:
    three = Three(calculator)
    return three.run, three.log


def test_without_packets_an_immediate_node_does_not_run():
    _, log = run_three("Records")
    assert log == []


def test_a_packet_on_any_input_makes_an_immediate_node_run():
    run, log = run_three("Records")
    run.feed("a", 10, "a1")
    assert log == [(10, "a1", UNSTARTED, UNSTARTED)]


def test_an_input_that_ends_calls_an_immediate_node_once_without_packets():
    run, log = run_three("Records")
    run.feed("a", 10, "a1")
    del log[:]
    run.close("b")
    # The smallest bound is that of "c", which has never had any.
    assert len(log) == 1 and "a1" not in log[0]
    run.advance("a", 200)
    assert len(log) == 1
    run.close("a")
    assert len(log) == 2
    run.close("c")
    assert log[2:] == ["closed"]
    assert run.ended_well()


def test_inputs_that_are_settled_for_ever_close_an_immediate_node():
    three = Three("Records")
    with three.busy("a", 10):
        for stream in "abc":
            three.run.advance(stream, ONE_OVER_POSTSTREAM)
    assert three.log == ["closed"]


def test_inputs_that_end_together_close_an_immediate_node_without_another_call():
    three = Three("Records")
    with three.busy("b", 1):
        three.run.close("b", "a", "c")
    assert three.log == ["closed"]
    assert three.run.ended_well()


def test_a_node_that_processes_bounds_is_told_of_the_end_of_each_input_at_max():
    three = Three("RecordsBounds")
    with three.busy("b", 0):
        three.run.feed("b", 1, "b1")
        three.run.close("b")
    assert three.log == [
        (1, UNSTARTED, "b1", UNSTARTED),
        (MAX, UNSTARTED, MAX, UNSTARTED),
    ]
    with three.busy("a", 5):
        three.run.close("a", "c")
    assert three.log == [(MAX, MAX, MAX, MAX), "closed"]
    assert three.run.ended_well()


def test_a_node_that_processes_bounds_does_not_run_again_for_what_it_knows():
    three = Three("RecordsBounds")
    with three.busy("b", 1):
        three.run.close("a", "c")
    assert three.log == [(MAX, MAX, 1, MAX)]
    for _ in range(3):
        three.run.advance("b", 2)
    assert len(three.log) == 1
    three.run.close("b")
    assert three.log[1:] == [(MAX, MAX, MAX, MAX), "closed"]


def test_packets_of_several_inputs_are_released_in_the_order_of_time():
    three = Three("RecordsBounds")
    with three.busy("a", 0):
        three.run.feed("c", 3, "c3")
        three.run.feed("b", 2, "b2")
        three.run.feed("a", 1, "a1")
    assert three.log == [(1, "a1", 1, 2), (2, 1, "b2", 2), (3, 1, 2, "c3")]
    with three.busy("a", 4):
        for stream in "bca":
            three.run.feed(stream, 5, stream + "5")
    assert three.log == [(5, "a5", "b5", "c5")]


def test_packets_of_one_timestamp_that_wait_together_are_processed_together():
    three = Three("Records")
    with three.busy("a", 0):
        for at in (10, 30, 40):
            three.run.feed("a", at, f"a{at}")
            three.run.feed("c", at, f"c{at}")
        for at in (10, 30):
            three.run.feed("b", at, f"b{at}")
        three.run.close("b")
    assert three.log[:2] == [(10, "a10", "b10", "c10"), (30, "a30", "b30", "c30")]
    assert three.log[2][:2] == (40, "a40") and three.log[2][3] == "c40"
    three.run.close()
    assert three.run.ended_well() and three.log[-1] == "closed"
