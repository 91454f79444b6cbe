"""A graph is explained as it would run, and its picture has all of it."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from ovms_mp import GraphError
from ovms_mp.drawing.items import Drawing, Look
from ovms_mp.drawing.layout import lay_out
from ovms_mp.library.explanation import Explanation, explain
from ovms_mp.library.picturing import drawing_of
from tests.unit.inference import tiny

SVG = "{http://www.w3.org/2000/svg}"

LEAF = """
type: "Leaf"
input_stream: "in"
output_stream: "out"
node { calculator: "PassThroughCalculator" input_stream: "in" output_stream: "a" }
node { calculator: "PassThroughCalculator" input_stream: "a" output_stream: "out" }
"""
BRANCH = """
type: "Branch"
input_stream: "in"
output_stream: "out"
node { calculator: "Leaf" input_stream: "in" output_stream: "left" }
node { name: "other" calculator: "Leaf" input_stream: "in" output_stream: "right" }
node {
  calculator: "MergeCalculator"
  input_stream: "left"
  input_stream: "right"
  output_stream: "out"
}
"""
LOOP = """
input_stream: "in"
output_stream: "out"
max_queue_size: 7
executor { name: "mine" type: "ThreadPoolExecutor" }
node { calculator: "Branch" input_stream: "in" output_stream: "grown" }
node {
  name: "limiter"
  calculator: "FlowLimiterCalculator"
  executor: "mine"
  max_in_flight: 1
  input_stream: "grown"
  input_stream: "FINISHED:out"
  input_stream_info { tag_index: "FINISHED" back_edge: true }
  output_stream: "limited"
}
node { calculator: "PassThroughCalculator" input_stream: "limited" output_stream: "out" }
"""
MODEL = """
input_stream: "OVTENSOR:in"
output_stream: "OVTENSOR:out"
node {
  calculator: "OpenVINOModelServerSessionCalculator"
  output_side_packet: "SESSION:session"
  node_options: {
    [type.googleapis.com/mediapipe.OpenVINOModelServerSessionCalculatorOptions]: {
      servable_name: "adder"
    }
  }
}
node {
  calculator: "OpenVINOInferenceCalculator"
  input_side_packet: "SESSION:session"
  input_stream: "B:in"
  output_stream: "A:out"
  node_options: {
    [type.googleapis.com/mediapipe.OpenVINOInferenceCalculatorOptions]: {
      tag_to_input_tensor_names { key: "B" value: "x" }
      tag_to_output_tensor_names { key: "A" value: "y" }
    }
  }
}
"""


def explained(folder: Path, graph: str) -> Explanation:
    for name, text in (("leaf", LEAF), ("branch", BRANCH), ("graph", graph)):
        (folder / f"{name}.pbtxt").write_text(text)
    return explain(folder / "graph.pbtxt")


def keys(drawing: Drawing, look: Look) -> set[str]:
    return {item.key for item in drawing.items if item.look is look}


def test_subgraphs_are_expanded_and_every_node_knows_its_own(tmp_path: Path) -> None:
    graph = explained(tmp_path, LOOP)
    paths = {node.name: [use.graph_type for use in node.within] for node in graph.nodes}
    assert paths == {
        "branch__leaf__PassThroughCalculator_1": ["Branch", "Leaf"],
        "branch__leaf__PassThroughCalculator_2": ["Branch", "Leaf"],
        "branch__other__PassThroughCalculator_1": ["Branch", "Leaf"],
        "branch__other__PassThroughCalculator_2": ["Branch", "Leaf"],
        "branch__MergeCalculator": ["Branch"],
        "limiter": [],
        "PassThroughCalculator": [],
    }
    assert {node.short_name for node in graph.nodes} == {
        "PassThroughCalculator_1",
        "PassThroughCalculator_2",
        "MergeCalculator",
        "limiter",
        "PassThroughCalculator",
    }


def test_queues_policies_executors_and_back_edges_are_told(tmp_path: Path) -> None:
    graph = explained(tmp_path, LOOP)
    assert graph.max_queue_size == 7
    (limiter,) = (node for node in graph.nodes if node.name == "limiter")
    assert limiter.policy == "ImmediateInputStreamHandler"
    assert limiter.executor == "mine"
    assert limiter.max_in_flight == 1
    assert limiter.place == "graph.pbtxt:7"
    assert [(port.label, port.is_back_edge) for port in limiter.inputs] == [
        ("grown", False),
        ("FINISHED:out", True),
    ]


def test_models_and_what_they_say_of_streams_are_told(tmp_path: Path) -> None:
    tiny.save(tmp_path / "adder" / "1", tiny.add_one())
    (tmp_path / "subconfig.json").write_text(
        '{"model_config_list": [{"config": {"name": "adder", "base_path": "adder"}}]}'
    )
    graph = explained(tmp_path, MODEL)
    assert [node.model for node in graph.nodes] == ["adder", "adder"]
    (port,) = graph.inputs
    assert port.tensor is not None
    assert (port.tensor.datatype, port.tensor.shape) == ("FP32", (1, 10))


def test_a_node_that_cannot_be_loaded_is_a_problem_of_that_node(tmp_path: Path) -> None:
    session, inference = explained(tmp_path, MODEL).nodes
    assert 'model "adder": there is no such model' in session.problem
    assert inference.problem == inference.model == ""


def test_what_is_wrong_in_the_pbtxt_is_an_error_with_its_place(tmp_path: Path) -> None:
    with pytest.raises(GraphError, match=r"graph.pbtxt:6: .*NoSuchCalculator"):
        explained(tmp_path, LOOP.replace('"Branch"', '"NoSuchCalculator"'))


def test_a_folded_subgraph_is_one_box_with_what_passes_its_border(
    tmp_path: Path,
) -> None:
    drawing = drawing_of(explained(tmp_path, LOOP))
    (folded,) = (item for item in drawing.items if item.look is Look.FOLDED)
    assert folded.lines == ("Branch", "5 nodes")
    assert len(keys(drawing, Look.NODE)) == 2
    assert keys(drawing, Look.STREAM) == {"stream:grown", "stream:limited"}
    assert {(link.source, link.target) for link in drawing.links} >= {
        ("stream:in", folded.key),
        (folded.key, "stream:grown"),
    }
    assert [link.source for link in drawing.links if link.is_back] == ["stream:out"]


def test_an_expanded_subgraph_is_a_group_of_its_nodes(tmp_path: Path) -> None:
    drawing = drawing_of(explained(tmp_path, LOOP), expand=True)
    items = {item.key: item for item in drawing.items}
    groups = keys(drawing, Look.GROUP)
    assert groups == {
        "subgraph:branch__",
        "subgraph:branch__leaf__",
        "subgraph:branch__other__",
    }
    assert items["subgraph:branch__other__"].lines == ("other: Leaf",)
    assert items["subgraph:branch__other__"].inside == "subgraph:branch__"
    assert len(keys(drawing, Look.NODE)) == 7
    assert items["stream:branch__other__a"].inside == "subgraph:branch__other__"
    assert items["stream:branch__other__a"].lines == ("a",)
    assert items["stream:branch__left"].inside == "subgraph:branch__"


def test_a_graph_of_170_nodes_has_a_picture_of_each(tmp_path: Path) -> None:
    uses = "".join(
        f'node {{ calculator: "Branch" input_stream: "s{n}" output_stream: "s{n + 1}" }}'
        for n in range(34)
    )
    text = f'input_stream: "s0" output_stream: "s34" {uses}'
    graph = explained(tmp_path, text)
    assert len(graph.nodes) == 170
    picture = lay_out(drawing_of(graph, expand=True))
    shown = [each for each in picture.items if each.item.look is Look.NODE]
    assert len(shown) == 170
    assert all(each.depth in {1, 2} for each in shown)
    folded = lay_out(drawing_of(graph))
    assert sum(each.item.look is Look.FOLDED for each in folded.items) == 34
    assert len(folded.items) == 34 + 35


def test_the_picture_of_the_docs_is_the_graph_of_the_demo() -> None:
    root = Path(__file__).parents[2]
    graph = explain(root / "graphs" / "people_tracking" / "graph.pbtxt")
    svg = ET.parse(root / "docs" / "images" / "people_tracking.svg").getroot()
    shown = {group.get("data-key") for group in svg.iter(f"{SVG}g")}
    assert shown == {item.key for item in drawing_of(graph).items}
