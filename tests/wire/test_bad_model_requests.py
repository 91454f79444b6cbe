"""What is wrong with a request to a model is told with OVMS's code and text, in the order
in which OVMS looks, and the server goes on.
"""

from __future__ import annotations

from typing import Any, Final

import grpc
import numpy as np
import pytest

from tests.wire import calls
from tests.wire.calls import Request, arrays, ask, floats, infer, refusal, shaped

TEN: Final = floats(*range(10))
A, B = np.array([[1, 2]]), floats(1, 2, 3)
FORTY: Final = bytes(40)
INVALID: Final = "INVALID_ARGUMENT"
STRUCTURE: Final = (
    "Passing buffers both in ModelInferRequest::InferInputTensor::contents and in "
    "ModelInferRequest::raw_input_contents is not allowed"
)


def more_raw() -> Request:
    request = ask("add_one", {"x": TEN})
    request.raw_input_contents.append(b"")
    return request


def both_contents() -> Request:
    request = ask("add_one", {"x": TEN})
    request.inputs[0].contents.fp32_contents.append(1)
    return request


def pair(**inputs: Any) -> Request:
    return ask("pair", inputs)


# The order is that in which OVMS looks: each request is also wrong in what comes later.
MODELS: Final[dict[str, tuple[Request, str]]] = {
    "no input": (ask("add_one"), "Invalid number of inputs - Expected: 1; Actual: 0"),
    "one input of two": (
        pair(z=B),
        "Invalid number of inputs - Expected: 2; Actual: 1",
    ),
    "an input too many": (
        ask("add_one", {"x": TEN, "z": TEN}),
        "Invalid number of inputs - Expected: 1; Actual: 2",
    ),
    "a raw buffer too many": (
        more_raw(),
        f"{STRUCTURE} - Size of raw_input_contents: 2 is different than number of "
        "inputs: 1",
    ),
    "raw and typed contents": (
        both_contents(),
        f"{STRUCTURE} - Passing buffers both in InferInputTensor contents and in "
        "raw_input_contents is not allowed. Detected buffer in InferInputTensor "
        "contents for input: x",
    ),
    "a missing input": (
        pair(z=A, b=B),
        "Missing input with specific name - Required input: a",
    ),
    "two missing inputs, the first by name": (
        pair(y=A, z=B),
        "Missing input with specific name - Required input: a",
    ),
    "an input twice": (
        shaped("pair", "b", "FP32", 1, 3, raw=bytes(12)),
        "Invalid number of inputs - Expected: 2; Actual: 1",
    ),
    "a negative dimension": (
        shaped("add_one", "x", "INT8", -1, 10, 1, raw=b""),
        "Invalid input shape - Negative or zero dimension size is not acceptable: "
        "(-1,10,1); input name: x",
    ),
    "another datatype": (
        shaped("add_one", "x", "INT32", 3, raw=b""),
        "Invalid input precision - Expected: FP32; Actual: INT32; input name: x",
    ),
    "a datatype that there is not": (
        shaped("add_one", "x", "FP8", 1, 10, raw=FORTY),
        "Invalid input precision - Expected: FP32; Actual: FP8; input name: x",
    ),
    "no datatype": (
        shaped("add_one", "x", "", 1, 10, raw=FORTY),
        "Invalid input precision - Expected: FP32; Actual: ; input name: x",
    ),
    "too few dimensions": (
        shaped("add_one", "x", "FP32", 10, raw=FORTY),
        "Invalid number of shape dimensions - Expected: (1,10); Actual: (10); "
        "input name: x",
    ),
    "no dimension": (
        shaped("add_one", "x", "FP32", raw=bytes(4)),
        "Invalid number of shape dimensions - Expected: (1,10); Actual: (); "
        "input name: x",
    ),
    "another batch": (
        shaped("add_one", "x", "FP32", 2, 9, raw=b""),
        "Invalid input batch size - Expected: 1; Actual: 2; input name: x",
    ),
    "another length": (
        shaped("add_one", "x", "FP32", 1, 9, raw=b""),
        "Invalid input shape - Expected: (1,10); Actual: (1,9); input name: x",
    ),
    "a length out of its range": (
        shaped("ranged", "x", "FP32", 7, 5, raw=b""),
        "Invalid input shape - Expected: (-1,[2~4]); Actual: (7,5); input name: x",
    ),
    "too few raw bytes": (
        shaped("add_one", "x", "FP32", 1, 10, raw=bytes(39)),
        "Invalid content size of tensor proto - Expected: 40 bytes; Actual: 39 bytes; "
        "input name: x",
    ),
    "too many raw bytes": (
        shaped("add_one", "x", "FP32", 1, 10, raw=bytes(44)),
        "Invalid content size of tensor proto - Expected: 40 bytes; Actual: 44 bytes; "
        "input name: x",
    ),
    "too few values": (
        shaped("add_one", "x", "FP32", 1, 10, fp32_contents=[1] * 9),
        "Invalid number of values in tensor proto container - Expected: 10 values; "
        "Actual: 9 values; input name: x",
    ),
    "values of another datatype": (
        shaped("add_one", "x", "FP32", 1, 10, int_contents=[1] * 10),
        "Invalid number of values in tensor proto container - Expected: 10 values; "
        "Actual: 0 values; input name: x",
    ),
    "neither raw nor typed contents": (
        shaped("add_one", "x", "FP32", 1, 10),
        "Invalid number of values in tensor proto container - Expected: 10 values; "
        "Actual: 0 values; input name: x",
    ),
}

