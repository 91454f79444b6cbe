"""A SwitchContainer becomes the nodes that MediaPipe makes of it."""

from __future__ import annotations

from typing import Any

import pytest

from ovms_mp.graph import config
from ovms_mp.graph.config import GraphConfigError

OPTIONS = "mediapipe.SwitchContainerOptions"
CONTAINED = (
    'contained_node { calculator: "Triple" } contained_node { calculator: "Pass" }'
)


def parse(text):
    return config.parse(text.encode(), "graph.pbtxt")


def container(ports, options=""):
    return (
        f'node {{ calculator: "SwitchContainer" {ports}\n'
        f"options {{ [{OPTIONS}.ext] {{\n{CONTAINED} {options} }} }} }}\n"
        'node { calculator: "Last" input_stream: "bar" }'
    )


def texts(names):
    return [
        (f"{s.tag}:{s.index}:" if s.index else f"{s.tag}:") * bool(s.tag) + s.name
        for s in names
    ]


def streams(graph):
    return {n.name: (texts(n.inputs), texts(n.outputs)) for n in graph.nodes}


def side_packets(graph):
    return {n.name: (texts(n.side_inputs), texts(n.side_outputs)) for n in graph.nodes}


def refused(text):
    with pytest.raises(GraphConfigError) as caught:
        parse(text)
    return caught.value.details


def test_a_selection_stream_is_timed_and_each_channel_gets_its_streams():
    graph = parse(
        container('input_stream: ["ENABLE:enable", "foo"] output_stream: "bar"')
    )
    assert streams(graph) == {
        "": (["bar"], []),
        "switchcontainer__PacketSequencerCalculator": (
            ["INPUT:enable", "TICK:foo"],
            ["OUTPUT:switchcontainer__gate_enable_timed"],
        ),
        "switchcontainer__SwitchDemuxCalculator": (
            ["ENABLE:switchcontainer__gate_enable_timed", "foo"],
            ["C0__:switchcontainer__c0__foo", "C1__:switchcontainer__c1__foo"],
        ),
        "switchcontainer__SwitchMuxCalculator": (
            [
                "ENABLE:switchcontainer__gate_enable_timed",
                "C0__:switchcontainer__c0__bar",
                "C1__:switchcontainer__c1__bar",
            ],
            ["bar"],
        ),
        "switchcontainer__Triple": (
            ["switchcontainer__c0__foo"],
            ["switchcontainer__c0__bar"],
        ),
        "switchcontainer__Pass": (
            ["switchcontainer__c1__foo"],
            ["switchcontainer__c1__bar"],
        ),
    }
    assert graph.nodes[1].input_policy == "DefaultInputStreamHandler"


def test_an_asynchronous_selection_leaves_the_sequencer_its_own_policy():
    ports = 'input_stream: ["SELECT:s", "foo"] output_stream: "bar"'
    graph = parse(container(ports, "async_selection: true"))
    assert graph.nodes[1].calculator == "PacketSequencerCalculator"
    assert graph.nodes[1].input_policy == ""


def test_side_packets_go_through_the_switch_as_well():
    ports = (
        'input_side_packet: ["ENABLE:enable", "foo"] output_side_packet: "side_bar" '
        'output_stream: "bar"'
    )
    found = side_packets(parse(container(ports)))
    assert found["switchcontainer__SwitchDemuxCalculator"] == (
        ["ENABLE:enable", "foo"],
        ["C0__:switchcontainer__c0__foo", "C1__:switchcontainer__c1__foo"],
    )
    assert found["switchcontainer__SwitchMuxCalculator"] == (
        [
            "ENABLE:enable",
            "C0__:switchcontainer__c0__side_bar",
            "C1__:switchcontainer__c1__side_bar",
        ],
        ["side_bar"],
    )
    assert found["switchcontainer__Pass"] == (
        ["switchcontainer__c1__foo"],
        ["switchcontainer__c1__side_bar"],
    )
    assert "switchcontainer__PacketSequencerCalculator" not in found


def test_tags_and_indexes_are_kept_in_each_channel_and_ticks_can_be_chosen():
    ports = (
        'input_stream: ["SELECT:s", "A:0:x", "A:1:y", "B:z"] output_stream: "O:1:bar" '
        'output_stream: "O:0:baz"'
    )
    found = streams(parse(container(ports, 'tick_input_stream: ["A:1", "B"]')))
    sequencer = found["switchcontainer__PacketSequencerCalculator"]
    assert sequencer[0] == ["INPUT:s", "TICK:y", "TICK:1:z"]
    assert found["switchcontainer__Triple"] == (
        [
            "A:switchcontainer__c0__x",
            "A:1:switchcontainer__c0__y",
            "B:switchcontainer__c0__z",
        ],
        ["O:switchcontainer__c0__baz", "O:1:switchcontainer__c0__bar"],
    )
    assert (
        "C1__A:1:switchcontainer__c1__y"
        in found["switchcontainer__SwitchDemuxCalculator"][1]
    )


@pytest.mark.parametrize(
    "options",
    [
        f"options {{ [{OPTIONS}.ext] {{ {CONTAINED} select: 1 synchronize_io: true }} }}",
        f"node_options {{ [type.googleapis.com/{OPTIONS}] {{ {CONTAINED} select: 1 synchronize_io: true }} }}",
    ],
)
def test_the_switch_keeps_its_options_without_the_contained_nodes(options):
    graph = parse(
        f'node {{ calculator: "SwitchContainer" input_stream: "a" {options} }}'
    )
    assert [node.calculator for node in graph.nodes] == [
        "SwitchDemuxCalculator",
        "SwitchMuxCalculator",
        "Triple",
        "Pass",
    ]
    for node in graph.nodes[:2]:
        given: Any = node.options[OPTIONS]
        assert (given.select, given.synchronize_io) == (1, True)
        assert not given.contained_node
    assert graph.nodes[3].options == {}


