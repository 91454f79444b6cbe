"""What mediapipe's Python graph tests pin (python/calculator_graph_test.py, 0.10.21)."""

from __future__ import annotations

from pathlib import Path

import pytest

from ovms_mp import mediapipe as mp
from ovms_mp.mediapipe import binary, packet_creator, packet_getter

PASS = """
    max_queue_size: 1
    input_stream: 'in'
    output_stream: 'out'
    node {
      calculator: 'PassThroughCalculator'
      input_stream: 'in'
      output_stream: 'out'
    }
"""
HELLO = packet_creator.create_string("hello world")


class Message:
    """As a message of mediapipe's own protos: its str is the text format."""

    def __str__(self) -> str:
        return PASS


def observed(graph: mp.CalculatorGraph, *, bounds: bool = False) -> list[mp.Packet]:
    out: list[mp.Packet] = []
    graph.observe_output_stream("out", lambda _, packet: out.append(packet), bounds)
    return out


def check_two_packets(graph: mp.CalculatorGraph) -> None:
    out = observed(graph)
    graph.start_run()
    graph.add_packet_to_input_stream(stream="in", packet=HELLO, timestamp=0)
    graph.add_packet_to_input_stream(stream="in", packet=HELLO.at(1))
    graph.close()
    mode = mp.GraphInputStreamAddMode.WAIT_TILL_NOT_FULL
    assert graph.graph_input_stream_add_mode is mode
    assert graph.max_queue_size == 1
    assert not graph.has_error()
    assert [packet.timestamp for packet in out] == [0, 1]
    assert [packet_getter.get_str(packet) for packet in out] == ["hello world"] * 2


def test_a_binary_file_that_is_not_there_is_file_not_found(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="The path does not exist"):
        mp.CalculatorGraph(binary_graph_path=tmp_path / "abc.binarypb")


def test_streams_that_do_not_pair_are_a_value_error() -> None:
    text = "node { calculator: 'PassThroughCalculator' input_stream: 'in' input_stream: 'in' output_stream: 'out' }"
    expected = (
        "Input and output streams to PassThroughCalculator must use matching tags and "
        "indexes."
    )
    with pytest.raises(ValueError, match=expected):
        mp.CalculatorGraph(graph_config=f"input_stream: 'in' {text}")


def test_an_unknown_calculator_is_a_runtime_error() -> None:
    text = "node { calculator: 'SomeUnknownCalculator' input_stream: 'in' output_stream: 'out' }"
    expected = 'Unable to find Calculator "SomeUnknownCalculator"'
    with pytest.raises(RuntimeError, match=expected):
        mp.CalculatorGraph(graph_config=text)


def test_a_graph_is_made_of_a_message() -> None:
    check_two_packets(mp.CalculatorGraph(graph_config=Message()))


def test_a_graph_is_made_of_a_text() -> None:
    check_two_packets(mp.CalculatorGraph(graph_config=PASS))


def test_a_graph_is_made_of_a_binary_file(tmp_path: Path) -> None:
    path = tmp_path / "pass.binarypb"
    path.write_bytes(binary.to_binary(PASS))
    check_two_packets(mp.CalculatorGraph(binary_graph_path=path))


def test_a_graph_is_made_of_a_validated_config() -> None:
    validated = mp.ValidatedGraphConfig()
    assert not validated.initialized()
    validated.initialize(graph_config=PASS)
    assert validated.initialized()
    check_two_packets(mp.CalculatorGraph(validated_graph_config=validated))


def test_a_timestamp_that_does_not_grow_is_told_when_somebody_waits() -> None:
    graph = mp.CalculatorGraph(graph_config=PASS)
    graph.start_run()
    graph.add_packet_to_input_stream(stream="in", packet=HELLO.at(0))
    graph.wait_until_idle()
    graph.add_packet_to_input_stream(stream="in", packet=HELLO.at(0))
    expected = r"Current minimum expected timestamp is 1 but received 0\."
    with pytest.raises(ValueError, match=expected):
        graph.wait_until_idle()
    assert graph.has_error()
    assert graph.get_combined_error_message().startswith("INVALID_ARGUMENT: ")
    with pytest.raises(ValueError, match=expected):
        graph.add_packet_to_input_stream(stream="in", packet=HELLO.at(1))


def test_side_packets_go_through() -> None:
    graph = mp.CalculatorGraph(
        graph_config="""
          node {
            calculator: 'StringToUint64Calculator'
            input_side_packet: "string"
            output_side_packet: "number"
          }
        """
    )
    graph.start_run(input_side_packets={"string": packet_creator.create_string("42")})
    graph.wait_until_done()
    assert not graph.has_error()
    assert packet_getter.get_uint(graph.get_output_side_packet("number")) == 42


