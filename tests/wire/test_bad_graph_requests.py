"""What is wrong with a request to a graph is told with OVMS's code and text, and the
server goes on.
"""

from __future__ import annotations

from typing import Any, Final

import grpc
import numpy as np
import pytest

from tests.wire.calls import Request, ask, floats, refusal, shaped

TEN: Final = floats(*range(10))
A, B = np.array([[1, 2]]), floats(1, 2, 3)
INVALID: Final = "INVALID_ARGUMENT"
STRUCTURE: Final = (
    "Passing buffers both in ModelInferRequest::InferInputTensor::contents and in "
    "ModelInferRequest::raw_input_contents is not allowed"
)
TIMESTAMP: Final = (
    "Malformed packet timestamp - Invalid timestamp format in request parameter "
    "OVMS_MP_TIMESTAMP. Should be int64"
)


def raw_less() -> Request:
    request = ask("join", {"a": A, "b": B})
    del request.raw_input_contents[1]
    return request


def unset(graph: str, name: str) -> Request:
    """With a parameter that has no value of any type."""
    request = ask(graph, {"in": TEN})
    request.parameters[name].Clear()
    return request


def parameter(graph: str, name: str, field: str, value: Any) -> Request:
    request = ask(graph, {"in": TEN})
    setattr(request.parameters[name], field, value)
    return request


GRAPHS: Final[dict[str, tuple[Request, str]]] = {
    "an unexpected input": (
        ask("echo", {"in": TEN, "other": TEN}),
        "Unexpected input - other is unexpected",
    ),
    "an input that does not come": (
        ask("join", {"a": A}),
        "Invalid number of inputs - Not all input packets created",
    ),
    "a raw buffer too few": (
        raw_less(),
        f"{STRUCTURE} - Size of raw_input_contents: 1 is different than number of "
        "inputs: 2",
    ),
    "a negative dimension": (
        shaped("echo", "in", "FP32", 1, -1, raw=b""),
        "Invalid input shape - Negative dimension size is not acceptable: (1,-1); "
        "input name: in",
    ),
    "too few raw bytes": (
        shaped("echo", "in", "FP32", 3, raw=bytes(4)),
        "Invalid content size of tensor proto - Expected: 12 bytes; Actual: 4 bytes; "
        "input name: in",
    ),
    "more than there is memory": (
        shaped("echo", "in", "FP32", 2**62, 2**62, raw=b""),
        "Invalid content size of tensor proto - Provided shape and datatype declare "
        "too large buffer.",
    ),
    "too few values": (
        shaped("echo", "in", "INT32", 3, int_contents=[1]),
        "Invalid number of values in tensor proto container - Expected: 3 values; "
        "Actual: 1 values; input name: in",
    ),
    "a datatype that mediapipe's tensor has not": (
        shaped("mediapipe", "in", "INT64", 1, raw=bytes(8)),
        "Invalid input precision - Not supported precision for Mediapipe tensor "
        "deserialization: INT64",
    ),
    "a dimension 0 in mediapipe's tensor": (
        shaped("mediapipe", "in", "FP32", 1, 0, raw=b""),
        "Invalid input shape - Negative or zero dimension size is not acceptable: "
        "(1,0); input name: in",
    ),
    "a datatype that tensorflow's tensor has not": (
        shaped("tensorflow", "in", "BYTES", 1, raw=bytes(4)),
        "Invalid input precision - Not supported precision for Tensorflow tensor "
        "deserialization: BYTES",
    ),
    "too few raw bytes for tensorflow": (
        shaped("tensorflow", "in", "FP32", 2, raw=bytes(4)),
        "Invalid content size of tensor proto - Mediapipe deserialization content size "
        "mismatch; allocated TF Tensor: 8 bytes vs KServe buffer: 4 bytes",
    ),
    "an image that is not raw": (
        shaped("image", "in", "UINT8", 1, 1, 1, uint_contents=[1]),
        "Mediapipe execution failed. MP status",
    ),
    "an image with a batch": (
        shaped("image", "in", "UINT8", 1, 2, 2, 3, raw=bytes(12)),
        "Invalid input shape - Invalid Mediapipe Image input shape size. Expected: 3; "
        "Actual: 4",
    ),
    "an image without width": (
        shaped("image", "in", "UINT8", 2, 0, 3, raw=b""),
        "Invalid input shape - Invalid Mediapipe Image input width. Expected greater "
        "than 0; Actual: 0; Expected layout - HWC.",
    ),
    "an image of another size": (
        shaped("image", "in", "UINT8", 2, 2, 3, raw=bytes(11)),
        "Invalid content size of tensor proto - Invalid Mediapipe Image input buffer "
        "size. Actual: 11; Expected: 12",
    ),
    "an image of two channels": (
        shaped("image", "in", "UINT8", 2, 2, 2, raw=bytes(8)),
        "Inputs inside buffer does not match expected format. - Invalid KFS request "
        "datatype, conversion to Mediapipe ImageFrame format failed.",
    ),
    "a Python tensor of another size": (
        shaped("py", "in", "INT16", 3, raw=bytes(5)),
        "Invalid content size of tensor proto - Invalid Python tensor buffer size. "
        "Actual: 5; Expected: 6",
    ),
    "a datatype of one's own with typed contents": (
        shaped("py", "in", "MINE", 1, int_contents=[1]),
        "Invalid input precision - Provided datatype is invalid, custom datatypes are "
        "allowed only when raw_input_contents is used.",
    ),
    "a timestamp that is text": (
        parameter("echo", "OVMS_MP_TIMESTAMP", "string_param", "1"),
        TIMESTAMP,
    ),
    "a timestamp that is a double": (
        parameter("echo", "OVMS_MP_TIMESTAMP", "double_param", 1.0),
        TIMESTAMP,
    ),
    "a timestamp that is a switch": (
        parameter("echo", "OVMS_MP_TIMESTAMP", "bool_param", True),
        TIMESTAMP,
    ),
    "a timestamp without a value": (unset("echo", "OVMS_MP_TIMESTAMP"), TIMESTAMP),
    "a timestamp that is none": (
        ask("echo", {"in": TEN}, at=-(2**63)),
        "Malformed packet timestamp - Timestamp::Unset()",
    ),
    "a timestamp after the end": (
        ask("echo", {"in": TEN}, at=2**63 - 1),
        "Malformed packet timestamp - Timestamp::Done()",
    ),
    "a model's complaint": (
        ask("add", {"in": floats(1, 2)}),
        "Mediapipe execution failed. MP status - INTERNAL: CalculatorGraph::Run() "
        'failed: Calculator::Process() for node "OpenVINOInferenceCalculator" failed: '
        "Invalid input shape - Expected: (1,10); Actual: (1,2); input name: x; "
        "model name: add_one",
    ),
}

