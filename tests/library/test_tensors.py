"""What is known of one stream is known of those that carry the same tensors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ovms_mp import FunctionModel, Graph, GraphError
from ovms_mp.calculator import (
    Calculator,
    Context,
    InferenceSession,
    Input,
    NodeInfo,
    Output,
    TensorInfo,
)
from ovms_mp.library.tensors import known_tensors


class Rows(Calculator):
    """Makes rows, of a length that its node's name ends with."""

    value = Input(object)
    rows = Output(np.ndarray)

    @classmethod
    def known_tensors(
        cls, node: NodeInfo, shared: Any, sessions: Mapping[str, InferenceSession]
    ) -> Mapping[str, TensorInfo]:
        (port,) = node.outputs
        length = int(node.name.rpartition("_")[2])
        return {port.name: TensorInfo(port.name, "FP32", (-1, length))}

    def process(self, ctx: Context) -> None:
        raise NotImplementedError


class Nothing(Calculator):
    """Knows nothing."""

    value = Input(object)
    out = Output(object)

    def process(self, ctx: Context) -> None:
        raise NotImplementedError


MODEL = FunctionModel(
    lambda tensors: tensors,
    name="model",
    inputs=[TensorInfo("x", "FP32", (1, 10))],
    outputs=[TensorInfo("y:0", "INT64", (-1, 3), aliases=("y", "z"))],
)
INFERENCE = """
node {
  calculator: "OpenVINOModelServerSessionCalculator"
  output_side_packet: "SESSION:session"
  node_options: {
    [type.googleapis.com/mediapipe.OpenVINOModelServerSessionCalculatorOptions]: {
      servable_name: "model"
    }
  }
}
node {
  calculator: "OpenVINOInferenceCalculator"
  input_side_packet: "SESSION:session"
  input_stream: "x:SOURCE"
  output_stream: "z:made"
}
"""


def node(calculator: str, *lines: str) -> str:
    return f'node {{ calculator: "{calculator}" {" ".join(lines)} }}'


def known(text: str) -> Mapping[str, tuple[str, tuple[int, ...]]]:
    calculators = {"Rows": Rows, "Nothing": Nothing}
    with Graph.parse(text, models={"model": MODEL}, calculators=calculators) as graph:
        found = known_tensors(graph.definition)
    return {name: (info.datatype, info.shape) for name, info in found.items()}


IN, OUT = 'input_stream: "a"', 'output_stream: "out"'
PASSING = [
    node("PassThroughCalculator", IN, OUT),
    node("GateCalculator", IN, 'input_stream: "ALLOW:other"', OUT),
    node("FlowLimiterCalculator", IN, 'input_stream: "FINISHED:other"', OUT),
    node("RealTimeFlowLimiterCalculator", IN, 'input_stream: "FINISHED:other"', OUT),
    node("PacketClonerCalculator", IN, 'input_stream: "TICK:other"', OUT),
    node(
        "PacketSequencerCalculator",
        'input_stream: "INPUT:a" input_stream: "TICK:other" output_stream: "OUTPUT:out"',
    ),
    node("PacketInnerJoinCalculator", IN, OUT),
    node("RoundRobinDemuxCalculator", IN, 'output_stream: "OUTPUT:out"'),
    node("ImmediateMuxCalculator", IN, OUT),
    node("MergeCalculator", IN, OUT),
    node(
        "MuxCalculator",
        'input_stream: "INPUT:a" input_stream: "SELECT:other"',
        'output_stream: "OUTPUT:out"',
    ),
    node(
        "PreviousLoopbackCalculator",
        'input_stream: "LOOP:a" input_stream: "MAIN:other"',
        'output_stream: "PREV_LOOP:out"',
    ),
]


@pytest.mark.parametrize("passing", PASSING, ids=lambda text: text.split('"')[1])
def test_nodes_that_pass_tensors_on_pass_on_what_is_known(passing: str) -> None:
    start = 'input_stream: "in" input_stream: "other" output_stream: "out"'
    first = node("Rows", 'name: "rows_7" input_stream: "in" output_stream: "a"')
    assert known(f"{start} {first} {passing}")["out"] == ("FP32", (-1, 7))


