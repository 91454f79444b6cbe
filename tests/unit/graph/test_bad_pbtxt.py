"""No text, however broken, raises anything but an error of the graph; each class of
MediaPipe's invalid graphs is one with its place, in at most three lines.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ovms_mp.calculator import (
    Calculator,
    Input,
    Output,
    Services,
    SideInput,
    SideOutput,
)
from ovms_mp.core.errors import ServingError
from ovms_mp.graph import builder, config, pbtxt
from ovms_mp.graph.config import GraphConfigError
from ovms_mp.graph.registry import Registry
from tests.unit.graph import plug_in

GRAPHS = sorted(Path(__file__).parents[3].glob("graphs/**/*.pbtxt"))

EVERYTHING = b"""
# OVMS_GRAPH_QUEUE_MAX_SIZE: AUTO
type: "Main"
input_stream: "IN:0:x" input_stream: "y"
output_stream: "OUT:z" input_side_packet: "s" output_side_packet: "t"
executor { name: "pool" type: "ThreadPoolExecutor" }
input_stream_handler { input_stream_handler: "ImmediateInputStreamHandler" }
graph_options { [type.googleapis.com/lights.Chain] { length: 3 } }
node {
  calculator: "Sub" input_stream: "A:x" output_stream: "O:z"
  node_options { [type.googleapis.com/lights.Chain] { length: 4 } }
}
node {
  calculator: "SwitchContainer" input_stream: "SELECT:y" input_stream: "A:x"
  options { [mediapipe.SwitchContainerOptions.ext] {
    contained_node { calculator: "Lamp" } contained_node { calculator: "Sub" }
    tick_input_stream: "A"
  } }
}
node {
  calculator: "Lamp" input_stream: "LOOP:1:z" input_stream: "LOOP:0:x" executor: "pool"
  input_stream_info { tag_index: "LOOP:1" back_edge: true }
  input_stream_handler {
    input_stream_handler: "SyncSetInputStreamHandler"
    options { [mediapipe.SyncSetInputStreamHandlerOptions.ext] {
      sync_set { tag_index: "LOOP:1" } } }
  }
  option_value: "sub/numbers/1:options/length"
  options { [lights.Light.ext] { sub { numbers: [1, 2] } name: "a" } }
}
packet_generator { packet_generator: "Chained" input_side_packet: "s" }
"""
SUB = """
type: "Sub" input_stream: "A:a" input_stream: "B:b" output_stream: "O:o"
node { calculator: "Lamp" input_stream: "a" input_stream: "B:b" output_stream: "o"
  option_value: "numbers:length" node_options { [type.googleapis.com/lights.Light] {} } }
