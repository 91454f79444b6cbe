"""A subgraph stands for its nodes: names, streams, options and errors come out as in
MediaPipe.
"""

from __future__ import annotations

import pytest

from ovms_mp.core.errors import ServingError
from ovms_mp.graph import config, expansion
from ovms_mp.graph.config import GraphConfigError


class Mounted:
    """A folder with a graph and what is beside it."""

    def __init__(self, folder):
        self.folder = folder

    def add(self, name, text):
        (self.folder / f"{name}.pbtxt").write_text(text)

    def read(self, text):
        self.add("graph", text)
        return config.read(self.folder / "graph.pbtxt")

    def refused(self, text):
        with pytest.raises(GraphConfigError) as caught:
            self.read(text)
        assert caught.value.details.count("\n") < 3
        return caught.value.details


@pytest.fixture
def mounted(tmp_path):
    return Mounted(tmp_path)


def texts(names):
    return [f"{s.tag}:{s.index}:{s.name}" if s.tag else s.name for s in names]


def shown(graph):
    """The nodes in order, with what they are called and what they are connected to."""
    return [
        (
            node.name,
            node.calculator,
            texts(node.inputs),
            texts(node.outputs),
            texts(node.side_inputs),
            texts(node.side_outputs),
        )
        for node in graph.nodes
    ]


TWO = """
type: "Two"
input_stream: "A:in_a"
input_stream: "B:in_b"
output_stream: "O:out"
input_side_packet: "SI:side_in"
output_side_packet: "SO:side_out"
node {
  name: "bob"
  calculator: "One"
  input_stream: "in_a"
  input_stream: "VIDEO:in_b"
  input_side_packet: "side_in"
  output_stream: "mid"
}
node { calculator: "One" input_stream: "in_a" input_stream: "mid" output_stream: "out" }
packet_generator {
  packet_generator: "Maker"
  input_side_packet: "side_in"
  output_side_packet: "side_out"
}
"""


def test_names_inside_get_the_prefix_of_the_node_and_the_border_its_streams(mounted):
    mounted.add("two", TWO)
    graph = mounted.read(
        """
        input_stream: "foo"
        node {
          calculator: "Two" input_stream: "A:foo" input_stream: "B:bar"
          output_stream: "O:foobar"
          input_side_packet: "SI:flip" output_side_packet: "SO:flop"
        }
        node { calculator: "Plain" input_stream: "foo" output_stream: "bar" }
        """
    )
    assert shown(graph) == [
        ("", "Maker", [], [], ["flip"], ["flop"]),
        ("", "Plain", ["foo"], ["bar"], [], []),
        ("two__bob", "One", ["foo", "VIDEO:0:bar"], ["two__mid"], ["flip"], []),
        ("two__One", "One", ["foo", "two__mid"], ["foobar"], [], []),
    ]


def test_subgraphs_of_one_name_are_numbered_and_names_become_valid_prefixes(mounted):
    mounted.add(
        "one",
        'type: "One.Sub" input_stream: "a" output_stream: "b"\n'
        'node { calculator: "C" input_stream: "a" output_stream: "m" }\n'
        'node { calculator: "C" input_stream: "m" output_stream: "b" }',
    )
    graph = mounted.read(
        'input_stream: "x"\n'
        'node { calculator: "One.Sub" input_stream: "x" output_stream: "y" }\n'
        'node { calculator: "One.Sub" input_stream: "y" output_stream: "z" }\n'
        'node { name: "My Name" calculator: "One.Sub" input_stream: "z" }'
    )
    assert [node.name for node in graph.nodes] == [
        "one_sub_1__C_1",
        "one_sub_1__C_2",
        "one_sub_2__C_1",
        "one_sub_2__C_2",
        "my_name__C_1",
        "my_name__C_2",
    ]
    assert texts(graph.nodes[-1].outputs) == ["my_name__b"]


def test_nested_subgraphs_add_up_their_prefixes(mounted):
    mounted.add(
        "inner",
        'type: "Inner" input_stream: "a" output_stream: "b"\n'
        'node { calculator: "C" input_stream: "a" output_stream: "m" }\n'
        'node { calculator: "D" input_stream: "m" output_stream: "b" }',
    )
    mounted.add(
        "outer",
        'type: "Outer" input_stream: "a" output_stream: "b"\n'
        'node { calculator: "Inner" input_stream: "a" output_stream: "n" }\n'
        'node { calculator: "E" input_stream: "n" output_stream: "b" }',
    )
    graph = mounted.read(
        'input_stream: "x"\n'
        'node { calculator: "Outer" input_stream: "x" output_stream: "y" }'
    )
    assert shown(graph) == [
        ("outer__E", "E", ["outer__n"], ["y"], [], []),
        ("outer__inner__C", "C", ["x"], ["outer__inner__m"], [], []),
        ("outer__inner__D", "D", ["outer__inner__m"], ["outer__n"], [], []),
    ]


