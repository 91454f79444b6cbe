"""What one request may bring beside its contents, over either port: just as much as the
table says, and not one more.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from ovms_mp_protos import kserve

from ovms_mp.core.messages import InferRequest
from ovms_mp.frontend.grpc.codec import decode_request
from ovms_mp.frontend.grpc.wire import MalformedMessage
from ovms_mp.frontend.http import request as http

CASES: dict[str, tuple[dict[str, Any], str]] = {
    "inputs": ({"inputs": 1025}, "1025 inputs, at most 1024"),
    "outputs": ({"outputs": 1025}, "1025 outputs, at most 1024"),
    "parameters": ({"parameters": 65}, "65 parameters, at most 64"),
    "parameters of an input": ({"of_input": 65}, "65 parameters, at most 64"),
    "name": ({"name": 257}, "a parameter's name of 257 characters, at most 256"),
    "text": ({"text": 4097}, "4097 characters, at most 4096; parameter: n"),
    "id": ({"identity": 4097}, "an id of 4097 characters, at most 4096"),
}


def over_grpc(
    *,
    inputs: int = 1,
    outputs: int = 0,
    parameters: int = 0,
    of_input: int = 0,
    name: int = 1,
    text: int = 0,
    identity: int = 0,
    is_raw: bool = True,
) -> InferRequest:
    message = kserve.ModelInferRequest(model_name="m", id="i" * identity)
    for number in range(inputs):
        message.inputs.add(name=str(number), datatype="UINT8", shape=[1])
        if is_raw:
            message.raw_input_contents.append(b"x")
        else:
            message.inputs[-1].contents.uint_contents.append(1)
    for number in range(outputs):
        message.outputs.add(name=str(number))
    for number in range(parameters):
        message.parameters[str(number)].bool_param = True
    for number in range(of_input):
        message.inputs[0].parameters[str(number)].bool_param = True
    message.parameters["n" * name].string_param = "t" * text
    if parameters:
        del message.parameters["0"]
    return decode_request(message.SerializeToString())


def over_rest(
    *,
    inputs: int = 1,
    outputs: int = 0,
    parameters: int = 0,
    of_input: int = 0,
    name: int = 1,
    text: int = 0,
    identity: int = 0,
) -> InferRequest:
    tensor = {"datatype": "UINT8", "shape": [1], "data": [1]}
    said: dict[str, Any] = {
        "id": "i" * identity,
        "inputs": [{**tensor, "name": str(each)} for each in range(inputs)],
        "outputs": [{"name": str(each)} for each in range(outputs)],
        "parameters": {str(each): True for each in range(1, parameters)},
    }
    said["parameters"]["n" * name] = "t" * text
    said["inputs"][0]["parameters"] = {str(each): True for each in range(of_input)}
    body = json.dumps(said).encode()
    return http.decode("m", "", body, len(body)).request


def over_grpc_again(**changed: Any) -> InferRequest:
    """Of a head that is known: what differs is judged each time."""
    over_grpc()
    return over_grpc(**changed)


def over_grpc_typed(**changed: Any) -> InferRequest:
    return over_grpc(is_raw=False, **changed)


WAYS = [over_grpc, over_grpc_again, over_grpc_typed, over_rest]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("case", CASES)
def test_one_more_than_the_limit_is_refused_and_said(case: str, way: Any) -> None:
    changed, text = CASES[case]
    with pytest.raises(MalformedMessage) as caught:
        way(**changed)
    assert str(caught.value) == f"Invalid message: {text}"


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("case", CASES)
def test_the_limit_itself_is_taken(case: str, way: Any) -> None:
    changed, _ = CASES[case]
    assert way(**{what: most - 1 for what, most in changed.items()}).model_name == "m"
