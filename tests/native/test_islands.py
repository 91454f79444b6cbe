"""Which native nodes are together; needs nothing of the wheel."""

from __future__ import annotations

from collections.abc import Container
from pathlib import Path

import pytest
from google.protobuf.wrappers_pb2 import StringValue

from ovms_mp.calculator import Calculator
from ovms_mp.calculator.services import Services
from ovms_mp.graph import builder, config, islands
from ovms_mp.graph.config import GraphConfig, GraphConfigError, NodeConfig
from ovms_mp.graph.registry import Registry

BOTH = {
    "DetectionProjectionCalculator",
    "ImagePropertiesCalculator",
    "ImageToTensorCalculator",
    "NonMaxSuppressionCalculator",
    "PassThroughCalculator",
    "SsdAnchorsCalculator",
    "TensorsToDetectionsCalculator",
}


class Fake:
    """Native code with calculators A, B, C, and some that we have as well."""

    def __init__(self, problem: str = "") -> None:
        self._problem = problem

    def names(self) -> Container[str]:
        return {"A", "B", "C", *BOTH}

    def input_handlers(self) -> Container[str]:
        return {"ImmediateInputStreamHandler"}

    def problem(self) -> str:
        return self._problem

    def options(self, calculator: str, /) -> None:
        return None

    def calculator(self) -> type[Calculator]:
        return Calculator


def formed(text: str, problem: str = "") -> GraphConfig:
    parsed = config.parse(text.encode(), "graph.pbtxt")
    return islands.form_islands(parsed, Registry.installed(), Fake(problem))


def node(calculator: str, *streams: str, more: str = "") -> str:
    fields = " ".join(
        f'{"input_stream" if each.startswith("<") else "output_stream"}: "{each[1:]}"'
        for each in streams
    )
    return f'node {{ calculator: "{calculator}" {fields} {more} }}\n'


def text_of(node: NodeConfig) -> str:
    message = node.options[StringValue.DESCRIPTOR.full_name]
    assert isinstance(message, StringValue)
    return message.value


def island_names(found: GraphConfig) -> list[str]:
    return [each.name for each in found.nodes if each.calculator == islands.ISLAND]


def test_a_graph_without_native_nodes_stays_as_it_is() -> None:
    text = 'input_stream: "a"\n' + node("PassThroughCalculator", "<a", ">b")
    parsed = config.parse(text.encode(), "graph.pbtxt")
    assert islands.form_islands(parsed, Registry.installed(), Fake("none")) is parsed


def test_connected_native_nodes_share_an_island() -> None:
    found = formed(
        'input_stream: "a" output_stream: "d"\n'
        + node("A", "<X:a", ">Y:b")
        + node("B", "<b", ">c")
        + node("C", "<X:1:c", "<X:0:a", ">d")
    )
    (island,) = found.nodes
    assert [each.name for each in island.inputs] == ["a"]
    assert [each.name for each in island.outputs] == ["d"]
    text = text_of(island)
    assert 'input_stream: "X:1:c"' in text
    assert 'output_stream: "Y:0:b"' in text
    assert island.line == 2


def test_native_nodes_that_are_not_connected_have_islands_of_their_own() -> None:
    found = formed(
        'input_stream: "a"\n' + node("A", "<a", ">b") + node("B", "<a", ">c")
    )
    assert island_names(found) == ["A", "B"]


def test_a_side_packet_connects() -> None:
    found = formed(
        'input_stream: "a" output_stream: "b"\n'
        + node("A", more='output_side_packet: "s"')
        + node("B", "<a", ">b", more='input_side_packet: "SIDE:s"')
    )
    (island,) = found.nodes
    assert island.side_inputs == ()
    assert 'input_side_packet: "SIDE:0:s"' in text_of(island)


def test_a_side_packet_that_would_have_to_leave_is_an_error_with_its_line() -> None:
    with pytest.raises(GraphConfigError, match=r'graph.pbtxt:2: node "A": .*"s"'):
        formed('output_side_packet: "s"\n' + node("A", more='output_side_packet: "s"'))


def test_no_island_waits_for_a_node_of_ours_in_its_midst() -> None:
    text = (
        'input_stream: "a" output_stream: "d"\n'
        + node("A", "<a", ">b")
        + node("FrameToTensorCalculator", "<FRAME:b", ">TENSOR:c")
        + node("B", "<b", "<c", ">d")
    )
    assert island_names(formed(text)) == ["A", "B"]


