"""Options of plug-ins are read with the plug-ins' own messages, and nodes of a subgraph
take values from the options of their graph.
"""

from __future__ import annotations

from typing import Any

import pytest

from ovms_mp.graph import config, pbtxt
from ovms_mp.graph.config import GraphConfigError
from tests.unit.graph import plug_in

LIGHT = "type.googleapis.com/lights.Light"
CHAIN = "type.googleapis.com/lights.Chain"


class Beside:
    """One subgraph, by the name Sub."""

    def __init__(self, text):
        self.text = text

    def find(self, name, options):
        if name != "Sub":
            return None
        return pbtxt.parse(self.text.encode(), "sub.pbtxt", options)


def parse(text, sub=""):
    # Chain's messages are known to whatever graph has a Chained node.
    text += '\nnode { calculator: "Chained" }'
    if sub:
        sub = f'type: "Sub"\n{sub}\nnode {{ calculator: "Chained" }}'
    return config.parse(
        text.encode(), "graph.pbtxt", options=plug_in.options, subgraphs=Beside(sub)
    )


def lamp(text, sub="") -> Any:
    """The options of the one lamp in the graph."""
    (node,) = [n for n in parse(text, sub).nodes if n.calculator == "Lamp"]
    return node.options["lights.Light"]


def refused(text, sub=""):
    with pytest.raises(GraphConfigError) as caught:
        parse(text, sub)
    return caught.value.details


def derived(option_value, options, graph, user=""):
    """What the lamp of a subgraph gets."""
    sub = (
        f"graph_options {{ [{CHAIN}] {{ {graph} }} }}\n"
        f'node {{ calculator: "Lamp" option_value: "{option_value}"\n'
        f"node_options {{ [{LIGHT}] {{ {options} }} }} }}"
    )
    given = f"node_options {{ [{CHAIN}] {{ {user} }} }}" if user else ""
    return lamp(f'node {{ calculator: "Sub" {given} }}', sub)


@pytest.mark.parametrize(
    "options",
    [
        f'node_options {{ [{LIGHT}] {{ name: "a" sub {{ rate: 2 }} }} }}',
        f'node_options: {{ [{LIGHT}]: < name: "a", sub < rate: 2 > > }}',
        'options { [lights.Light.ext] { name: "a" sub { rate: 2 } } }',
        'options: < [lights.Light.ext]: < name: "a", sub < rate: 2 > > >',
    ],
)
def test_options_of_a_plug_in_are_messages_of_its_own_class(options):
    message = lamp(f'node {{ calculator: "Lamp" {options} }}')
    assert type(message) is plug_in.Light
    assert (message.name, message.sub.rate) == ("a", 2.0)


@pytest.mark.parametrize(
    ("options", "line", "problem"),
    [
        (f"node_options {{ [{LIGHT}] {{\n nonsense: 1 }} }}", 3, "nonsense"),
        ("options { [lights.Light.ext] {\n nonsense: 1 } }", 3, "nonsense"),
        ("options { [lights.Light.ext] {\n needed {} } }", 2, "this"),
        (f"node_options {{ [{LIGHT}] {{\n needed {{}} }} }}", 2, "this"),
        ("options { [lights.Dark.ext] {} }", 2, "lights.Dark.ext"),
    ],
)
def test_faults_in_options_of_a_plug_in_have_their_line(options, line, problem):
    error = refused(f'node {{ calculator: "Lamp"\n {options} }}')
    assert error.startswith(f"graph.pbtxt:{line}: "), error
    assert problem in error


def test_without_its_calculator_the_message_of_a_plug_in_is_unknown():
    with pytest.raises(GraphConfigError, match=r"lights\.Light"):
        config.parse(
            f'node {{ calculator: "Lamp" node_options {{ [{LIGHT}] {{}} }} }}'.encode(),
            "graph.pbtxt",
        )


def test_one_type_of_options_may_be_given_once():
    given = f"node_options {{ [{LIGHT}] {{}} }}\n"
    assert "graph.pbtxt:2: " in refused(f'node {{ calculator: "Lamp" {given}{given} }}')


def test_a_node_takes_a_value_of_its_graph():
    assert list(derived("numbers:options/length", "", "length: 8").numbers) == [8]


def test_who_uses_the_graph_overlays_its_options():
    message = derived("numbers:length", "numbers: 1", "length: 8", "length: 9")
    assert list(message.numbers) == [9]
    message = derived("name:name", "", 'name: "own"', "length: 9")
    assert message.name == "own"


def test_several_values_are_set_and_what_nothing_says_stays():
    sub = (
        f'graph_options {{ [{CHAIN}] {{ length: 5 name: "n" }} }}\n'
        'node { calculator: "Lamp" option_value: ["numbers:length", "name:name"]\n'
        f"node_options {{ [{LIGHT}] {{ rate: 7 }} }} }}"
    )
    message = lamp('node { calculator: "Sub" }', sub)
    assert (list(message.numbers), message.name, message.rate) == ([5], "n", 7)


def test_an_option_that_the_graph_does_not_set_leaves_the_field_unset():
    assert list(derived("numbers:length", "numbers: 1", 'name: "x"').numbers) == []


