"""Calculators that mediapipe's wheel has, too, give what they give there."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from typing import Any

import pytest

from tests.unit.calculators.support import GraphOf

pytestmark = pytest.mark.skipif(
    find_spec("mediapipe") is None, reason="needs mediapipe"
)

# Runs each scenario of its input, and prints in a line what came out, by streams.
NATIVE = """
import json, sys
from mediapipe.python import packet_creator as create, packet_getter as get
from mediapipe.python._framework_bindings import calculator_graph

def run(scenario):
    graph = calculator_graph.CalculatorGraph(graph_config=scenario["pbtxt"])
    found = {name: [] for name in scenario["outputs"]}
    def observe(name, kind):
        read = getattr(get, "get_" + kind)
        def see(stream, packet):
            value = read(packet)
            is_one = isinstance(value, (bool, int, float, str))
            found[name].append([packet.timestamp.value, value if is_one else list(value)])
        graph.observe_output_stream(name, see)
    for name, kind in scenario["outputs"].items():
        observe(name, kind)
    try:
        graph.start_run({})
        for stream, kind, value, at in scenario["events"]:
            packet = getattr(create, "create_" + kind)(value).at(at)
            graph.add_packet_to_input_stream(stream, packet)
            graph.wait_until_idle()
        graph.close_all_packet_sources()
        graph.wait_until_done()
    except Exception:
        return {"found": found, "error": True}
    return {"found": found, "error": False}

for scenario in json.load(sys.stdin):
    print(json.dumps(run(scenario)))
"""


@dataclass(frozen=True)
class Scenario:
    name: str
    pbtxt: str
    outputs: dict[str, str]
    events: list[tuple[str, str, Any, int]] = field(default_factory=list)


def ours(scenario: Scenario) -> dict[str, Any]:
    graph = GraphOf(scenario.pbtxt)
    graph.start()
    for stream, _, value, at in scenario.events:
        graph.feed(stream, value, at)
    graph.close()
    found = {
        name: [[packet.timestamp, packet.payload] for packet in packets]
        for name, packets in graph.outputs.items()
    }
    return {"found": found, "error": graph.error is not None}


def split(options: str, *outputs: str) -> str:
    streams = " ".join(f'output_stream: "{each}"' for each in outputs)
    return f"""
        input_stream: "in" {streams}
        node {{ calculator: "SplitFloatVectorCalculator" input_stream: "in" {streams}
               options {{ [mediapipe.SplitVectorCalculatorOptions.ext] {{ {options} }} }} }}
    """


def switch(calculator: str, inputs: list[str], outputs: list[str]) -> str:
    def named(kind: str, streams: list[str]) -> str:
        return " ".join(f'{kind}: "{each}"' for each in streams)

    return f"""
        {named("input_stream", [each.split(":")[1] for each in inputs])}
        {named("output_stream", [each.split(":")[1] for each in outputs])}
        node {{ calculator: "{calculator}"
               {named("input_stream", inputs)} {named("output_stream", outputs)} }}
    """


LOOP = """
    input_stream: "items" input_stream: "word"
    output_stream: "item" output_stream: "clone"
    node { calculator: "BeginLoopIntCalculator"
           input_stream: "ITERABLE:items" input_stream: "CLONE:word"
           output_stream: "ITEM:item" output_stream: "CLONE:clone"
           output_stream: "BATCH_END:end" }
"""
ROUND_TRIP = """
    input_stream: "items" output_stream: "together"
    node { calculator: "BeginLoopFloatCalculator" input_stream: "ITERABLE:items"
           output_stream: "ITEM:item" output_stream: "BATCH_END:end" }
    node { calculator: "EndLoopFloatCalculator" input_stream: "ITEM:item"
           input_stream: "BATCH_END:end" output_stream: "ITERABLE:together" }
"""
JOIN = """
    input_stream: "a" input_stream: "b" output_stream: "out"
    node { calculator: "ConcatenateFloatVectorCalculator"
           input_stream: "a" input_stream: "b" output_stream: "out"
           options { [mediapipe.ConcatenateVectorCalculatorOptions.ext] {
             only_emit_if_all_present: %s } } }
"""
CONSTANT = """
    output_stream: "out" %s
    node { calculator: "ConstantSidePacketCalculator"
           output_side_packet: "PACKET:value"
           options { [mediapipe.ConstantSidePacketCalculatorOptions.ext] {
             packet { %s } } } }
    node { calculator: "SidePacketToStreamCalculator" input_side_packet: "value"
           output_stream: "%s:out" %s }
