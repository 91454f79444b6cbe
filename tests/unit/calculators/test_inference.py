"""Laws of OpenVINOInferenceCalculator."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ovms_mp_calculators.inference import OpenVINOInferenceCalculator

from ovms_mp.core.errors import ServingError, Status
from ovms_mp.core.packet import Packet
from ovms_mp.core.pending import Cancelled
from ovms_mp.graph.runner import CalculatorRunner
from tests.unit.calculators.support import Arithmetic, floats

INPUTS = 'input_stream: "A:a" input_stream: "B:b" '
OUTPUTS = 'output_stream: "SUM:sum" '
IN_NAMES = (
    'tag_to_input_tensor_names { key: "A" value: "a" } '
    'tag_to_input_tensor_names { key: "B" value: "b" } '
)
OUT_NAMES = 'tag_to_output_tensor_names { key: "SUM" value: "sum" } '
TWO = INPUTS, OUTPUTS, IN_NAMES + OUT_NAMES


def node(
    inputs: str,
    outputs: str,
    options: str = "",
    *,
    model: Arithmetic | None = None,
    max_in_flight: int | None = None,
) -> CalculatorRunner:
    name = "mediapipe.OpenVINOInferenceCalculatorOptions"
    text = (
        'calculator: "OpenVINOInferenceCalculator" input_side_packet: "SESSION:s" '
        f"{inputs} {outputs} "
        f"node_options: {{ [type.googleapis.com/{name}]: {{ {options} }} }}"
    )
    if max_in_flight is not None:
        text += f" max_in_flight: {max_in_flight}"
    return CalculatorRunner(
        OpenVINOInferenceCalculator, text, side_packets={"s": model or Arithmetic()}
    )


def refused(inputs: str, outputs: str, options: str = "") -> str:
    with pytest.raises(ServingError) as caught:
        node(inputs, outputs, options)
    assert caught.value.status is Status.MEDIAPIPE_GRAPH_INITIALIZATION_ERROR
    return caught.value.details


def values(packets: list[Packet]) -> list[tuple[int, list[float]]]:
    return [(at, payload.tolist()) for at, payload in packets]


def failure(runner: CalculatorRunner) -> str:
    assert runner.is_done and runner.error is not None
    assert runner.error.status is Status.MEDIAPIPE_EXECUTION_ERROR
    return runner.error.details


# Names


def test_tags_are_mapped_to_names():
    runner = node(*TWO)
    runner.feed("a", floats(1, 2), at=3)
    runner.feed("b", floats(10, 20), at=3)
    assert values(runner.outputs["sum"]) == [(3, [11, 22])]


@pytest.mark.parametrize("prefix", ["OVTENSOR", "TENSOR", "TFTENSOR", "OTHER"])
def test_every_tag_for_one_tensor_carries_an_array(prefix: str):
    runner = node(
        f'input_stream: "{prefix}1:a" input_stream: "{prefix}2:b"',
        f'output_stream: "{prefix}_X:sum"',
        f'tag_to_input_tensor_names {{ key: "{prefix}1" value: "a" }}'
        f'tag_to_input_tensor_names {{ key: "{prefix}2" value: "b" }}'
        f'tag_to_output_tensor_names {{ key: "{prefix}_X" value: "sum" }}',
    )
    runner.feed("a", floats(1), at=0)
    runner.feed("b", floats(2), at=0)
    assert values(runner.outputs["sum"]) == [(0, [3])]


def test_a_tag_that_is_not_mapped_is_the_name_itself():
    runner = node(INPUTS, OUTPUTS, OUT_NAMES)
    runner.feed("a", floats(1), at=0)
    runner.feed("b", floats(2), at=0)
    assert failure(runner).endswith(f"{Status.INVALID_UNEXPECTED_INPUT.value} - A")


def test_the_key_of_a_stream_without_a_tag_is_empty():
    runner = node(
        'input_stream: "x" input_stream: "B:y"',
        'output_stream: "z"',
        'tag_to_input_tensor_names { key: "" value: "a" }'
        'tag_to_input_tensor_names { key: "B" value: "b" }'
        'tag_to_output_tensor_names { key: "" value: "difference" }',
    )
    runner.feed("x", floats(5), at=0)
    runner.feed("y", floats(2), at=0)
    assert values(runner.outputs["z"]) == [(0, [3])]


def test_several_streams_may_show_one_output():
    runner = node(
        INPUTS,
        'output_stream: "X:x" output_stream: "Y:y"',
        IN_NAMES + 'tag_to_output_tensor_names { key: "X" value: "sum" }'
        'tag_to_output_tensor_names { key: "Y" value: "sum" }',
    )
    runner.feed("a", floats(1), at=0)
    runner.feed("b", floats(2), at=0)
    assert values(runner.outputs["x"]) == values(runner.outputs["y"]) == [(0, [3])]


def test_map_entries_for_tags_that_do_not_exist_are_ignored():
    extra = 'tag_to_input_tensor_names { key: "ZZZ" value: "c" }'
    runner = node(INPUTS, OUTPUTS, IN_NAMES + OUT_NAMES + extra)
    runner.feed("a", floats(1), at=0)
    runner.feed("b", floats(2), at=0)
    assert values(runner.outputs["sum"]) == [(0, [3])]


# Vectors


@pytest.mark.parametrize("tag", ["OVTENSORS", "TENSORS", "TFTENSORS", "TENSORS_2"])
def test_a_vector_holds_what_the_order_lists_say(tag: str):
    runner = node(
        f'input_stream: "{tag}:in"',
        f'output_stream: "{tag}:out"',
        'input_order_list: ["b", "a"] output_order_list: ["sum", "difference"]',
    )
    runner.feed("in", [floats(1), floats(10)], at=0)
    (packet,) = runner.outputs["out"]
    assert [each.tolist() for each in packet.payload] == [[11], [9]]


def test_a_vector_out_without_a_list_is_in_the_order_of_names():
    runner = node(
        'input_stream: "OVTENSORS:in"',
        'output_stream: "OVTENSORS:out"',
        'input_order_list: ["a", "b"]',
    )
    runner.feed("in", [floats(10), floats(1)], at=0)
    (packet,) = runner.outputs["out"]
    assert [each.tolist() for each in packet.payload] == [[9], [11]]


def test_vectors_and_single_tensors_mix():
    runner = node(
        INPUTS,
        'output_stream: "OVTENSORS:out"',
        IN_NAMES + 'output_order_list: "sum"',
    )
    runner.feed("a", floats(1), at=0)
    runner.feed("b", floats(2), at=0)
    (packet,) = runner.outputs["out"]
    assert [each.tolist() for each in packet.payload] == [[3]]


def test_a_vector_is_as_long_as_its_list():
    runner = node(
        'input_stream: "OVTENSORS:in"', OUTPUTS, 'input_order_list: ["a", "b"]'
    )
    runner.feed("in", [floats(1)], at=0)
    assert 'input stream "OVTENSORS:in" carries 1 tensors' in failure(runner)
    assert "input_order_list names 2" in failure(runner)


# What is refused when the graph is loaded


@pytest.mark.parametrize(
    ("inputs", "outputs", "options", "why"),
    [
        ("", OUTPUTS, "", "input stream of any tag is missing"),
        (INPUTS, "", "", "output stream of any tag is missing"),
        (
            INPUTS,
            OUTPUTS,
            IN_NAMES + 'input_order_list: "a"',
            "tag_to_input_tensor_names and input_order_list exclude each other",
        ),
        (
            INPUTS,
            OUTPUTS,
            OUT_NAMES + 'output_order_list: "sum"',
            "tag_to_output_tensor_names and output_order_list exclude each other",
        ),
        (
            'input_stream: "TFLITE_TENSOR:in"',
            OUTPUTS,
            "",
            'input stream "TFLITE_TENSOR:in": TFLITE_TENSOR is not supported',
        ),
        (
            INPUTS,
            'output_stream: "TFLITE_TENSORS:out"',
            "",
            'output stream "TFLITE_TENSORS:out": TFLITE_TENSORS is not supported',
        ),
        (
            'input_stream: "OVTENSORS:in"',
            OUTPUTS,
            "",
            "a vector of tensors needs input_order_list",
        ),
        (
            'input_stream: "in"',
            OUTPUTS,
            "",
            'input stream "in" has no tag, so tag_to_input_tensor_names needs an '
            'entry with the key ""',
        ),
        (
            'input_stream: "A:0:a" input_stream: "A:1:b"',
            OUTPUTS,
            "",
            "2 input streams have the tag A",
        ),
        (
            INPUTS,
            OUTPUTS,
            'tag_to_input_tensor_names { key: "A" value: "a" }'
            'tag_to_input_tensor_names { key: "B" value: "a" }',
            'input tensor "a" comes from two places: "A:a" and "B:b"',
        ),
    ],
)
def test_a_node_that_no_model_could_make_work_is_refused(
    inputs: str, outputs: str, options: str, why: str
):
    assert why in refused(inputs, outputs, options)


def test_the_session_is_required():
    with pytest.raises(ServingError, match="input side packet SESSION is missing"):
        CalculatorRunner(
            OpenVINOInferenceCalculator,
            f'calculator: "OpenVINOInferenceCalculator" {INPUTS} {OUTPUTS}',
        )


# What fails a run


def test_a_stream_without_a_packet_is_named():
    runner = node(*TWO)
    runner.feed("a", floats(1), at=0)
    runner.close()
    assert 'input stream "B:b" has no packet at this timestamp' in failure(runner)


def test_the_reason_why_a_model_refuses_is_told():
    runner = node(*TWO)
    runner.feed("a", np.zeros(1, np.int32), at=0)
    runner.feed("b", floats(1), at=0)
    expected = "Invalid input precision - Expected: FP32; Actual: int32; input name: a"
    assert failure(runner).endswith(expected)


def test_the_reason_why_an_inference_fails_is_told():
    model = Arithmetic(is_held=True)
    runner = node(*TWO, model=model)
    runner.feed("a", floats(1), at=0)
    runner.feed("b", floats(1), at=0)
    assert not runner.is_done
    model.finish(0, ServingError(Status.OV_INTERNAL_INFERENCE_ERROR, "out of order"))
    assert failure(runner).endswith("Internal inference error - out of order")


def test_an_output_that_the_model_lacks_is_named():
    runner = node(INPUTS, OUTPUTS, IN_NAMES)
    runner.feed("a", floats(1), at=0)
    runner.feed("b", floats(1), at=0)
    assert failure(runner).endswith(
        'model "arithmetic" has no output "SUM", it has "sum", "difference"'
    )


@pytest.mark.parametrize("payload", [[floats(1)], 5, None])
def test_a_payload_that_is_no_array_is_named(payload: Any):
    runner = node(*TWO)
    runner.feed("a", payload, at=0)
    runner.feed("b", floats(1), at=0)
    what = type(payload).__name__
    assert f'input stream "A:a" carries {what}, not an array' in failure(runner)


@pytest.mark.parametrize("payload", [floats(1), [5, 6], None])
def test_a_payload_that_is_no_vector_is_named(payload: Any):
    runner = node(
        'input_stream: "OVTENSORS:in"', OUTPUTS, 'input_order_list: ["a", "b"]'
    )
    runner.feed("in", payload, at=0)
    assert '"OVTENSORS:in" does not carry a list of arrays' in failure(runner)


# Several at a time


def fed(model: Arithmetic, count: int, **options: Any) -> CalculatorRunner:
    runner = node(*TWO, model=model, **options)
    for at in range(count):
        runner.feed("a", floats(at), at=at)
        runner.feed("b", floats(1), at=at)
    return runner


def test_inferences_are_under_way_together_and_leave_in_order():
    model = Arithmetic(is_held=True)
    runner = fed(model, 3)
    assert len(model.waiting) == 3
    model.finish(2)
    model.finish(1)
    assert runner.outputs["sum"] == []
    model.finish(0)
    assert values(runner.outputs["sum"]) == [(0, [1]), (1, [2]), (2, [3])]


def test_no_more_are_under_way_than_the_class_or_the_node_says():
    default = Arithmetic(is_held=True)
    fed(default, 10)
    assert len(default.waiting) == OpenVINOInferenceCalculator.max_in_flight
    one = Arithmetic(is_held=True)
    runner = fed(one, 10, max_in_flight=1)
    for done in range(10):
        assert len(one.waiting) == done + 1
        one.finish(done)
    assert [at for at, _ in runner.outputs["sum"]] == list(range(10))


def test_a_failure_cancels_what_else_is_under_way():
    model = Arithmetic(is_held=True)
    runner = fed(model, 3)
    model.finish(0, ServingError(Status.OV_INTERNAL_INFERENCE_ERROR))
    assert runner.is_done
    assert [isinstance(p.error, Cancelled) for p, _ in model.waiting] == [
        False,
        True,
        True,
    ]


def test_the_end_waits_for_what_is_under_way():
    model = Arithmetic(is_held=True)
    runner = fed(model, 1)
    runner.close()
    assert not runner.is_done
    model.finish(0)
    assert runner.is_done and runner.error is None
    assert values(runner.outputs["sum"]) == [(0, [1])]
