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
        ('# OVMS_GRAPH_QUEUE_MAX_SIZE: many\ninput_stream: "x"', 1, "CONFIG", '"many"'),
        ("\n  # OVMS_GRAPH_QUEUE_MAX_SIZE : -1\r\n", 2, "CONFIG", '"-1"'),
        ("#OVMS_GRAPH_QUEUE_MAX_SIZE:auto", 1, "CONFIG", '"auto"'),
        ("# OVMS_GRAPH_QUEUE_MAX_SIZE: 4.0", 1, "CONFIG", '"4.0"'),
        ("# OVMS_GRAPH_QUEUE_MAX_SIZE: 2147483648", 1, "CONFIG", "of 32 bits"),
        ("# OVMS_GRAPH_QUEUE_MAX_SIZE: " + "9" * 5000, 1, "CONFIG", "of 32 bits"),
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


def test_fields_of_scheduling_are_read():
    graph = parse(
        'executor { name: "pool" type: "ThreadPoolExecutor" } executor {}\n'
        'node { calculator: "C" source_layer: 2 executor: "pool" max_in_flight: 3\n'
        ' input_stream: "x" input_stream: "LOOP:0:y" input_stream: "LOOP:1:z"\n'
        ' input_stream_info { tag_index: "LOOP:1" back_edge: true }\n'
        ' input_stream_info { tag_index: "LOOP" } input_stream_info { back_edge: true }\n'
        " output_stream_handler {} }\n"
        "profiler_config { trace_enabled: true } runtime_info {} report_deadlock: true"
    )
    (node,) = graph.nodes
    assert node.back_edges == {("LOOP", 1), ("", 0)}
    assert (node.source_layer, node.executor, node.max_in_flight) == (2, "pool", 3)
    assert (node.file, graph.report_deadlock) == ("graph.pbtxt", True)


def test_a_hint_for_the_queue_of_a_node_raises_that_of_the_graph():
    node = 'node { calculator: "C" buffer_size_hint: %d }'
    assert parse(node % 200).max_queue_size == 200
    assert parse(node % 5).max_queue_size == 100
    assert parse("max_queue_size: 3 " + node % 5).max_queue_size == 5
    assert parse("max_queue_size: 3 " + node % -1).max_queue_size == 3


def with_handler(handler, more="", streams=("A:a", "B:0:b", "B:1:c")):
    inputs = " ".join(f'input_stream: "{each}"' for each in streams)
    return (
        f'node {{ calculator: "C" {inputs} {more}\n'
        f"input_stream_handler {{ {handler} }} }}"
    )


def of(name, options=""):
    handler = f'input_stream_handler: "{name}InputStreamHandler"'
    if options:
        extension = f"mediapipe.{name}InputStreamHandlerOptions.ext"
        handler += f" options {{ [{extension}] {{ {options} }} }}"
    return handler


def test_every_handler_of_mediapipe_is_read_with_its_options():
    for handler, policy, name, value in (
        ("", "Default", None, None),
        (of("Default", "batch_size: 4"), "Default", "batch_size", 4),
        (of("Immediate"), "Immediate", None, None),
        (of("Barrier"), "Barrier", None, None),
        (of("EarlyClose"), "EarlyClose", None, None),
        (of("Mux"), "Mux", None, None),
        (of("FixedSize"), "FixedSize", None, None),
        (of("FixedSize", "trigger_queue_size: 3"), "FixedSize", "target_queue_size", 1),
        (of("SyncSet", 'sync_set { tag_index: "B:1" }'), "SyncSet", None, None),
        (
            of("TimestampAlign", 'timestamp_base_tag_index: "A"'),
            "TimestampAlign",
            "timestamp_base_tag_index",
            "A",
        ),
    ):
        node = parse(with_handler(handler)).nodes[0]
        assert node.input_policy == f"{policy}InputStreamHandler"
        assert node.input_policy_line == 2
        if name:
            assert getattr(node.input_policy_options, name) == value
    assert parse('node { calculator: "C" }').nodes[0].input_policy == ""