OTHER_CODES: Final[dict[str, tuple[Request, str, str]]] = {
    "an unknown name": (
        ask("nothing", {"x": TEN}),
        "NOT_FOUND",
        "Mediapipe graph definition with requested name is not found",
    ),
    "an empty name": (
        ask("", {"x": TEN}),
        "NOT_FOUND",
        "Mediapipe graph definition with requested name is not found",
    ),
    "an unknown version": (
        ask("add_one", {"x": TEN}, model_version="2"),
        "NOT_FOUND",
        "Model with requested version is not found",
    ),
    "a version that is no number": (
        ask("add_one", {"x": TEN}, model_version="latest"),
        INVALID,
        "invalid model version format in request",
    ),
    "a negative version": (
        ask("add_one", {"x": TEN}, model_version="-1"),
        INVALID,
        "invalid model version format in request",
    ),
    "BYTES for a model of numbers": (
        shaped("add_one", "x", "BYTES", 1, bytes_contents=[b"x"]),
        "UNIMPLEMENTED",
        "Functionality not implemented - Datatype BYTES is not supported; "
        "input name: x",
    ),
}


@pytest.mark.parametrize("case", MODELS)
def test_a_model_refuses(channel: grpc.Channel, case: str) -> None:
    request, text = MODELS[case]
    assert refusal(channel, request) == (INVALID, text)


@pytest.mark.parametrize("case", OTHER_CODES)
def test_a_request_is_refused_with_another_code(
    channel: grpc.Channel, case: str
) -> None:
    request, code, text = OTHER_CODES[case]
    assert refusal(channel, request) == (code, text)


def test_what_a_model_fails_with_is_told_in_a_line(channel: grpc.Channel) -> None:
    request = shaped("picky", "x", "FP32", 5, raw=bytes(20))
    code, text = refusal(channel, request)
    assert code == "INTERNAL"
    # OpenVINO's words, of which it has many more and a file of its own sources.
    assert text.startswith("Internal inference error - [CPU] Reshape node with name ")
    assert "\n" not in text and ".cpp" not in text


@pytest.mark.parametrize(("batch", "length"), [(0, 3), (1, 2), (3, 4)])
def test_a_model_takes_every_length_that_its_ranges_admit(
    channel: grpc.Channel, batch: int, length: int
) -> None:
    array = np.arange(batch * length, dtype=np.float32).reshape(batch, length)
    answer = infer(channel, ask("ranged", {"x": array}))
    assert arrays(answer)["y"] == (array + 1).tolist()


def test_a_request_that_does_not_fit_leaves_the_stream_of_a_model_alive(
    channel: grpc.Channel,
) -> None:
    eleven = {"x": floats(*range(11))}
    with calls.Stream(channel, ask("add_one", {"x": TEN})) as stream:
        assert arrays(stream.answer())["y"] == (TEN + 1).tolist()
        stream.send(ask("add_one", eleven), ask("add_one", {"x": TEN}))
        assert "Invalid input shape" in stream.refusal()
        assert arrays(stream.answer())["y"] == (TEN + 1).tolist()
        stream.half_close()
        assert list(stream.rest()) == []
