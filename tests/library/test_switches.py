"""Switches as MediaPipe's own modules have them: streams without a tag, and no streams at
all where a side packet chooses a model's file.
"""

from __future__ import annotations

import pytest

from ovms_mp import mediapipe as mp
from ovms_mp.mediapipe import packet_creator, packet_getter

UNTAGGED = """
    input_stream: "a" input_stream: "b" input_side_packet: "is_second"
    node {
      calculator: "SwitchContainer"
      input_side_packet: "ENABLE:is_second"
      input_stream: "a" input_stream: "b" output_stream: "c" output_stream: "d"
      options { [mediapipe.SwitchContainerOptions.ext] {
        contained_node { calculator: "PassThroughCalculator" }
        contained_node { calculator: "PassThroughCalculator" }
      } }
    }
"""


@pytest.mark.parametrize("is_second", [False, True])
def test_streams_without_a_tag_go_through_a_switch(is_second: bool) -> None:
    graph = mp.CalculatorGraph(graph_config=UNTAGGED)
    found: list[tuple[str, int]] = []
    for name in ("c", "d"):
        graph.observe_output_stream(
            name, lambda of, packet: found.append((of, packet_getter.get_int(packet)))
        )
    graph.start_run({"is_second": packet_creator.create_bool(is_second)})
    for at, (name, value) in enumerate((("a", 1), ("b", 2), ("a", 3), ("b", 4))):
        packet = packet_creator.create_int(value).at(at)
        graph.add_packet_to_input_stream(name, packet)
    graph.close()
    assert sorted(found) == [("c", 1), ("c", 3), ("d", 2), ("d", 4)]


def chosen(said: str, value: str) -> str:
    calculator = "ConstantSidePacketCalculator"
    option = f"[mediapipe.{calculator}Options.ext]"
    return f'{said} {{ calculator: "{calculator}" options {{ {option} {{ packet {{ string_value: "{value}" }} }} }} }}'


@pytest.mark.parametrize("is_second", [False, True])
def test_a_switch_of_side_packets_alone_needs_no_stream(is_second: bool) -> None:
    nodes = chosen("contained_node", "first") + chosen("contained_node", "second")
    graph = mp.CalculatorGraph(
        graph_config=f"""
        input_side_packet: "is_second" output_side_packet: "path"
        node {{
          calculator: "SwitchContainer"
          input_side_packet: "ENABLE:is_second" output_side_packet: "PACKET:path"
          options {{ [mediapipe.SwitchContainerOptions.ext] {{ {nodes} }} }}
        }}
        """
    )
    graph.start_run({"is_second": packet_creator.create_bool(is_second)})
    graph.close()
    path = packet_getter.get_str(graph.get_output_side_packet("path"))
    assert path == ("second" if is_second else "first")
