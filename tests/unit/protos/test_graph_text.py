"""graph.pbtxt as people write it: every form of text that occurs reads the same."""

from __future__ import annotations

import pytest
from google.protobuf import text_format
from google.protobuf.message import EncodeError
from ovms_mp_protos import graph


def parse(text: str) -> graph.CalculatorGraphConfig:
    config = graph.CalculatorGraphConfig()
    text_format.Parse(text, config, descriptor_pool=graph.pool)
    return config


def any_of(message: str, body: str) -> str:
    return f"node {{ node_options: {{ [{message}]: {{ {body} }} }} }}"


SESSION = "mediapipe.OpenVINOModelServerSessionCalculatorOptions"
INFERENCE = "mediapipe.OpenVINOInferenceCalculatorOptions"


@pytest.mark.parametrize(
    "text",
    [
        'node { calculator: "C" input_stream: ["A:a", "B:b"] }',
        'node: { calculator :"C" input_stream :["A:a","B:b"] }',
        'node < calculator: "C" input_stream: "A:a" input_stream: "B:b" >',
        "node: [{ calculator: 'C', input_stream: 'A:a', input_stream: 'B:b', }]",
        'node { calculator: "C"; input_stream: "A" ":a"; input_stream: ["B:b"]; }',
        '# A: 1\nnode {calculator: "C" # {\r\ninput_stream: "A:a"\tinput_stream:"B:b"}',
    ],
    ids=["list", "colons", "angles", "commas", "semicolons", "comments"],
)
def test_every_form_of_a_node_reads_the_same(text: str) -> None:
    expected = graph.CalculatorGraphConfig.Node(
        calculator="C", input_stream=["A:a", "B:b"]
    )
    assert list(parse(text).node) == [expected]


@pytest.mark.parametrize(
    "name",
    [
        f"type.googleapis.com/{SESSION}",
        f"type.googleapis.com / {SESSION}",
        f" type.googleapis.com /{SESSION} ",
    ],
)
def test_node_options_hold_the_bytes_of_the_named_message(name: str) -> None:
    config = parse(any_of(name, 'servable_name: "resnet" servable_version: "2"'))
    (packed,) = config.node[0].node_options
    options = graph.OpenVINOModelServerSessionCalculatorOptions()
    assert packed.TypeName() == SESSION
    assert packed.Unpack(options)
    assert (options.servable_name, options.servable_version) == ("resnet", "2")
    assert type(options) is graph.message_class(SESSION)


@pytest.mark.parametrize("colon", ["", ":"])
def test_options_hold_the_named_extension(colon: str) -> None:
    config = parse(
        f"node {{ options{colon} {{ [{INFERENCE}.ext]{colon} {{ "
        'input_order_list: ["x", "y"] output_order_list: "z" } } }'
    )
    options = config.node[0].options
    extension = graph.OpenVINOInferenceCalculatorOptions.ext
    assert options.HasExtension(extension)
    assert list(options.Extensions[extension].input_order_list) == ["x", "y"]


@pytest.mark.parametrize(
    "form",
    [
        'MAP { key: "A" value: "a" } MAP: { key: "B", value: "b" }',
        'MAP: [{ key: "A" value: "a" }, { key: "B" value: "b" }]',
        'MAP { value: "b" key: "B" } MAP { key: "A" } MAP { key: "A" value: "a" }',
    ],
    ids=["repeated", "list", "the last one wins"],
)
def test_every_form_of_a_map_reads_the_same(form: str) -> None:
    entries = form.replace("MAP", "tag_to_input_tensor_names")
    config = parse(any_of(f"type.googleapis.com/{INFERENCE}", entries))
    options = graph.OpenVINOInferenceCalculatorOptions()
    config.node[0].node_options[0].Unpack(options)
    assert dict(options.tag_to_input_tensor_names) == {"A": "a", "B": "b"}