def test_repeated_values_replace_those_of_the_node_and_an_index_picks_one():
    message = derived("numbers:lengths", "numbers: [1, 2, 3]", "lengths: [4, 5]")
    assert list(message.numbers) == [4, 5]
    message = derived("numbers/1:lengths/0", "numbers: [1, 2, 3]", "lengths: [4, 5]")
    assert list(message.numbers) == [1, 4, 3]
    message = derived("sub/numbers:lengths", "sub { numbers: 1 }", "lengths: [4, 5]")
    assert list(message.sub.numbers) == [4, 5]


def test_messages_are_overlaid_and_whole_options_too():
    message = derived("sub:light", 'sub { name: "s" rate: 1 }', "light { rate: 2 }")
    assert (message.sub.name, message.sub.rate) == ("s", 2)
    message = derived("OPTIONS:light", 'name: "s" rate: 1', "light { rate: 2 }")
    assert (message.name, message.rate) == ("s", 2)


def test_a_value_is_found_and_set_inside_an_any():
    packed = (
        f"packed {{ [{CHAIN}] {{ length: 3 }} }} packed {{ [{LIGHT}] {{ rate: 4 }} }}"
    )
    message = derived("rate:packed/Ext::lights.Light/rate", "", packed)
    assert message.rate == 4
    message = derived(
        "packed/Ext::lights.Light/rate:length",
        f"packed {{ [{LIGHT}] {{ rate: 1 }} }}",
        "length: 6",
    )
    inner = plug_in.Light.FromString(message.packed[0].value)
    assert inner.rate == 6


def test_the_kind_of_options_can_be_picked_by_type():
    sub = (
        f"graph_options {{ [{LIGHT}] {{ rate: 1 }} }}\n"
        f"graph_options {{ [{CHAIN}] {{ length: 2 }} }}\n"
        'node { calculator: "Lamp" option_value: "numbers:Ext::lights.Chain/length"\n'
        f"node_options {{ [{LIGHT}] {{}} }} }}"
    )
    assert list(lamp('node { calculator: "Sub" }', sub).numbers) == [2]


def test_options_that_stand_as_an_extension_are_set_as_well():
    sub = (
        f"graph_options {{ [{CHAIN}] {{ length: 2 }} }}\n"
        'node { calculator: "Lamp" option_value: "numbers:length"\n'
        "options { [lights.Light.ext] { rate: 3 } } }"
    )
    message = lamp('node { calculator: "Sub" }', sub)
    assert (list(message.numbers), message.rate) == ([2], 3)


def test_the_top_graph_has_options_of_its_own():
    text = (
        f"graph_options {{ [{CHAIN}] {{ length: 2 }} }}\n"
        'node { calculator: "Lamp" option_value: "numbers:length"\n'
        f"node_options {{ [{LIGHT}] {{}} }} }}"
    )
    assert list(lamp(text).numbers) == [2]


def test_without_options_of_the_graph_nothing_is_set():
    sub = (
        'node { calculator: "Lamp" option_value: "numbers:length"\n'
        f"node_options {{ [{LIGHT}] {{ numbers: 1 }} }} }}"
    )
    assert list(lamp('node { calculator: "Sub" }', sub).numbers) == [1]


@pytest.mark.parametrize(
    ("option_value", "options", "graph", "problem"),
    [
        ("numbers", "", "length: 1", "expected `field:options/field_of_the_graph`"),
        ("nothing:length", "", "length: 1", 'lights.Light has no field "nothing"'),
        ("numbers:nothing", "", "length: 1", 'lights.Chain has no field "nothing"'),
        ("numbers:lengths/2", "", "lengths: 1", "no value number 2"),
        ("numbers/1:length", "numbers: 1", "length: 1", "no value number 1"),
        ("sub/rate:length", "", "length: 1", "no value number 0"),
        ("name/rate:length", 'name: "x"', "length: 1", "has no fields"),
        ("name:length", "", "length: 1", 'does not fit the field "name"'),
        ("numbers:lengths", "", "lengths: 4294967296", "does not fit the field"),
        ("numbers:is_on", "", "is_on: true", "does not fit the field"),
        ("is_on:length", "", "length: 1", "does not fit the field"),
        ("sub:packed", "", f"packed {{ [{LIGHT}] {{}} }}", "expected lights.Light"),
        ("1:length", "", "length: 1", "an index needs a field"),
        ("packed/Ext::a.B/c:length", "", "length: 1", "holds no a.B"),
    ],
)
def test_an_option_value_that_leads_nowhere_is_an_error_with_its_line(
    option_value, options, graph, problem
):
    with pytest.raises(GraphConfigError) as caught:
        derived(option_value, options, graph)
    assert caught.value.details.startswith('sub.pbtxt:3: node "Lamp": '), caught.value
    assert problem in caught.value.details


def test_a_node_without_options_cannot_take_any():
    sub = 'node { calculator: "Lamp" option_value: "numbers:length" }'
    assert "has no options to be set" in refused('node { calculator: "Sub" }', sub)


def test_options_of_another_type_than_the_graphs_are_an_error():
    sub = (
        f"graph_options {{ [{CHAIN}] {{ length: 2 }} }}\n"
        'node { calculator: "Lamp" option_value: "numbers:length"\n'
        f"node_options {{ [{LIGHT}] {{}} }} }}"
    )
    text = f'node {{ calculator: "Sub" node_options {{ [{LIGHT}] {{}} }} }}\nnode {{ calculator: "Lamp" }}'
    assert "its user gives lights.Light" in refused(text, sub)
