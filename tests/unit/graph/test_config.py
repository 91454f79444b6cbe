"""A pbtxt is read with its lines, in every form that occurs, or refused with one."""

from __future__ import annotations

from typing import Any

import pytest

from ovms_mp.core.errors import ServingError, Status
from ovms_mp.graph import config
from ovms_mp.graph.config import GraphConfigError

OPTIONS = "mediapipe.OpenVINOModelServerSessionCalculatorOptions"


def parse(text):
    return config.parse(
        text if isinstance(text, bytes) else text.encode(), "graph.pbtxt"
    )


def options_of(text, full_name) -> Any:
    return parse(text).nodes[0].options[full_name]


def refused(text):
    with pytest.raises(GraphConfigError) as caught:
        parse(text)
    return caught.value


def test_streams_have_tag_index_name_and_line():
    graph = parse('input_stream: "A:1:x"\ninput_stream: "A:0:y"\noutput_stream: "z"\n')
    assert [(s.tag, s.index, s.name, s.line) for s in graph.inputs] == [
        ("A", 1, "x", 1),
        ("A", 0, "y", 2),
    ]
    assert [(s.tag, s.index, s.name, s.line) for s in graph.outputs] == [
        ("", 0, "z", 3)
    ]


def test_list_syntax_and_untagged_streams_count_up():
    graph = parse(
        'node: {\n calculator: "C"\n input_stream: ["a",\n "b"] output_stream: "c"\n}'
    )
    node = graph.nodes[0]
    assert [(s.index, s.name, s.line) for s in node.inputs] == [
        (0, "a", 3),
        (1, "b", 4),
    ]
    assert node.line == 1


def test_both_forms_of_options_and_blanks_in_the_type_are_read():
    for text in (
        f'node {{ calculator: "C" node_options: {{ [type.googleapis.com / {OPTIONS}]: {{ servable_name: "m" }} }} }}',
        f'node {{ calculator: "C" node_options {{ [type.googleapis.com/{OPTIONS}] {{ servable_name: "m" }} }} }}',
        f'node {{ calculator: "C" options {{ [{OPTIONS}.ext] {{ servable_name: "m" }} }} }}',
    ):
        assert options_of(text, OPTIONS).servable_name == "m"


def test_map_entries_and_angle_brackets_are_read():
    options = "mediapipe.OpenVINOInferenceCalculatorOptions"
    text = (
        f'node {{ calculator: "C" node_options: {{ [type.googleapis.com / {options}]: '
        '{ tag_to_input_tensor_names { key: "A" value: "a" } tag_to_input_tensor_names < key: "B" value: "b" > } } }'
    )
    names = options_of(text, options).tag_to_input_tensor_names
    assert dict(names) == {"A": "a", "B": "b"}


def test_a_byte_order_mark_is_no_fault():
    assert parse(b'\xef\xbb\xbfinput_stream: "x"').inputs[0].name == "x"


def test_max_queue_size_is_mediapipes_hundred_unless_set():
    assert parse("").max_queue_size == 100
    assert parse("max_queue_size: 0").max_queue_size == 100
    assert parse("max_queue_size: -1").max_queue_size == -1
    assert parse("max_queue_size: 7").max_queue_size == 7


@pytest.mark.parametrize(
    ("text", "line", "status", "message"),
    [
        ('node {\n calculator: "C"\n nonsense: 1\n}', 3, "CONFIG", "nonsense"),
        ('node {\n calculator: "C"\n', 2, "CONFIG", ""),
        ('\nnode { name: "x" }', 2, "CONFIG", "names no calculator"),
        (
            'node { calculator: "C"\n node_options: { [type.googleapis.com/mediapipe.No]: {} } }',
            2,
            "CONFIG",
            "mediapipe.No",
        ),
        (
            f'node {{ calculator: "C"\n\n node_options: {{ [type.googleapis.com/{OPTIONS}]: {{}} }} }}',
            3,
            "CONFIG",
            "servable_name",
        ),
        (
            f'node {{ calculator: "C" options {{ [{OPTIONS}.ext] {{}} }} }}',
            1,
            "CONFIG",
            "servable_name",
        ),
        ('input_stream: "Upper"', 1, "INPUT", "Upper"),
        ('\ninput_stream: "tag:x"', 2, "INPUT", "tag:x"),
        ('output_stream: "A:-1:x"', 1, "OUTPUT", "A:-1:x"),
        ('input_side_packet: "A:0:0:x"', 1, "SIDE", "A:0:0:x"),
        ('input_stream: "A:x"\ninput_stream: "A:y"', 2, "CONFIG", "used twice"),
        ('input_stream: "A:2:x"', 1, "CONFIG", "indexes"),
        (
            'node { calculator: "C" input_stream: "x"\n input_stream_info: { tag_index: "X" back_edge: true } }',
            2,
            "CONFIG",
            "not supported yet",
        ),
        (
            'packet_generator { packet_generator: "G" }',
            1,
            "CONFIG",
            "not supported yet",
        ),
        ('type: "Sub"', 1, "CONFIG", "not supported yet"),
        ('# OVMS_GRAPH_QUEUE_MAX_SIZE: many\ninput_stream: "x"', 1, "CONFIG", '"many"'),
        ("# OVMS_GRAPH_QUEUE_MAX_SIZE: -1", 1, "CONFIG", '"-1"'),
        (b'input_stream: "\xff"', 1, "CONFIG", "UTF-8"),
        ("\n" + "node_options { " * 80, 2, "CONFIG", "nested"),
    ],
)
def test_what_cannot_be_read_names_file_line_and_fault(text, line, status, message):
    error = refused(text)
    expected = {
        "CONFIG": Status.MEDIAPIPE_GRAPH_CONFIG_FILE_INVALID,
        "INPUT": Status.MEDIAPIPE_WRONG_INPUT_STREAM_PACKET_NAME,
        "OUTPUT": Status.MEDIAPIPE_WRONG_OUTPUT_STREAM_PACKET_NAME,
        "SIDE": Status.MEDIAPIPE_WRONG_INPUT_SIDE_PACKET_STREAM_PACKET_NAME,
    }[status]
    assert error.status is expected
    assert f"graph.pbtxt:{line}: " in error.text, error.text
    assert message in error.text


@pytest.mark.parametrize("value", ["AUTO", "0", "4"])
def test_a_valid_pool_directive_is_accepted(value):
    assert parse(f'# OVMS_GRAPH_QUEUE_MAX_SIZE: {value}\ninput_stream: "x"').inputs


def test_a_file_that_is_missing_or_too_large_is_an_error(tmp_path):
    with pytest.raises(ServingError) as caught:
        config.read(tmp_path / "graph.pbtxt")
    assert caught.value.text == (
        "File not found or cannot open - graph.pbtxt: No such file or directory"
    )
    large = tmp_path / "graph.pbtxt"
    large.write_bytes(b"#" * (config.MAX_FILE_BYTES + 1))
    with pytest.raises(ServingError, match="larger than"):
        config.read(large)