OTHER_CODES: Final[dict[str, tuple[Request, str, str]]] = {
    "the server's own side packet": (
        parameter("echo", "py", "string_param", "mine"),
        "FAILED_PRECONDITION",
        "Failed to initialize mediapipe graph - Incoming input side packet: py is "
        "special reserved name and cannot be used",
    ),
    "a side packet that no side packet can be": (
        parameter("echo", "limit", "double_param", 1.5),
        "UNIMPLEMENTED",
        "Functionality not implemented - Handling parameters of other types than: "
        "bool, string, int64 is not supported",
    ),
    "a side packet without a value": (
        unset("echo", "limit"),
        "UNIMPLEMENTED",
        "Functionality not implemented - Handling parameters of other types than: "
        "bool, string, int64 is not supported",
    ),
    "a side packet that does not come": (
        ask("limited", {"in": TEN}),
        "FAILED_PRECONDITION",
        "Failed to start mediapipe graph - "
        'Side packet "limit" is required but was not provided.',
    ),
}


@pytest.mark.parametrize("case", GRAPHS)
def test_a_graph_refuses(channel: grpc.Channel, case: str) -> None:
    request, text = GRAPHS[case]
    assert refusal(channel, request) == (INVALID, text)


@pytest.mark.parametrize("case", OTHER_CODES)
def test_a_request_is_refused_with_another_code(
    channel: grpc.Channel, case: str
) -> None:
    request, code, text = OTHER_CODES[case]
    assert refusal(channel, request) == (code, text)
