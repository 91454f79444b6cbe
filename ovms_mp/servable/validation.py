"""What a model is asked for is judged before it runs, in OVMS's order and words, so
that a client gets from us the error that it gets from OVMS.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from ovms_mp.core.errors import ServingError, Status, public_text
from ovms_mp.core.messages import InferRequest, InputTensor
from ovms_mp.core.tensor import BYTES, Array, Datatype, byte_size, describe_shape
from ovms_mp.inference.engine import Port, Ports
from ovms_mp.servable import contents

# OVMS counts elements and bytes in a size_t.
_MAX_BYTES: Final = 2**64 - 1


def read_inputs(request: InferRequest, ports: Ports) -> list[Array]:
    """One array per port, in the model's order: views on the request where possible.

    Raises ServingError for the first thing that does not fit.
    """
    _check_message(request, ports)
    arrays: list[Array] = [_NOTHING] * len(ports)
    given: dict[int, InputTensor] = {}
    for tensor in request.inputs:
        index = ports.find(tensor.name)
        if index is not None:
            given.setdefault(index, tensor)
    for index in ports.by_name:
        tensor = given.get(index)
        if tensor is None:
            name = ports[index].name
            raise ServingError(Status.INVALID_MISSING_INPUT, f"Required input: {name}")
        arrays[index] = _read(tensor, ports[index])
    return arrays


def order_inputs(tensors: Mapping[str, Array], ports: Ports) -> list[Array]:
    """The same for arrays that are there already, by any of the ports' names."""
    if len(tensors) != len(ports):
        details = f"Expected: {len(ports)}; Actual: {len(tensors)}"
        raise ServingError(Status.INVALID_NO_OF_INPUTS, details)
    arrays: list[Array | None] = [None] * len(ports)
    for name, array in tensors.items():
        index = ports.find(name)
        if index is None:
            raise ServingError(Status.INVALID_UNEXPECTED_INPUT, f"input name: {name}")
        arrays[index] = array
    checked: list[Array] = [_NOTHING] * len(ports)
    for index in ports.by_name:
        port, array = ports[index], arrays[index]
        if array is None:
            details = f"Required input: {port.name}"
            raise ServingError(Status.INVALID_MISSING_INPUT, details)
        datatype = Datatype.from_dtype(array.dtype)
        _check_datatype(datatype.name if datatype else str(array.dtype), port)
        _check_shape(array.shape, port)
        checked[index] = array
    return checked


def check_outputs(ports: Ports) -> None:
    """Raises ServingError if there is an output that cannot be put on the wire yet."""
    for port in ports:
        if port.datatype is None:
            raise ServingError(
                Status.NOT_IMPLEMENTED,
                f"Outputs of type {port.element_type} are not supported; "
                f"output name: {port.name}",
            )


_NOTHING: Final = np.empty(0)


def _check_message(request: InferRequest, ports: Ports) -> None:
    actual = len(request.inputs)
    if actual != len(ports) or not actual:
        details = f"Expected: {len(ports)}; Actual: {actual}"
        raise ServingError(Status.INVALID_NO_OF_INPUTS, details)
    if not request.raw_count:
        return
    if request.raw_count != actual:
        raise ServingError(
            Status.INVALID_MESSAGE_STRUCTURE,
            f"Size of raw_input_contents: {request.raw_count} is different than number "
            f"of inputs: {actual}",
        )
    for tensor in request.inputs:
        if tensor.contents is not None:
            raise ServingError(
                Status.INVALID_MESSAGE_STRUCTURE,
                "Passing buffers both in InferInputTensor contents and in "
                "raw_input_contents is not allowed. Detected buffer in "
                f"InferInputTensor contents for input: {tensor.name}",
            )


def _read(tensor: InputTensor, port: Port) -> Array:
    shape = tensor.shape
    if any(length < 0 for length in shape):
        raise ServingError(
            Status.INVALID_SHAPE,
            "Negative or zero dimension size is not acceptable: "
            f"{describe_shape(shape)}; input name: {port.name}",
        )
    datatype = _check_datatype(tensor.datatype, port)
    _check_shape(shape, port)
    if byte_size(shape, datatype) > _MAX_BYTES:
        details = f"Shape dimensions overflow; input name: {port.name}"
        raise ServingError(Status.INVALID_CONTENT_SIZE, details)
    return contents.array(tensor, datatype)


def _check_datatype(actual: str, port: Port) -> Datatype:
    if actual == BYTES:
        details = f"Datatype BYTES is not supported; input name: {port.name}"
        raise ServingError(Status.NOT_IMPLEMENTED, details)
    expected = port.datatype
    if expected is None:
        raise ServingError(
            Status.NOT_IMPLEMENTED,
            f"Inputs of type {port.element_type} are not supported; "
            f"input name: {port.name}",
        )
    if actual != expected.name:
        raise ServingError(
            Status.INVALID_PRECISION,
            f"Expected: {expected.name}; Actual: {public_text(actual)}; "
            f"input name: {port.name}",
        )
    return expected


def _check_shape(shape: Sequence[int], port: Port) -> None:
    dims = port.shape
    if dims is None:
        return
    if len(shape) != len(dims):
        raise _misfit(Status.INVALID_NO_OF_SHAPE_DIMENSIONS, port, shape)
    # The batch comes first, as in every layout that OVMS assumes by itself.
    if dims and dims[0].is_static and not dims[0].admits(shape[0]):
        raise ServingError(
            Status.INVALID_BATCH_SIZE,
            f"Expected: {dims[0]}; Actual: {shape[0]}; input name: {port.name}",
        )
    for dim, length in zip(dims, shape, strict=True):
        if not dim.admits(length):
            raise _misfit(Status.INVALID_SHAPE, port, shape)


def _misfit(status: Status, port: Port, shape: Sequence[int]) -> ServingError:
    expected = ",".join(map(str, port.shape or ()))
    return ServingError(
        status,
        f"Expected: ({expected}); Actual: {describe_shape(shape)}; "
        f"input name: {port.name}",
    )
