"""What stands in a graph for all of its nodes, or comes from a SwitchContainer, does what
it does in MediaPipe: the random graphs say such things of single nodes only.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

import pytest

from tests.differential.comparison import compare
from tests.differential.oracle import Oracle

NODES: Final = """
input_stream: "in" input_stream: "in_too"
node {
  calculator: "PassThroughCalculator"
  input_stream: "in" input_stream: "in_too"
  output_stream: "a" output_stream: "b"
}
node { calculator: "MergeCalculator" input_stream: "a" input_stream: "b" output_stream: "m" }
"""

LIMITED: Final = """
input_stream: "in" input_stream: "in_too"
node {
  calculator: "FlowLimiterCalculator"
  input_stream: "in" input_stream: "FINISHED:b"
  input_stream_info { tag_index: "FINISHED" back_edge: true }
  output_stream: "a"
}
node {
  calculator: "PassThroughCalculator"
  input_stream: "a" input_stream: "in_too"
  output_stream: "b" output_stream: "m"
}
"""

SWITCHED: Final = """
input_stream: "in" input_stream: "in_too"
node {
  calculator: "SwitchContainer"
  input_stream: "in" input_stream: "in_too"
  output_stream: "a" output_stream: "b"
  options { [mediapipe.SwitchContainerOptions.ext] {
    contained_node { calculator: "PassThroughCalculator" }
    contained_node { calculator: "PassThroughCalculator" }
    enable: true
  } }
}
node { calculator: "MergeCalculator" input_stream: "a" input_stream: "b" output_stream: "m" }
"""

APART: Final = [
    [["packet", "in", 1, 1]],
    [["packet", "in", 3, 3]],
    [["packet", "in_too", 2, 2]],
    [["packet", "in_too", 5, 5]],
    [["packet", "in", 7, 7]],
    [["close", "in"]],
    [["packet", "in_too", 9, 9]],
]
TOGETHER: Final = [
    *([["packet", "in", at, at], ["packet", "in_too", at, at]] for at in range(5)),
    [["empty", "in", 9]],
    [["packet", "in_too", 9, 9]],
    [["packet", "in", "POSTSTREAM", 1]],
]


def handler(name: str, options: str = "") -> str:
    body = f"options {{ [mediapipe.{name}Options.ext] {{ {options} }} }}"
    return (
        f'input_stream_handler {{ input_stream_handler: "{name}" '
        f"{body if options else ''} }}\n"
    )


def compared(
    oracle: Oracle, graph: str, steps: list[list[list[Any]]], *, has_bounds: bool
) -> Counter[str]:
    case = {
        "pbtxt": f'executor {{ type: "ApplicationThreadExecutor" }}\n{graph}',
        "types": dict.fromkeys(("in", "in_too", "a", "b", "m"), "int"),
        "inputs": ["in", "in_too"],
        "observed": ["a", "b", "m"],
        "bounds": has_bounds,
        "side": {},
        "steps": steps,
        "used": [],
    }
    statistics: Counter[str] = Counter()
    compare(oracle, case, statistics)
    return statistics


@pytest.mark.parametrize("has_bounds", [False, True])
@pytest.mark.parametrize(
    "steps",
    [pytest.param(APART, id="apart"), pytest.param(TOGETHER, id="together")],
)
@pytest.mark.parametrize(
    "graph",
    [
        pytest.param(handler("DefaultInputStreamHandler") + NODES, id="default"),
        pytest.param(
            handler("DefaultInputStreamHandler", "batch_size: 2") + NODES, id="batches"
        ),
        pytest.param(handler("FixedSizeInputStreamHandler") + NODES, id="fixed size"),
        pytest.param(
            handler(
                "FixedSizeInputStreamHandler",
                "trigger_queue_size: 2 target_queue_size: 1 fixed_min_size: true",
            )
            + NODES,
            id="fixed size with options",
        ),
        pytest.param(f"max_queue_size: -1 {NODES}", id="no limit"),
        pytest.param(SWITCHED, id="a switch of streams without a tag"),
    ],
)
def test_the_two_do_the_same(
    oracle: Oracle, graph: str, steps: list[list[list[Any]]], *, has_bounds: bool
) -> None:
    statistics = compared(oracle, graph, steps, has_bounds=has_bounds)
    assert statistics["packets compared"]
    assert not statistics["MediaPipe died or hung"]


def test_the_handler_of_a_graph_goes_before_what_a_calculator_chooses(
    oracle: Oracle,
) -> None:
    """A limiter that waits for FINISHED before anything can finish lets nothing pass."""
    graph = handler("FixedSizeInputStreamHandler") + LIMITED
    statistics = compared(oracle, graph, APART, has_bounds=True)
    assert not statistics["packets compared"]
    assert not statistics["MediaPipe died or hung"]
    assert compared(oracle, LIMITED, APART, has_bounds=True)["packets compared"]