def test_a_back_edge_through_a_node_of_ours_splits_nothing() -> None:
    found = formed(
        'input_stream: "a" output_stream: "c"\n'
        + node(
            "PreviousLoopbackCalculator",
            "<MAIN:a",
            "<LOOP:c",
            ">PREV_LOOP:p",
            more='input_stream_info { tag_index: "LOOP" back_edge: true }',
        )
        + node("A", "<a", "<p", ">b")
        + node("B", "<b", ">c")
    )
    assert island_names(found) == ["A and 1 more"]


def test_a_back_edge_inside_an_island_stays_one() -> None:
    (island,) = formed(
        'input_stream: "a" output_stream: "c"\n'
        + node(
            "A",
            "<a",
            "<L:c",
            ">b",
            more='input_stream_info { tag_index: "L:0" back_edge: true }',
        )
        + node("B", "<b", ">c")
    ).nodes
    assert island.back_edges == frozenset()
    assert 'input_stream_info { tag_index: "L:0" back_edge: true }' in text_of(island)


def test_a_node_that_both_sides_have_is_native_between_native_ones_only() -> None:
    found = formed(
        'input_stream: "a" output_stream: "e"\n'
        + node("PassThroughCalculator", "<a", ">b")
        + node("A", "<b", ">c")
        + node("PassThroughCalculator", "<c", ">d")
        + node("B", "<d", ">e")
    )
    first, island = found.nodes
    assert first.calculator == "PassThroughCalculator"
    assert 'calculator: "PassThroughCalculator"' in text_of(island)


def test_without_the_wheel_the_error_names_node_calculator_and_extra() -> None:
    text = 'input_stream: "a"\n' + node("A", "<a", ">b", more='name: "x"')
    with pytest.raises(GraphConfigError) as error:
        formed(text, "it needs the extra ovms_mp[native]")
    expected = (
        'graph.pbtxt:2: node "x": "A" is native: it needs the extra ovms_mp[native]'
    )
    assert error.value.details == expected


def test_an_input_policy_that_is_not_native_is_an_error() -> None:
    policy = (
        'input_stream_handler { input_stream_handler: "BarrierInputStreamHandler" }'
    )
    with pytest.raises(GraphConfigError, match="does not exist natively"):
        formed('input_stream: "a"\n' + node("A", "<a", ">b", more=policy))


def test_what_nobody_has_is_left_for_the_builder_to_refuse() -> None:
    text = 'input_stream: "a"\n' + node("NoSuchCalculator", "<a", ">b")
    with pytest.raises(GraphConfigError, match="NoSuchCalculator"):
        builder.load(formed(text), Registry.installed(), Path(), Services())


TO_DETECTIONS = (
    node(
        "ImageToTensorCalculator",
        "<IMAGE:a",
        ">TENSORS:t",
        ">MATRIX:m",
        more="""options { [mediapipe.ImageToTensorCalculatorOptions.ext] {
          output_tensor_float_range { min: 0 max: 1 } } }""",
    )
    + node("A", "<TENSORS:t", "<SIZE:s", ">TENSORS:u")
    + node("ImagePropertiesCalculator", "<IMAGE:a", ">SIZE:s")
    + node("SsdAnchorsCalculator", more='output_side_packet: "anchors"')
    + node(
        "TensorsToDetectionsCalculator",
        "<TENSORS:u",
        ">DETECTIONS:x",
        more='input_side_packet: "ANCHORS:anchors"',
    )
    + node("NonMaxSuppressionCalculator", "<x", ">y")
)


def test_who_shares_with_native_nodes_what_cannot_cross_is_native_too() -> None:
    """Tensors, sizes and anchors; detections can leave, and the rest remains ours."""
    found = formed('input_stream: "a" output_stream: "y"\n' + TO_DETECTIONS)
    assert len(island_names(found)) == 1
    calculators = [each.calculator for each in found.nodes]
    assert [each for each in calculators if each in BOTH] == [
        "NonMaxSuppressionCalculator"
    ]


def test_who_needs_a_native_matrix_is_native_with_those_that_make_its_vectors() -> None:
    found = formed(
        'input_stream: "a" output_stream: "d"\n'
        + TO_DETECTIONS
        + node(
            "DetectionProjectionCalculator",
            "<DETECTIONS:y",
            "<PROJECTION_MATRIX:m",
            ">DETECTIONS:d",
        )
    )
    assert [each.calculator for each in found.nodes] == [islands.ISLAND]