def test_inputs_that_the_user_leaves_open_are_removed(mounted):
    mounted.add(
        "sub",
        'type: "Sub" input_stream: "A:a" input_stream: "B:b" output_stream: "o"\n'
        'input_side_packet: "S:s"\n'
        'node { calculator: "C" input_stream: "A:a" input_stream: "B:b"\n'
        ' input_side_packet: "s" output_stream: "o" }',
    )
    graph = mounted.read(
        'input_stream: "x"\n'
        'node { calculator: "Sub" input_stream: "B:x" output_stream: "y" }'
    )
    assert shown(graph) == [("sub__C", "C", ["B:0:x"], ["y"], [], [])]


def test_indexes_of_a_tag_go_to_the_same_indexes(mounted):
    mounted.add(
        "sub",
        'type: "Sub" input_stream: "A:1:p" input_stream: "A:0:q" input_stream: "r"\n'
        'node { calculator: "C" input_stream: "P:p" input_stream: "Q:q" '
        'input_stream: "R:r" }',
    )
    graph = mounted.read(
        'node { calculator: "Sub" input_stream: "z" input_stream: "A:0:x" '
        'input_stream: "A:1:y" }'
    )
    assert texts(graph.nodes[0].inputs) == ["P:0:y", "Q:0:x", "R:0:z"]


def test_what_a_subgraph_says_of_executors_and_queues_has_no_effect(mounted):
    mounted.add(
        "sub",
        'type: "Sub" max_queue_size: 3 executor { name: "own" }\n'
        'node { calculator: "C" executor: "mine" }',
    )
    graph = mounted.read('executor { name: "mine" }\nnode { calculator: "Sub" }')
    assert (graph.nodes[0].executor, graph.max_queue_size) == ("mine", 100)
    assert "not declared" in mounted.refused('node { calculator: "Sub" }')


def test_the_handler_of_the_whole_graph_reaches_nodes_of_subgraphs(mounted):
    mounted.add(
        "sub",
        'type: "Sub" input_stream: "a"\nnode { calculator: "C" input_stream: "a" }',
    )
    handler = 'input_stream_handler { input_stream_handler: "%s" }\n'
    graph = mounted.read(
        handler % "ImmediateInputStreamHandler"
        + 'input_stream: "x"\nnode { calculator: "Sub" input_stream: "x" }\n'
        + 'node { calculator: "D" input_stream: "x" '
        + handler % "BarrierInputStreamHandler"
        + "}"
    )
    assert {node.calculator: node.input_policy for node in graph.nodes} == {
        "C": "ImmediateInputStreamHandler",
        "D": "BarrierInputStreamHandler",
    }


@pytest.mark.parametrize(
    ("node", "problem"),
    [
        ('input_stream: "VIDEO:x"', "tag VIDEO does not exist"),
        (
            'input_stream: "A:0:x" input_stream: "A:1:x"',
            "A is given 2 times, the subgraph has 1",
        ),
        ('input_stream: "A:1:x"', "indexes of A"),
        ("source_layer: 1", "`source_layer` is for calculators"),
        ("buffer_size_hint: 1", "`buffer_size_hint` is for calculators"),
        ("output_stream_handler {}", "`output_stream_handler` is for calculators"),
        (
            'input_stream_info { tag_index: "A" }',
            "`input_stream_info` is for calculators",
        ),
    ],
)
def test_a_node_that_does_not_fit_its_subgraph_is_named(mounted, node, problem):
    mounted.add(
        "sub",
        'type: "Sub" input_stream: "A:a"\nnode { calculator: "C" input_stream: "a" }',
    )
    error = mounted.refused(f'input_stream: "x"\nnode {{ calculator: "Sub"\n{node} }}')
    assert error.startswith('graph.pbtxt:3: node "Sub": '), error
    assert problem in error


def test_a_fault_inside_names_the_file_of_the_subgraph_and_who_uses_it(mounted):
    mounted.add("sub", 'type: "Sub"\nnode { calculator: "C"\n input_stream: "Bad" }')
    assert mounted.refused('\nnode { calculator: "Sub" }') == (
        'sub.pbtxt:3: node "sub__C": input_stream "sub__Bad": expected `name`, '
        "`TAG:name` or `TAG:index:name` with a lower-case name and an upper-case tag\n"
        'in subgraph "Sub" that graph.pbtxt:2 uses'
    )


def test_a_broken_neighbour_hurts_only_who_uses_it(mounted):
    mounted.add("broken", 'type: "Broken"\nnode {')
    mounted.add("worse", "type: \xff")
    mounted.read('node { calculator: "C" }')
    error = mounted.refused('node { calculator: "Broken" }')
    assert error.startswith("broken.pbtxt:2: ")
    assert 'in subgraph "Broken" that graph.pbtxt:1 uses' in error


def test_two_files_of_one_type_are_an_error_for_who_uses_it(mounted):
    mounted.add("a", 'type: "Sub"')
    mounted.add("b", 'type: "Sub"')
    mounted.read('node { calculator: "C" }')
    assert mounted.refused('node { calculator: "Sub" }') == (
        'graph.pbtxt:1: node "Sub": subgraph "Sub" is defined in "a.pbtxt" '
        'and in "b.pbtxt"'
    )