def test_what_a_model_takes_is_known_of_what_leads_to_it_and_by_any_alias() -> None:
    text = f"""
      input_stream: "in" output_stream: "out"
      {node("PassThroughCalculator", 'input_stream: "in"', 'output_stream: "between"')}
      {INFERENCE.replace("x:SOURCE", "X:between").replace("z:made", "Z:made")}
      {node("PassThroughCalculator", 'input_stream: "made"', OUT)}
    """.replace(
        'output_stream: "Z:made"',
        """output_stream: "Z:made"
        node_options: {
          [type.googleapis.com/mediapipe.OpenVINOInferenceCalculatorOptions]: {
            tag_to_input_tensor_names { key: "X" value: "x" }
            tag_to_output_tensor_names { key: "Z" value: "z" }
          }
        }""",
    )
    found = known(text)
    assert found["in"] == ("FP32", (1, 10))
    assert found["out"] == ("INT64", (-1, 3))


def test_it_is_known_through_subgraphs(tmp_path: Path) -> None:
    (tmp_path / "inner.pbtxt").write_text(
        'type: "Inner" input_stream: "x" output_stream: "y"'
        + node("PassThroughCalculator", 'input_stream: "x"', 'output_stream: "y"')
    )
    (tmp_path / "graph.pbtxt").write_text(
        'input_stream: "in" output_stream: "out"'
        + node("Rows", 'name: "rows_2" input_stream: "in" output_stream: "a"')
        + node("Inner", IN, OUT)
    )
    with Graph.load(tmp_path / "graph.pbtxt", calculators={"Rows": Rows}) as graph:
        assert known_tensors(graph.definition)["out"].shape == (-1, 2)


MERGED = f"""
  input_stream: "in" output_stream: "out"
  {node("Rows", 'name: "rows_2" input_stream: "in" output_stream: "a"')}
  {node("OTHER", 'name: "rows_3" input_stream: "in" output_stream: "b"')}
  {node("MergeCalculator", IN, 'input_stream: "b"', OUT)}
"""


def test_of_several_that_may_come_it_is_known_what_they_have_in_common() -> None:
    assert known(MERGED.replace("OTHER", "Rows"))["out"] == ("FP32", (-1, -1))


def test_if_one_that_may_come_is_unknown_so_is_what_comes() -> None:
    found = known(MERGED.replace("OTHER", "Nothing"))
    assert "out" not in found
    assert "b" not in found


def test_a_frame_brings_its_channels_from_where_they_are_known() -> None:
    text = f"""
      input_stream: "IMAGE:in" output_stream: "out"
      {
        node(
            "FrameToTensorCalculator",
            'input_stream: "IMAGE:in" output_stream: "OVTENSOR:out"',
            "node_options: { [type.googleapis.com/ovms_mp.FrameToTensorCalculatorOptions]: "
            "{ height: 4 mean: 1 } }",
        )
    }
    """
    assert known(text) == {"out": ("FP32", (1, 4, -1, -1))}


HANDLER = """
class OvmsPythonModel:
    tensors = {TENSORS}
    def execute(self, inputs):
        return inputs
"""
PYTHON = """
input_stream: "OVMS_PY_TENSOR:in" output_stream: "OVMS_PY_TENSOR:out"
node {
  name: "python" calculator: "PythonExecutorCalculator"
  input_side_packet: "PYTHON_NODE_RESOURCES:py"
  input_stream: "IN:in" output_stream: "OUT:out"
  node_options: {
    [type.googleapis.com/mediapipe.PythonExecutorCalculatorOptions]: {
      handler_path: "handler.py" isolation: ISOLATION
    }
  }
}
"""


@pytest.mark.parametrize("isolation", ["IN_PROCESS", "PROCESS"])
def test_a_handler_may_say_what_its_tensors_are(isolation: str, tmp_path: Path) -> None:
    declared = (
        '{"in": ("FP32", [-1, 4]), "out": ["BYTES", (1,)], "other": ("FP32", [])}'
    )
    (tmp_path / "handler.py").write_text(HANDLER.replace("{TENSORS}", declared))
    text = PYTHON.replace("ISOLATION", isolation)
    with Graph.parse(text, base_path=tmp_path) as graph:
        found = known_tensors(graph.definition)
    assert found == {
        "in": TensorInfo("in", "FP32", (-1, 4)),
        "out": TensorInfo("out", "BYTES", (1,)),
    }


@pytest.mark.parametrize(
    "declared", ['["in"]', '{"in": "FP32"}', '{"in": ("FP32", [-2])}', '{1: ("A", [])}']
)
def test_a_handler_that_says_it_wrongly_is_refused(
    declared: str, tmp_path: Path
) -> None:
    (tmp_path / "handler.py").write_text(HANDLER.replace("{TENSORS}", declared))
    with pytest.raises(GraphError, match="tensors"):
        Graph.parse(PYTHON.replace("ISOLATION", "IN_PROCESS"), base_path=tmp_path)
