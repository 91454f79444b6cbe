"""Calls out of their order, and values of the wrong kind: an error as from mediapipe,
never a packet that is lost in silence.
"""

from __future__ import annotations

from typing import Any

import pytest

from ovms_mp import mediapipe as mp
from ovms_mp.mediapipe import packet_creator

PAIR = """
    input_stream: "a" input_stream: "b"
    node {
      calculator: "PassThroughCalculator"
      input_stream: "a" input_stream: "b" output_stream: "c" output_stream: "d"
    }
"""
GATE = """
    input_stream: "a"
    node {
      calculator: "GateCalculator"
      input_stream: "a" input_side_packet: "ALLOW:open" output_stream: "c"
    }
"""


def packet(at: int = 0) -> mp.Packet:
    return packet_creator.create_int(1).at(at)


@pytest.mark.parametrize("closed", [("a",), ("a", "b")])
def test_a_packet_for_a_closed_stream_is_a_value_error(closed: tuple[str, ...]) -> None:
    """At once, or where its run goes on, from the next call at the latest."""
    graph = mp.CalculatorGraph(graph_config=PAIR)
    graph.start_run()
    for name in closed:
        graph.close_input_stream(name)

    def add() -> None:
        graph.add_packet_to_input_stream("a", packet())
        graph.wait_until_idle()

    with pytest.raises(ValueError, match='Packet sent to closed stream "a"'):
        add()


def test_a_packet_behind_the_end_of_all_streams_is_a_value_error() -> None:
    graph = mp.CalculatorGraph(graph_config=PAIR)
    graph.start_run()
    graph.close_all_packet_sources()
    with pytest.raises(ValueError, match='Packet sent to closed stream "b"'):
        graph.add_packet_to_input_stream("b", packet())


def test_a_packet_after_a_run_is_a_runtime_error_and_the_next_run_takes_it() -> None:
    graph = mp.CalculatorGraph(graph_config=GATE)
    found: list[int] = []
    graph.observe_output_stream("c", lambda _, each: found.append(each.timestamp.value))
    for at in (1, 2):
        graph.start_run({"open": packet_creator.create_bool(True)})
        graph.add_packet_to_input_stream("a", packet(at))
        graph.close()
        with pytest.raises(RuntimeError, match="before StartRun"):
            graph.add_packet_to_input_stream("a", packet(9))
    assert found == [1, 2]


def test_what_follows_the_end_that_a_packet_brought_is_dropped() -> None:
    graph = mp.CalculatorGraph(graph_config=GATE)
    graph.start_run({"open": packet_creator.create_bool(True)})
    last = packet_creator.create_int(1).at(mp.Timestamp.POSTSTREAM)
    graph.add_packet_to_input_stream("a", last)
    graph.add_packet_to_input_stream("a", packet())
    graph.close()


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (packet_creator.create_int(1), 'stores "int", but "bool" was requested'),
        (packet_creator.create_string("yes"), 'stores "str", but "bool" was requested'),
        (mp.Packet(), "empty"),
    ],
)
def test_a_side_packet_that_a_node_could_do_without_has_its_type(
    given: mp.Packet, why: str
) -> None:
    graph = mp.CalculatorGraph(graph_config=GATE)
    with pytest.raises(
        ValueError, match=f'Side packet "open" failed validation.*{why}'
    ):
        graph.start_run({"open": given})
    graph.start_run({"open": packet_creator.create_bool(True)})
    graph.close()


@pytest.mark.parametrize("value", [9.5, 9.0, "9", None])
def test_a_timestamp_is_an_integer(value: Any) -> None:
    graph = mp.CalculatorGraph(graph_config=PAIR)
    graph.start_run()
    with pytest.raises(TypeError):
        graph.add_packet_to_input_stream("a", packet(), value)
    with pytest.raises(TypeError):
        mp.Timestamp(value)


def test_minus_one_thread_is_the_default() -> None:
    mp.CalculatorGraph(graph_config=f"num_threads: -1 {PAIR}")