def test_a_thousand_packets_come_out_in_order() -> None:
    graph = mp.CalculatorGraph(graph_config=PASS)
    out = observed(graph)
    graph.start_run()
    for number in range(1000):
        graph.add_packet_to_input_stream(stream="in", packet=HELLO, timestamp=number)
    graph.wait_until_idle()
    assert [packet.timestamp.value for packet in out] == list(range(1000))


def test_a_graph_runs_again_after_close() -> None:
    graph = mp.CalculatorGraph(graph_config=PASS)
    out = observed(graph)
    for _ in range(2):
        graph.start_run()
        graph.add_packet_to_input_stream("in", HELLO, 7)
        graph.close()
    assert [packet.timestamp.value for packet in out] == [7, 7]


def test_an_observer_of_bounds_gets_an_empty_packet() -> None:
    graph = mp.CalculatorGraph(graph_config=PASS)
    out = observed(graph, bounds=True)
    graph.start_run()
    graph.add_packet_to_input_stream("in", mp.Packet().at(5))
    graph.wait_until_idle()
    assert [(each.is_empty(), each.timestamp.value) for each in out] == [(True, 5)]


def test_a_type_goes_through_a_graph() -> None:
    graph = mp.CalculatorGraph(graph_config=PASS)
    out = observed(graph)
    graph.start_run()
    graph.add_packet_to_input_stream("in", packet_creator.create_uint8(200).at(0))
    graph.wait_until_idle()
    assert packet_getter.get_uint(out[0]) == 200
    with pytest.raises(ValueError, match="int8, int16"):
        packet_getter.get_int(out[0])


def test_what_a_callback_raises_reaches_who_waits() -> None:
    graph = mp.CalculatorGraph(graph_config=PASS)

    def refuse(_: str, packet: mp.Packet) -> None:
        raise KeyError(packet.timestamp.value)

    graph.observe_output_stream("out", refuse)
    graph.start_run()
    graph.add_packet_to_input_stream("in", HELLO, 3)
    with pytest.raises(KeyError, match="3"):
        graph.wait_until_idle()


def test_output_is_waited_for() -> None:
    graph = mp.CalculatorGraph(graph_config=PASS)
    out = observed(graph)
    graph.start_run()
    graph.add_packet_to_input_stream("in", HELLO, 0)
    graph.wait_for_observed_output()
    assert len(out) == 1
    with pytest.raises(RuntimeError):
        graph.wait_for_observed_output()


@pytest.mark.parametrize("timestamp", ["UNSET", "UNSTARTED", "DONE"])
def test_a_packet_needs_a_timestamp_of_a_stream(timestamp: str) -> None:
    graph = mp.CalculatorGraph(graph_config=PASS)
    graph.start_run()
    packet = HELLO.at(getattr(mp.Timestamp, timestamp))
    with pytest.raises(ValueError, match="can't be the timestamp of a Packet"):
        graph.add_packet_to_input_stream("in", packet)


def test_names_that_do_not_exist_are_runtime_errors() -> None:
    graph = mp.CalculatorGraph(graph_config=PASS)
    with pytest.raises(RuntimeError, match="doesn't exist"):
        graph.observe_output_stream("nope", lambda _, packet: None)
    graph.start_run()
    with pytest.raises(RuntimeError, match="not a graph input"):
        graph.add_packet_to_input_stream("nope", HELLO, 0)
    with pytest.raises(RuntimeError, match="not a graph input"):
        graph.close_input_stream("nope")
    graph.close()
    with pytest.raises(RuntimeError, match="nope"):
        graph.get_output_side_packet("nope")


def test_one_form_of_a_graph_is_given() -> None:
    with pytest.raises(ValueError, match="Please provide one of the following"):
        mp.CalculatorGraph()
    with pytest.raises(RuntimeError, match="Unknown kwargs input argument: other"):
        mp.CalculatorGraph(other=1)
    with pytest.raises(RuntimeError, match="Failed to parse"):
        mp.CalculatorGraph(graph_config="node { calculator: 'X'")


def test_a_graph_tells_its_config() -> None:
    graph = mp.CalculatorGraph(graph_config=PASS)
    assert "PassThroughCalculator" in graph.text_config
    again = binary.to_text(graph.binary_config)
    assert again == graph.text_config