"""
TICK = 'input_stream: "tick"'
MUX = switch(
    "SwitchMuxCalculator",
    ["SELECT:select", "C0__FRAME:frame_0", "C1__FRAME:frame_1"],
    ["FRAME:frame"],
)
DEMUX = switch(
    "SwitchDemuxCalculator",
    ["SELECT:select", "FRAME:frame"],
    ["C0__FRAME:frame_0", "C1__FRAME:frame_1"],
)
FLOATS = {"out": "float_list"}

SCENARIOS = [
    Scenario(
        "a loop with clones, an empty list and a list without a word",
        LOOP,
        {"item": "int", "clone": "str"},
        [
            ("items", "int_vector", [1, 2, 3], 5),
            ("word", "string", "a", 5),
            ("items", "int_vector", [], 6),
            ("word", "string", "b", 6),
            ("word", "string", "c", 7),
            ("items", "int_vector", [4], 8),
            ("word", "string", "d", 9),
            ("items", "int_vector", [5], 9),
        ],
    ),
    Scenario(
        "lists that are taken apart and put together",
        ROUND_TRIP,
        {"together": "float_list"},
        [
            ("items", "float_vector", [1.0, 2.0], 1),
            ("items", "float_vector", [], 2),
            ("items", "float_vector", [3.0], 3),
        ],
    ),
    Scenario(
        "two ranges",
        split("ranges { begin: 0 end: 2 } ranges { begin: 1 end: 3 }", "a", "b"),
        {"a": "float_list", "b": "float_list"},
        [("in", "float_vector", [1.0, 2.0, 3.0], 4)],
    ),
    Scenario(
        "elements only",
        split(
            "ranges { begin: 0 end: 1 } ranges { begin: 2 end: 3 } element_only: true",
            "a",
            "b",
        ),
        {"a": "float", "b": "float"},
        [("in", "float_vector", [1.0, 2.0, 3.0], 4)],
    ),
    Scenario(
        "combined ranges",
        split(
            "ranges { begin: 2 end: 3 } ranges { begin: 0 end: 1 } combine_outputs: true",
            "a",
        ),
        {"a": "float_list"},
        [("in", "float_vector", [1.0, 2.0, 3.0], 4)],
    ),
    Scenario(
        "a list that is too short",
        split("ranges { begin: 0 end: 4 }", "a"),
        {"a": "float_list"},
        [("in", "float_vector", [1.0, 2.0, 3.0], 4)],
    ),
    *(
        Scenario(
            f"lists and single numbers joined, all of them: {all_of_them}",
            JOIN % all_of_them,
            FLOATS,
            [
                ("a", "float_vector", [1.0, 2.0], 1),
                ("b", "float", 3.0, 1),
                ("a", "float", 4.0, 2),
                ("b", "float_vector", [], 3),
            ],
        )
        for all_of_them in ("false", "true")
    ),
    *(
        Scenario(
            f"a constant {value} {tag}",
            CONSTANT % (extra, value, tag, extra and 'input_stream: "TICK:tick"'),
            {"out": kind},
            [("tick", "int", 0, 3), ("tick", "int", 0, 8)] if extra else [],
        )
        for value, kind, tag, extra in (
            ("int_value: 256", "int", "AT_PRESTREAM", ""),
            ("float_value: 0.5", "float", "AT_ZERO", ""),
            ('string_value: "str"', "str", "AT_POSTSTREAM", ""),
            ("bool_value: true", "bool", "AT_TICK", TICK),
            (
                "string_vector_value { string_value: 'a' string_value: 'b' }",
                "str_list",
                "AT_FIRST_TICK",
                TICK,
            ),
        )
    ),
    Scenario(
        "channels are chosen before their packets come",
        MUX,
        {"frame": "str"},
        [
            ("select", "int", 0, 1),
            ("select", "int", 0, 10),
            ("select", "int", 1, 11),
            ("select", "int", 1, 20),
            ("frame_0", "string", "p0_t10", 10),
            ("frame_1", "string", "p1_t20", 20),
            ("frame_0", "string", "p0_t30", 30),
            ("select", "int", 0, 30),
        ],
    ),
    Scenario(
        "channels are chosen after their packets came",
        MUX,
        {"frame": "str"},
        [
            ("frame_0", "string", "p0_t10", 10),
            ("frame_1", "string", "p1_t20", 20),
            ("frame_0", "string", "p0_t30", 30),
            ("select", "int", 0, 1),
            ("select", "int", 1, 11),
            ("select", "int", 1, 20),
            ("select", "int", 0, 21),
            ("select", "int", 0, 30),
        ],
    ),
    Scenario(
        "packets wait for their channel, and too late ones are dropped",
        DEMUX,
        {"frame_0": "str", "frame_1": "str"},
        [
            ("select", "int", 0, 1),
            ("frame", "string", "t5", 5),
            ("select", "int", 0, 10),
            ("frame", "string", "t10", 10),
            ("select", "int", 1, 20),
            ("frame", "string", "t15", 15),
            ("frame", "string", "t20", 20),
            ("frame", "string", "t30", 30),
        ],
    ),
]


@pytest.fixture(scope="module")
def native() -> dict[str, Any]:
    """What mediapipe makes of the scenarios, by their names; in a child process, because
    it ends the process it is in when it likes.
    """
    given = json.dumps([asdict(each) for each in SCENARIOS]).encode()
    command = [sys.executable, "-c", NATIVE]
    ended = subprocess.run(command, input=given, capture_output=True, check=True)
    names = [each.name for each in SCENARIOS]
    return dict(zip(names, map(json.loads, ended.stdout.splitlines()), strict=True))


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda each: each.name)
def test_the_same_comes_out_as_of_the_native_runtime(
    scenario: Scenario, native: dict[str, Any]
):
    assert ours(scenario) == native[scenario.name]