@pytest.mark.parametrize(
    ("handler", "more", "problem"),
    [
        (of("Nonsense"), "", '"NonsenseInputStreamHandler" does not exist'),
        (of("Default", "batch_size: 0"), "", "batch_size of at least 1, found 0"),
        (
            of("Default", "batch_size: 2"),
            "max_in_flight: 2",
            "excludes a max_in_flight",
        ),
        (
            of("FixedSize", "target_queue_size: 0"),
            "",
            "target_queue_size of at least 1",
        ),
        (
            of("FixedSize", "trigger_queue_size: 1 target_queue_size: 2"),
            "",
            "found 2 and 1",
        ),
        (of("FixedSize", "trigger_queue_size: -1"), "", "found 1 and -1"),
        (of("SyncSet", 'sync_set { tag_index: "D" }'), "", '"D" is no input stream'),
        (
            of("SyncSet", 'sync_set { tag_index: "B:2" }'),
            "",
            '"B:2" is no input stream',
        ),
        (of("SyncSet", 'sync_set { tag_index: ["B", "B:0"] }'), "", "twice"),
        (of("SyncSet", 'sync_set { tag_index: "b" }'), "", '"b": expected `TAG`'),
        (of("SyncSet", "sync_set {}"), "", "at least one tag_index"),
        (of("TimestampAlign", 'timestamp_base_tag_index: "X"'), "", '"X" is no input'),
        (of("TimestampAlign"), "", '"" is no input stream'),
        (
            'input_stream_handler: "MuxInputStreamHandler" options { '
            "[mediapipe.DefaultInputStreamHandlerOptions.ext] {} }",
            "",
            "takes no options, found mediapipe.DefaultInputStreamHandlerOptions",
        ),
        (
            "options { [mediapipe.SyncSetInputStreamHandlerOptions.ext] {} }",
            "",
            "takes mediapipe.DefaultInputStreamHandlerOptions",
        ),
    ],
)
def test_a_handler_that_cannot_serve_its_node_is_an_error(handler, more, problem):
    error = refused(with_handler(handler, more))
    assert error.details.startswith('graph.pbtxt:2: node "C": '), error.details
    assert problem in error.details


def test_a_mux_selects_among_streams():
    assert "at least two" in refused(with_handler(of("Mux"), "", ("A:a",))).details


def test_the_handler_of_the_graph_is_the_default_of_its_nodes():
    graph = parse(
        f"input_stream_handler {{ {of('Default', 'batch_size: 2')} }}\n"
        + with_handler(of("Immediate"))
        + 'node { calculator: "D" input_stream: "x" }'
    )
    assert [node.input_policy for node in graph.nodes] == [
        "ImmediateInputStreamHandler",
        "DefaultInputStreamHandler",
    ]
    options: Any = graph.nodes[1].input_policy_options
    assert options.batch_size == 2


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('executor { name: "default" }', '"default" is reserved'),
        ('executor { name: "gpu" }', '"gpu" is reserved'),
        ('executor { name: "__x" }', '"__x" is reserved'),
        ('executor { name: "a" type: "Odd" }', '"Odd" does not exist'),
        ("num_threads: 2 executor {}", "found both"),
    ],
)
def test_executors_without_effect_must_be_sound(text, problem):
    assert problem in refused(text).details


@pytest.mark.parametrize(
    ("node", "problem"),
    [
        ('executor: "x"', '"x" is not declared'),
        ('executor: "gpu"', '"gpu" is reserved'),
        (
            'output_stream_handler { output_stream_handler: "X" }',
            'handler "X" does not exist',
        ),
        ('input_stream_info { tag_index: "X" }', '"X" is no input stream'),
        ('input_stream_info { tag_index: "x" }', "expected `TAG`"),
        (
            'input_stream: "a" input_stream_info {} input_stream_info {}',
            "two input_stream_info",
        ),
        ('external_input: "x"', "was renamed"),
    ],
)
def test_fields_of_scheduling_are_judged(node, problem):
    error = refused(f'node {{ calculator: "C"\n{node} }}')
    assert error.details.startswith('graph.pbtxt:2: node "C": ') or "handler" in node
    assert problem in error.details


def test_a_declared_twice_executor_names_the_second():
    assert refused('executor { name: "a" }\nexecutor { name: "a" }').line == 2
    assert refused("executor {}\nexecutor {}").line == 2


@pytest.mark.parametrize("value", ["AUTO", "0", "4", "+4", "007", "2147483647"])
def test_a_valid_pool_directive_is_accepted(value):
    assert parse(f'# OVMS_GRAPH_QUEUE_MAX_SIZE: {value}\ninput_stream: "x"').inputs


@pytest.mark.parametrize(
    "text",
    [
        'input_stream: "x" # OVMS_GRAPH_QUEUE_MAX_SIZE: many',
        '# OVMS_GRAPH_QUEUE_MAX_SIZE: many of them\ninput_stream: "x"',
        '# OVMS_GRAPH_QUEUE_MAX_SIZE:\ninput_stream: "x"',
        '# as in OVMS_GRAPH_QUEUE_MAX_SIZE: many\ninput_stream: "x"',
        "# OVMS_GRAPH_QUEUE_MAX_SIZE: 1\n# OVMS_GRAPH_QUEUE_MAX_SIZE: many\n"
        'input_stream: "x"',
    ],
)
def test_a_comment_that_is_no_directive_to_ovms_is_none(text):
    assert parse(text).inputs


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
