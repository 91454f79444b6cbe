"""MediaPipe itself, where it is installed, expands containers to the same nodes."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec

import pytest

from ovms_mp.graph import config

# In a process of its own, for it may end that.
NATIVE = """
import json, sys
from google.protobuf import text_format
from mediapipe.framework import calculator_pb2
from mediapipe.python._framework_bindings import calculator_graph
graph = calculator_graph.CalculatorGraph(graph_config=sys.stdin.read())
config = text_format.Parse(graph.text_config, calculator_pb2.CalculatorGraphConfig())
sides = "input_stream", "output_stream", "input_side_packet", "output_side_packet"
print(json.dumps([
    [node.name, node.calculator, *(sorted(getattr(node, side)) for side in sides)]
    for node in config.node
]))
"""

OPTIONS = "mediapipe.SwitchContainerOptions.ext"
PASS = 'contained_node { calculator: "PassThroughCalculator" }'
STREAMS = """
input_stream: "foo" input_stream: "enable" input_stream: "z"
node {
  calculator: "SwitchContainer" input_stream: ["ENABLE:enable", "foo", "z"]
  output_stream: ["bar", "baz"] options { [%s] { %s %s %s } }
}
node { calculator: "PassThroughCalculator" input_stream: "bar" output_stream: "out" }
"""
NESTED = f"""
input_stream: "foo" input_side_packet: "p"
node {{
  name: "My Sw:x.y" calculator: "SwitchContainer" input_stream: "foo"
  input_side_packet: "SELECT:p" output_stream: "bar"
  options {{ [{OPTIONS}] {{
    contained_node {{ name: "n" calculator: "PassThroughCalculator" }}
    contained_node {{ calculator: "SwitchContainer" options {{ [{OPTIONS}] {{ {PASS} }} }} }}
  }} }}
}}
node {{
  calculator: "SwitchContainer" input_stream: "foo" output_stream: "bar2"
  options {{ [{OPTIONS}] {{ {PASS} }} }}
}}
"""


def shown(name: config.StreamName) -> str:
    if not name.tag:
        return name.name
    return (
        f"{name.tag}:{name.index}:{name.name}"
        if name.index
        else f"{name.tag}:{name.name}"
    )


@pytest.mark.skipif(not find_spec("mediapipe"), reason="the extra [native] is missing")
@pytest.mark.parametrize(
    "text",
    [
        *(
            STREAMS % (OPTIONS, PASS, PASS, more)
            for more in (
                "",
                "async_selection: true",
                'tick_input_stream: ":1"',
                "select: 1",
            )
        ),
        NESTED,
    ],
    ids=("plain", "asynchronous", "ticks", "select", "nested"),
)
def test_a_container_becomes_the_nodes_that_mediapipe_makes_of_it(text: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", NATIVE],
        input=text,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    nodes = config.parse(text.encode(), "graph.pbtxt").nodes
    sides = ("inputs", "outputs", "side_inputs", "side_outputs")
    ours = [
        [
            n.name,
            n.calculator,
            *(sorted(map(shown, getattr(n, side))) for side in sides),
        ]
        for n in nodes
    ]
    # MediaPipe gives the order in which they are opened.
    assert sorted(ours) == sorted(json.loads(done.stdout.splitlines()[-1]))