def test_containers_may_contain_containers():
    inner = (
        f'contained_node {{ calculator: "SwitchContainer" options {{ [{OPTIONS}.ext] {{ '
        f"{CONTAINED} }} }} }}"
    )
    graph = parse(
        f'node {{ calculator: "SwitchContainer" input_stream: "a" output_stream: "b" '
        f"options {{ [{OPTIONS}.ext] {{ {inner} }} }} }}"
    )
    last = graph.nodes[-1]
    assert last.name == "switchcontainer__switchcontainer__Pass"
    assert texts(last.inputs) == [
        "switchcontainer__switchcontainer__c1__switchcontainer__c0__a"
    ]


USER = """
type: "User" input_stream: "IN:in" output_stream: "OUT:out"
input_side_packet: "WHICH:which" input_side_packet: "MORE:more"
node {
  name: "Sw" calculator: "SwitchContainer" input_stream: "in" output_stream: "out"
  input_side_packet: "%s:which" input_side_packet: "more"
  options { [%s.ext] {
    contained_node { calculator: "Triple" }
    contained_node { name: "two" calculator: "Pass" %s }
    %s
  } }
}
"""


def used(folder, given="", selector="SELECT", options="", inner=""):
    """The nodes of a graph that uses a subgraph with a container in it."""
    (folder / "user.pbtxt").write_text(USER % (selector, OPTIONS, inner, options))
    text = (
        'input_stream: "a" input_side_packet: "p" node { calculator: "User" '
        f'input_stream: "IN:a" output_stream: "OUT:b" {given} }}'
    )
    file = folder / "graph.pbtxt"
    file.write_text(text)
    return config.read(file)


def kinds(graph):
    return sorted(node.calculator for node in graph.nodes)


@pytest.mark.parametrize(
    ("selector", "options", "name", "calculator"),
    [
        ("SELECT", "", "user__sw__Triple", "Triple"),
        ("ENABLE", "", "user__sw__Triple", "Triple"),
        ("SELECT", "select: 1", "user__sw__two", "Pass"),
        ("ENABLE", "enable: true", "user__sw__two", "Pass"),
    ],
)
def test_a_container_that_nobody_can_switch_is_the_node_that_its_options_choose(
    tmp_path, selector, options, name, calculator
):
    """A subgraph whose user leaves the selector out needs nothing of the other nodes."""
    given = 'input_side_packet: "MORE:p"'
    (node,) = used(tmp_path, given, selector, options).nodes
    assert (node.name, node.calculator) == (name, calculator)
    assert (texts(node.inputs), texts(node.outputs)) == (["a"], ["b"])
    assert texts(node.side_inputs) == ["p"]
    assert node.options == {}


def test_it_is_refused_where_the_chosen_node_stands(tmp_path):
    (node,) = used(tmp_path, options="select: 1").nodes
    assert node.line == 9


@pytest.mark.parametrize(
    ("given", "options", "inner"),
    [
        ('input_side_packet: "WHICH:p"', "", ""),
        ("", "select: 2", ""),
        ("", "select: 1", 'option_value: "a:b"'),
    ],
)
def test_a_container_remains_one_while_something_may_choose(
    tmp_path, given, options, inner
):
    if inner:
        with pytest.raises(GraphConfigError, match="option_value"):
            used(tmp_path, given, options=options, inner=inner)
        return
    assert kinds(used(tmp_path, given, options=options)) == [
        "Pass",
        "SwitchDemuxCalculator",
        "SwitchMuxCalculator",
        "Triple",
    ]


def test_the_handler_of_the_graph_reaches_the_switch():
    graph = parse(
        'input_stream_handler { input_stream_handler: "BarrierInputStreamHandler" }\n'
        + container('input_stream: ["ENABLE:enable", "foo"] output_stream: "bar"')
    )
    policies = {node.calculator: node.input_policy for node in graph.nodes}
    assert policies.pop("PacketSequencerCalculator") == "DefaultInputStreamHandler"
    assert set(policies.values()) == {"BarrierInputStreamHandler"}


def test_a_contained_node_has_the_line_where_it_stands():
    graph = parse(container('input_stream: "foo" output_stream: "bar"'))
    assert [node.line for node in graph.nodes if node.calculator == "Pass"] == [3]


@pytest.mark.parametrize(
    ("ports", "options", "problem"),
    [
        (
            'input_stream: ["SELECT:a", "ENABLE:b"]',
            "",
            "only one input_stream of SELECT",
        ),
        (
            'input_side_packet: ["SELECT:a", "ENABLE:b"]',
            "",
            "only one input_side_packet",
        ),
        ("", "select: 1 enable: true", "only one of the options"),
        ("", 'tick_input_stream: "a"', "expected `TAG`"),
        ("", "contained_node {}", "names no calculator"),
        ("source_layer: 1", "", "`source_layer` is for calculators"),
        ('input_stream: "Bad"', "", "expected `name`"),
    ],
)
def test_a_switch_that_cannot_be_expanded_is_an_error_with_its_line(
    ports, options, problem
):
    error = refused("\n" + container(ports, options))
    assert error.startswith('graph.pbtxt:2: node "SwitchContainer": '), error
    assert problem in error
