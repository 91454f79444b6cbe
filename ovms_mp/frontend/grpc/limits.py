"""What one request may bring beside its contents, whichever port it came by: more than any
servable has use for is refused before anybody is asked.

The name of an input or output needs no limit: it is the servable's or it is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ovms_mp.frontend.grpc.wire import MalformedMessage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ovms_mp.core.messages import InferRequest, Parameter

MAX_TENSORS: Final = 1024
"""Inputs, and outputs that are asked for."""
MAX_PARAMETERS: Final = 64
"""Of a request, and of each of its inputs."""
MAX_NAME: Final = 256
"""Characters of a parameter's name."""
MAX_TEXT: Final = 4096
"""Characters of a parameter's text, which may become a side packet, and of an id."""


def judge(request: InferRequest) -> None:
    """Raises MalformedMessage if there is too much."""
    for what, tensors in (("inputs", request.inputs), ("outputs", request.outputs)):
        if len(tensors) > MAX_TENSORS:
            _refuse(f"{len(tensors)} {what}, at most {MAX_TENSORS}")
    judge_beside(request.id, request.parameters)
    for tensor in request.inputs:
        if tensor.parameters:
            _judge_parameters(tensor.parameters)


def judge_beside(identity: str, parameters: Mapping[str, Parameter]) -> None:
    """What differs between requests that are else the same. Raises MalformedMessage."""
    if len(identity) > MAX_TEXT:
        _refuse(f"an id of {len(identity)} characters, at most {MAX_TEXT}")
    if parameters:
        _judge_parameters(parameters)


def _judge_parameters(parameters: Mapping[str, Parameter]) -> None:
    if len(parameters) > MAX_PARAMETERS:
        _refuse(f"{len(parameters)} parameters, at most {MAX_PARAMETERS}")
    for name, value in parameters.items():
        if len(name) > MAX_NAME:
            _refuse(f"a parameter's name of {len(name)} characters, at most {MAX_NAME}")
        if isinstance(value, str) and len(value) > MAX_TEXT:
            _refuse(f"{len(value)} characters, at most {MAX_TEXT}; parameter: {name}")


def _refuse(why: str) -> None:
    raise MalformedMessage(f"Invalid message: {why}")
