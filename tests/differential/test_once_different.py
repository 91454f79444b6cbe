"""Graphs in which the two runtimes once differed, made as small as the difference allows."""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

import pytest

from tests.differential.comparison import compare
from tests.differential.oracle import Oracle

FIXED: Final = (
    'input_stream_handler { input_stream_handler: "FixedSizeInputStreamHandler" options '
    "{ [mediapipe.FixedSizeInputStreamHandlerOptions.ext] "
    "{ trigger_queue_size: 4 target_queue_size: 2 } } }"
)

ITEMS_INTO_A_SHORT_QUEUE: Final = f"""
input_stream: "in"
node {{
  calculator: "BeginLoopIntCalculator"
  input_stream: "ITERABLE:in" output_stream: "ITEM:item" output_stream: "BATCH_END:end"
}}
node {{ calculator: "MergeCalculator" input_stream: "item" output_stream: "out" {FIXED} }}
"""

A_LOOP_THAT_ENDS_BEHIND_THE_NODE: Final = """
input_stream: "in"
node {
  calculator: "PreviousLoopbackCalculator"
  input_stream: "MAIN:in" input_stream: "LOOP:loop"
  input_stream_info { tag_index: "LOOP" back_edge: true }
  output_stream: "PREV_LOOP:previous"
}
node {
  calculator: "SidePacketToStreamCalculator"
  input_side_packet: "number"
  input_stream: "TICK:previous" output_stream: "AT_TICK:loop"
}
node {
  calculator: "PacketPresenceCalculator"
  input_stream: "PACKET:loop" output_stream: "PRESENCE:presence"
}
"""

A_TICK_BEFORE_ALL: Final = """
input_stream: "in"
node {
  calculator: "SidePacketToStreamCalculator"
  input_side_packet: "number" output_stream: "AT_PRESTREAM:tick"
}
node {
  calculator: "PacketSequencerCalculator"
  input_stream: "INPUT:in" input_stream: "TICK:tick" output_stream: "OUTPUT:out"
}
"""


A_BATCH_AND_WHO_SEES_ITS_BOUNDS: Final = """
input_stream: "in" input_stream: "in_too"
node {
  calculator: "PassThroughCalculator"
  input_stream: "in" input_stream: "in_too"
  output_stream: "out" output_stream: "out_too"
  input_stream_handler {
    input_stream_handler: "DefaultInputStreamHandler"
    options { [mediapipe.DefaultInputStreamHandlerOptions.ext] { batch_size: 3 } }
  }
}
node {
  calculator: "PacketPresenceCalculator"
  input_stream: "PACKET:out" output_stream: "PRESENCE:presence"
}
"""


A_CALL_BEFORE_ALL_OF_SEVERAL: Final = """
input_stream: "in"
node {
  calculator: "SidePacketToStreamCalculator"
  input_side_packet: "number" output_stream: "AT_PRESTREAM:before"
}
node {
  calculator: "PassThroughCalculator"
  input_stream: "before" input_stream: "in"
  output_stream: "out" output_stream: "out_too"
  max_in_flight: 2
}
"""


@pytest.mark.parametrize("has_bounds", [False, True])
@pytest.mark.parametrize(
    ("pbtxt", "types", "steps"),
    [
        pytest.param(
            ITEMS_INTO_A_SHORT_QUEUE,
            {"in": "ints", "item": "int", "out": "int"},
            [[["packet", "in", 0, [1, 2, 3, 4, 5]]]],
            id="packets that are sent together enter a queue together",
        ),
        pytest.param(
            A_LOOP_THAT_ENDS_BEHIND_THE_NODE,
            {"in": "int", "previous": "int", "loop": "int", "presence": "bool"},
            [[["packet", "in", at, 1] for at in (5, 6, 12)]],
            id="what a call brings about comes before the node's next call",
        ),
        pytest.param(
            A_TICK_BEFORE_ALL,
            {"in": "int", "tick": "int", "out": "int"},
            [[["packet", "in", "MAX", 1]], [["close", "in"]]],
            id="a tick before all is one at the beginning",
        ),
        pytest.param(
            A_BATCH_AND_WHO_SEES_ITS_BOUNDS,
            {
                "in": "int",
                "in_too": "int",
                "out": "int",
                "out_too": "int",
                "presence": "bool",
            },
            [
                [["packet", "in", 1, 1], ["packet", "in_too", 2, 2]],
                [["packet", "in", 3, 3], ["close", "in"]],
                [["empty", "in_too", 6]],
            ],
            id="the calls of a batch follow each other",
        ),
        pytest.param(
            A_BATCH_AND_WHO_SEES_ITS_BOUNDS,
            {
                "in": "int",
                "in_too": "int",
                "out": "int",
                "out_too": "int",
                "presence": "bool",
            },
            [
                [["packet", "in", -1, 1], ["packet", "in_too", 1, 2]],
                [["close", "in"]],
                [["close", "in_too"]],
            ],
            id="the close that ends a batch follows it",
        ),
        pytest.param(
            A_CALL_BEFORE_ALL_OF_SEVERAL,
            {"in": "int", "before": "int", "out": "int", "out_too": "int"},
            [[["empty", "in", 0]], [["empty", "in", 4]], [["packet", "in", 7, 1]]],
            id="a call before all carries no bound on while others may be in flight",
        ),
    ],
)
def test_the_two_do_the_same(
    oracle: Oracle,
    pbtxt: str,
    types: dict[str, str],
    steps: list[list[list[Any]]],
    *,
    has_bounds: bool,
) -> None:
    case = {
        "pbtxt": f'executor {{ type: "ApplicationThreadExecutor" }}\n{pbtxt}',
        "types": types,
        "inputs": [name for name in types if name.startswith("in")],
        "observed": [name for name in types if not name.startswith("in")],
        "bounds": has_bounds,
        "side": {"number": ["int", 7]},
        "steps": steps,
        "used": [],
    }
    statistics: Counter[str] = Counter()
    compare(oracle, case, statistics)
    assert statistics["packets compared"]