def test_a_subgraph_that_contains_itself_is_an_error_that_names_the_way(mounted):
    mounted.add("a", 'type: "A"\nnode { calculator: "B" }')
    mounted.add("b", 'type: "B"\nnode { calculator: "A" }')
    error = mounted.refused('node { calculator: "A" }')
    assert (
        'b.pbtxt:2: node "a__b__A": a subgraph may not contain itself: "A" -> "B" -> "A"'
        in error
    )
    own = mounted.refused('type: "G"\nnode { calculator: "G" }')
    assert '"G" -> "G"' in own


def test_subgraphs_that_multiply_end_in_an_error(mounted):
    for level in range(20):
        nodes = f'node {{ calculator: "S{level + 1}" }}\n' * 10
        mounted.add(f"s{level}", f'type: "S{level}"\n{nodes}')
    mounted.add("s20", 'type: "S20"\nnode { calculator: "C" }')
    error = mounted.refused('node { calculator: "S0" }')
    assert f"more than {expansion.MAX_NODES} nodes" in error


def test_subgraphs_that_nest_or_grow_too_far_end_in_an_error(mounted):
    for level in range(40):
        mounted.add(
            f"s{level}", f'type: "S{level}"\nnode {{ calculator: "S{level + 1}" }}'
        )
    assert "nested deeper than" in mounted.refused('node { calculator: "S0" }')
    streams = 'input_stream: "a"\n' * 20_000
    mounted.add("wide", f'type: "Wide"\nnode {{ calculator: "C" {streams} }}')
    assert "bytes" in mounted.refused('node { calculator: "Wide" }\n' * 100)
    name = "n" * 2_000
    assert "longer than" in mounted.refused(
        f'node {{ name: "{name}" calculator: "Wide" }}'
    )


def test_a_neighbour_goes_before_what_packages_ship_and_unknown_names_are_calculators(
    tmp_path,
):
    shipped = tmp_path / "shipped"
    shipped.mkdir()
    (shipped / "x.pbtxt").write_text('type: "X"\nnode { calculator: "Shipped" }')
    (shipped / "y.pbtxt").write_text('type: "Y"\nnode { calculator: "Shipped" }')
    (tmp_path / "x.pbtxt").write_text('type: "X"\nnode { calculator: "Near" }')
    from ovms_mp.graph.subgraphs import Folders

    lookup = Folders(sorted(tmp_path.glob("*.pbtxt")), sorted(shipped.glob("*.pbtxt")))
    text = b'node { calculator: "X" } node { calculator: "Y" } node { calculator: "Z" }'
    graph = config.parse(text, "graph.pbtxt", subgraphs=lookup)
    assert [node.calculator for node in graph.nodes] == ["Z", "Near", "Shipped"]


def test_generators_and_factories_become_nodes_of_side_packets_before_all_others(
    mounted,
):
    graph = mounted.read(
        'node { calculator: "C" input_side_packet: "p" }\n'
        'packet_generator { packet_generator: "G" input_side_packet: "q" output_side_packet: "A:p" }\n'
        'packet_factory { packet_factory: "F" output_side_packet: "q" }'
    )
    assert shown(graph) == [
        ("", "G", [], [], ["q"], ["A:0:p"]),
        ("", "F", [], [], [], ["q"]),
        ("", "C", [], [], ["p"], []),
    ]
    assert [node.line for node in graph.nodes] == [2, 3, 1]


def test_what_mediapipe_has_given_up_is_refused_by_name(mounted):
    assert "status handlers" in mounted.refused(
        'status_handler { status_handler: "S" }'
    )
    assert "was renamed" in mounted.refused(
        'node { calculator: "C" external_input: "a" }'
    )
    mounted.add("sub", 'type: "Sub"\npacket_factory { packet_factory: "F" }')
    assert "sub.pbtxt:2: a subgraph may not have packet factories" in mounted.refused(
        'node { calculator: "Sub" }'
    )


def test_a_graph_of_a_type_can_be_served_itself(mounted):
    assert mounted.read('type: "Main"\nnode { calculator: "C" }').nodes[0].name == ""


def test_a_folder_that_cannot_be_read_is_no_more_than_a_missing_graph(tmp_path):
    with pytest.raises(ServingError, match="No such file"):
        config.read(tmp_path / "none" / "graph.pbtxt")


def test_a_package_ships_subgraphs_through_its_entry_point(mounted, monkeypatch):
    site = mounted.folder / "site"
    (site / "pack" / "deep").mkdir(parents=True)
    (site / "pack" / "__init__.py").touch()
    (site / "pack" / "deep" / "x.pbtxt").write_text(
        'type: "OfThePack"\nnode { calculator: "Shipped" }'
    )
    info = site / "pack-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: pack\nVersion: 1\n")
    (info / "entry_points.txt").write_text(
        "[ovms_mp.subgraphs]\npack = pack\ngone = gone.for_good\n"
    )
    monkeypatch.syspath_prepend(site)
    graph = mounted.read('node { calculator: "OfThePack" }')
    assert [node.calculator for node in graph.nodes] == ["Shipped"]
