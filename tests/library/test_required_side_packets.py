"""A run that lacks a side packet which a node names fails at its start, where MediaPipe's
does; which of its calculators can do without theirs was tried there.
"""

from __future__ import annotations

import pytest

from ovms_mp import mediapipe as mp
from ovms_mp.mediapipe import packet_creator

PASS = 'calculator: "PassThroughCalculator" input_stream: "in" output_stream: "out"'
NEEDING = {
    "pass through": f'{PASS} input_side_packet: "side" output_side_packet: "same"',
    "pass through, nowhere to go": f'{PASS} input_side_packet: "side"',
    "how many stay": """calculator: "ClipDetectionVectorSizeCalculator"
        input_stream: "in" output_stream: "out" input_side_packet: "side" """,
    "how many are enough": """calculator: "NormalizedRectVectorHasMinSizeCalculator"
        input_stream: "ITERABLE:in" output_stream: "out" input_side_packet: "side" """,
    "threshold": """calculator: "ThresholdingCalculator" input_stream: "FLOAT:in"
        output_stream: "FLAG:out" input_side_packet: "THRESHOLD:side" """,
    "time": """calculator: "SidePacketToStreamCalculator" input_side_packet: "TIMESTAMP:side"
        input_side_packet: "given" output_stream: "AT_TIMESTAMP:out" """,
    "labels": """calculator: "FilterDetectionCalculator" input_stream: "DETECTIONS:in"
        output_stream: "DETECTIONS:out" input_side_packet: "LABELS:side"
        node_options { [type.googleapis.com/mediapipe.FilterDetectionCalculatorOptions] {
          min_score: 0.5 } } """,
    "turn": """calculator: "ImageTransformationCalculator" input_stream: "IMAGE:in"
        output_stream: "IMAGE:out" input_side_packet: "ROTATION_DEGREES:side" """,
}
NOT_NEEDING = {
    "gate": """calculator: "GateCalculator" input_stream: "in" output_stream: "out"
        input_side_packet: "ALLOW:side" """,
    "limiter": """calculator: "FlowLimiterCalculator" input_stream: "in"
        input_stream: "FINISHED:out" output_stream: "out"
        input_side_packet: "MAX_IN_FLIGHT:side"
        input_stream_info { tag_index: "FINISHED" back_edge: true } """,
}


def graph(text: str) -> mp.CalculatorGraph:
    return mp.CalculatorGraph(graph_config=f'input_stream: "in" node {{ {text} }}')


@pytest.mark.parametrize("text", NEEDING.values(), ids=NEEDING)
def test_a_side_packet_that_is_named_must_be_given(text: str) -> None:
    given = {"given": packet_creator.create_int(1)}
    with pytest.raises(ValueError, match='"side" is required but was not provided'):
        graph(text).start_run(given)


@pytest.mark.parametrize("text", NOT_NEEDING.values(), ids=NOT_NEEDING)
def test_some_nodes_can_do_without_what_they_name(text: str) -> None:
    run = graph(text)
    run.start_run()
    run.close()
    assert not run.has_error()


def test_a_side_packet_that_a_node_makes_may_not_be_given_as_well() -> None:
    made = graph(f'{PASS} input_side_packet: "side" output_side_packet: "same"')
    given = {name: packet_creator.create_int(1) for name in ("side", "same")}
    with pytest.raises(ValueError, match='"same" is both provided and generated'):
        made.start_run(given)