def test_a_loop_names_its_back_edge_and_its_sync_set() -> None:
    config = parse(
        """
        node {
          input_stream: "LOOPBACK:loop"
          input_stream_info: { tag_index: 'LOOPBACK:0', back_edge: true }
          input_stream_handler {
            input_stream_handler: "SyncSetInputStreamHandler",
            options {
              [mediapipe.SyncSetInputStreamHandlerOptions.ext] {
                sync_set { tag_index: "LOOPBACK:0" }
              }
            }
          }
        }
        """
    )
    (node,) = config.node
    (info,) = node.input_stream_info
    extension = graph.SyncSetInputStreamHandlerOptions.ext
    (sync_set,) = node.input_stream_handler.options.Extensions[extension].sync_set
    assert (info.tag_index, info.back_edge) == ("LOOPBACK:0", True)
    assert list(sync_set.tag_index) == ["LOOPBACK:0"]


@pytest.mark.parametrize(
    "message",
    [
        "FrameToTensorCalculatorOptions",
        "ObjectTrackerCalculatorOptions",
        "TrackOverlayCalculatorOptions",
    ],
)
def test_our_own_options_stand_in_both_forms(message: str) -> None:
    full_name = f"ovms_mp.{message}"
    packed = parse(any_of(f"type.googleapis.com/{full_name}", ""))
    extended = parse(f"node {{ options {{ [{full_name}.ext] {{}} }} }}")
    ((extension, _),) = extended.node[0].options.ListFields()
    assert packed.node[0].node_options[0].TypeName() == full_name
    assert extension.full_name == f"{full_name}.ext"


def test_options_left_out_have_their_documented_defaults() -> None:
    frame = graph.FrameToTensorCalculatorOptions()
    tracker = graph.ObjectTrackerCalculatorOptions()
    overlay = graph.TrackOverlayCalculatorOptions()
    assert (frame.width, frame.height, frame.keep_aspect_ratio) == (0, 0, False)
    assert (frame.mean, frame.scale) == (0.0, 1.0)
    assert not frame.HasField("element_type")  # the frame's own, or FP32 for fractions
    assert tracker.min_score == pytest.approx(0.4)
    assert tracker.min_iou == pytest.approx(0.2)
    assert tracker.max_lost == 10
    assert (overlay.line_thickness, overlay.label) == (2, "")


def test_an_element_type_is_written_by_name() -> None:
    name = "ovms_mp.FrameToTensorCalculatorOptions"
    config = parse(any_of(f"type.googleapis.com/{name}", "element_type: UINT8"))
    options = graph.FrameToTensorCalculatorOptions()
    config.node[0].node_options[0].Unpack(options)
    assert options.element_type == graph.FrameToTensorCalculatorOptions.UINT8


def test_what_was_parsed_survives_the_wire_with_its_options() -> None:
    config = parse(
        f'node {{ options {{ [{INFERENCE}.ext] {{ input_order_list: "x" }} }} }} '
        'executor { type: "ThreadPoolExecutor" options { '
        "[mediapipe.ThreadPoolExecutorOptions.ext] { num_threads: 2 } } }"
    )
    again = graph.CalculatorGraphConfig.FromString(config.SerializeToString())
    extension = graph.ThreadPoolExecutorOptions.ext
    assert again == config
    assert again.executor[0].options.Extensions[extension].num_threads == 2


def test_a_required_option_left_out_of_node_options_does_not_parse() -> None:
    with pytest.raises((text_format.ParseError, EncodeError), match="servable_name"):
        parse(any_of(f"type.googleapis.com/{SESSION}", 'servable_version: "1"'))


def test_a_required_option_left_out_of_options_shows_when_asked_for() -> None:
    config = parse(f"node {{ options {{ [{SESSION}.ext] {{}} }} }}")
    assert not config.IsInitialized()
    extension = graph.OpenVINOModelServerSessionCalculatorOptions.ext
    config.node[0].options.Extensions[extension].servable_name = "resnet"
    assert config.IsInitialized()


@pytest.mark.parametrize(
    "text",
    [
        'node { calculators: "typo" }',
        any_of("type.googleapis.com/mediapipe.NoSuchOptions", ""),
        any_of(f"type.googleapis.com/{INFERENCE}", 'input_order: "typo"'),
        "node { options { [mediapipe.NoSuchOptions.ext] {} } }",
        "node { max_in_flight: many }",
        "node {",
    ],
)
def test_what_the_language_does_not_know_is_refused(text: str) -> None:
    with pytest.raises(text_format.ParseError):
        parse(text)
