"""A graph is loaded from a file with what it names: neighbours, models, services."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ovms_mp import FunctionModel, Graph, GraphError
from ovms_mp.calculator import Calculator, Context, Input, Output
from tests.unit.inference import tiny

GRAPH = """
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


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tiny.save(tmp_path / "models" / "adder" / "1", tiny.add_one())
    entry = {"config": {"name": "adder", "base_path": "models/adder"}}
    config = json.dumps({"model_config_list": [entry]})
    (tmp_path / "config.json").write_text(config, encoding="utf-8")
    (tmp_path / "graph.pbtxt").write_text(GRAPH, encoding="utf-8")
    return tmp_path


class _Theirs:
    """Models that the caller has."""

    def session(self, name: str, version: str) -> Any:
        assert (name, version) == ("adder", "")
        return FunctionModel(lambda given: {"y": given["x"] + 1})


def answer(graph: Graph) -> list[float]:
    with graph, graph.run() as run:
        run.feed("in", np.zeros((1, 10), np.float32), at=0)
        run.wait_idle(timeout=30)
        (packet,) = run.take("out")
    return packet.payload.ravel().tolist()


@pytest.mark.parametrize(
    "models",
    [
        pytest.param(lambda folder: folder / "config.json", id="a config"),
        pytest.param(lambda folder: folder, id="a folder with a config"),
        pytest.param(lambda folder: folder / "models", id="a folder of models"),
        pytest.param(
            lambda folder: {"adder": folder / "models" / "adder"}, id="a path"
        ),
        pytest.param(
            lambda _: {"adder": _Theirs().session("adder", "")}, id="an object"
        ),
        pytest.param(lambda _: _Theirs(), id="who has them"),
    ],
)
def test_models_come_from_files_or_are_given(folder: Path, models: Any) -> None:
    assert answer(Graph.load(folder / "graph.pbtxt", models=models(folder))) == [1] * 10


def test_without_a_word_the_models_are_those_of_the_subconfig(folder: Path) -> None:
    (folder / "config.json").rename(folder / "subconfig.json")
    assert answer(Graph.load(str(folder / "graph.pbtxt"))) == [1] * 10


def test_a_model_that_is_not_there_is_named_with_the_line(folder: Path) -> None:
    with pytest.raises(GraphError, match=r"graph\.pbtxt:4: .*\"adder\"") as caught:
        Graph.load(folder / "graph.pbtxt", models={})
    assert caught.value.text.count("\n") < 3


def test_subgraphs_beside_the_file_are_found_and_its_files_elsewhere_if_told(
    folder: Path,
) -> None:
    (folder / "adding.pbtxt").write_text(
        GRAPH.replace("\ninput", '\ntype: "Adding"\ninput', 1), encoding="utf-8"
    )
    (folder / "graph.pbtxt").write_text(
        """
        input_stream: "in"
        output_stream: "out"
        node { calculator: "Adding" input_stream: "OVTENSOR:in" output_stream: "OVTENSOR:out" }
        """,
        encoding="utf-8",
    )
    elsewhere = folder / "elsewhere"
    graph = Graph.load(folder / "graph.pbtxt", models=folder, base_path=elsewhere)
    assert {node.info.base_path for node in graph.definition.nodes} == {elsewhere}
    assert answer(graph) == [1] * 10


class Clock:
    """A service of the caller's."""

    def __init__(self, hour: int) -> None:
        self.hour = hour


class _Tells(Calculator):
    value = Input(int)
    hour = Output(int)

    def process(self, ctx: Context) -> None:
        ctx.send(self.hour, self.node.services.get(Clock).hour)


def test_calculators_find_the_services_that_the_caller_gives() -> None:
    text = """
    input_stream: "in" output_stream: "out"
    node { calculator: "Tells" input_stream: "in" output_stream: "out" }
    """
    calculators = {"Tells": _Tells}
    with Graph.parse(
        text, calculators=calculators, services={Clock: Clock(7)}
    ) as graph:
        assert [each.outputs for each in graph.stream({"in": [0]})] == [{"out": 7}]
    with (
        Graph.parse(text, calculators=calculators) as graph,
        pytest.raises(GraphError, match="runs without the service Clock"),
    ):
        list(graph.stream({"in": [0]}))