node { calculator: "Chained" }
"""
TEXTS = [EVERYTHING, *(path.read_bytes() for path in GRAPHS)]
TOKENS = [re.findall(rb'"[^"\n]*"|#[^\n]*|[\w./]+|\s+|.', text) for text in TEXTS]


class Beside:
    def find(self, name, options):
        if name != "Sub":
            return None
        return pbtxt.parse(SUB.encode(), "sub.pbtxt", options)


def parse(data):
    return config.parse(
        data, "graph.pbtxt", options=plug_in.options, subgraphs=Beside()
    )


def judged(data):
    """None, or the text of the error, which is the only kind that may come."""
    try:
        parse(data)
    except GraphConfigError as error:
        text = error.details
    else:
        return None
    assert re.match(r"(graph|sub)\.pbtxt:[0-9]+: ", text), text
    assert text.count("\n") < 3
    assert len(text) < 2_000
    return text


@pytest.mark.parametrize("number", range(len(TEXTS)))
def test_the_texts_that_are_mutated_are_valid(number):
    assert judged(TEXTS[number]) is None


@st.composite
def mutated(draw):
    number = draw(st.integers(0, len(TOKENS) - 1))
    tokens = list(TOKENS[number])
    for _ in range(draw(st.integers(1, 4))):
        if not tokens:
            break
        at = draw(st.integers(0, len(tokens) - 1))
        other = draw(st.integers(0, len(tokens) - 1))
        match draw(st.integers(0, 5)):
            case 0:
                del tokens[at]
            case 1:
                tokens.insert(at, tokens[other])
            case 2:
                tokens[at], tokens[other] = tokens[other], tokens[at]
            case 3:
                tokens[at] = draw(st.binary(max_size=4))
            case 4:
                tokens[at] = tokens[other]
            case _:
                strange = [
                    b"-1",
                    b"0",
                    b"1e999",
                    b"{",
                    b"}",
                    b"[",
                    b'"',
                    b"99999999999",
                ]
                tokens[at] = draw(st.sampled_from(strange))
    return b"".join(tokens)


@settings(max_examples=300, deadline=None)
@given(mutated())
def test_a_mutated_graph_is_read_or_refused(data):
    judged(data)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data):
    judged(data)


@pytest.mark.parametrize(
    "text",
    [
        "node { " * 100_000,
        "node: [ " * 100_000,
        "node [[" * 100_000,
        "[" * 100_000,
        'node { calculator: "C" options { ' + "[a.b] { " * 1_000,
        "node { options { [mediapipe.SwitchContainerOptions.ext] { contained_node { "
        * 300,
        'input_stream: "' + "a" * 1_000_000,
        'node { calculator: "' + "x" * 1_000_000 + '" nonsense: 1 }',
        'node { calculator: "C" ' + "y" * 1_000_000 + ": 1 }",
        '"' * 100_001,
    ],
    ids=range(10),
)
def test_deep_and_long_texts_end_in_an_error(text):
    assert judged(text.encode()) is not None


class Takes(Calculator):
    a = Input(int, tag="A")
    b = Input(int, tag="B", optional=True)
    out = Output(int, tag="OUT")
    side = SideInput(int, tag="SIDE", optional=True)

    def process(self, ctx):
        """Nothing."""


class Needs(Calculator):
    side = SideInput(int, tag="SIDE")
    x = Input(int)

    def process(self, ctx):
        """Nothing."""


class Makes(Calculator):
    out = Output(int, tag="OUT", optional=True)
    side = SideOutput(int, tag="SIDE", optional=True)

    def process(self, ctx):
        """Nothing."""


def loaded(text, sub=""):
    registry = Registry()
    for each in (Takes, Needs, Makes):
        registry.add(each.__name__, each, "the tests")

    class One:
        def find(self, name, options):
            return (
                pbtxt.parse(sub.encode(), "sub.pbtxt", options)
                if name == "Sub"
                else None
            )

    parsed = config.parse(text.encode(), "graph.pbtxt", subgraphs=One())
    return builder.load(parsed, registry, Path(), Services())


@pytest.mark.parametrize(
    ("text", "place", "problem"),
    [
        (
            'node {\n calculator: "Takes" output_stream: "OUT:o" }',
            "graph.pbtxt:1: ",
            "A is missing",
        ),
        (
            'input_stream: "x"\nnode { calculator: "Takes" input_stream: "A:x" }',
            "graph.pbtxt:2: ",
            "OUT is missing",
        ),
        (
            'input_stream: "x"\nnode { calculator: "Needs" input_stream: "x" }',
            "graph.pbtxt:2: ",
            "SIDE is missing",
        ),
        ('node { calculator: "Nothing" }', "graph.pbtxt:1: ", "no calculator named"),
        (
            'input_stream: "x"\nnode { calculator: "Takes" input_stream: "A:x" output_stream: "OUT:x" }',
            "graph.pbtxt:2: ",
            "already made by the graph",
        ),
        (
            'node { calculator: "Takes" input_stream: "A:gone" output_stream: "OUT:o" }',
            "graph.pbtxt:1: ",
            "no producer",
        ),
    ],
)
def test_what_mediapipe_does_not_initialize_is_not_loaded(text, place, problem):
    with pytest.raises(ServingError) as caught:
        loaded(text)
    assert caught.value.details.startswith(place), caught.value.details
    assert problem in caught.value.details


@pytest.mark.parametrize(
    ("text", "first"),
    [
        (
            'node { calculator: "Makes" name: "one"\n output_stream: "OUT:o" }\n'
            'node { calculator: "Makes" name: "two"\n output_stream: "OUT:o" }',
            'graph.pbtxt:4: node "two": stream "o" is already made by node "one" at '
            "graph.pbtxt:2",
        ),
        (
            'input_side_packet: "s"\n'
            'node { calculator: "Makes" name: "one"\n output_side_packet: "SIDE:s" }',
            'graph.pbtxt:3: node "one": side packet "s" is already made by the graph at '
            "graph.pbtxt:1",
        ),
        (
            'node {\n name: "odd" calculator: "Takes"\n nonsense: 1 }',
            'graph.pbtxt:3: node "odd": Message type '
            '"mediapipe.CalculatorGraphConfig.Node" has no field named "nonsense".',
        ),
        ("\nnum_threads: -2", "graph.pbtxt:2: expected num_threads of -1 or more"),
    ],
)
def test_who_is_wrong_and_what_is_in_its_way_are_both_named(text, first):
    with pytest.raises(ServingError) as caught:
        loaded(text)
    assert caught.value.details.startswith(first), caught.value.details


def test_what_is_quoted_cannot_make_lines_or_control_a_terminal():
    name = "a\\n" * 20 + "\\033[31m" + "b" * 10_000
    with pytest.raises(ServingError) as caught:
        loaded(
            'node { calculator: "Sub" }', f'type: "Sub" node {{ calculator: "{name}" }}'
        )
    lines = caught.value.text.split("\n")
    assert len(lines) == 2
    assert all(line.isprintable() and len(line) < 1_000 for line in lines)


SUB_OF_TAKES = (
    'type: "Sub" input_stream: "A:a" input_stream: "B:b" output_stream: "OUT:o"\n'
    'input_side_packet: "SIDE:s"\n'
    'node { calculator: "Takes" input_stream: "A:a" input_stream: "B:b"\n'
    ' input_side_packet: "SIDE:s" output_stream: "OUT:o" }'
)


def test_optional_ports_inside_a_subgraph_may_be_left_open_by_its_user():
    definition = loaded(
        'input_stream: "x" output_stream: "y"\n'
        'node { calculator: "Sub" input_stream: "A:x" output_stream: "OUT:y" }',
        SUB_OF_TAKES,
    )
    assert [port.tag for port in definition.nodes[0].info.inputs] == ["A"]


def test_a_port_that_is_not_optional_may_not():
    with pytest.raises(ServingError, match="A is missing") as caught:
        loaded(
            'input_stream: "x" output_stream: "y"\n'
            'node { calculator: "Sub" input_stream: "B:x" output_stream: "OUT:y" }',
            SUB_OF_TAKES,
        )
    assert caught.value.details.count("\n") < 3
