"""What a model is asked for is judged before it runs, in OVMS's order and words, so
that a client gets from us the error that it gets from OVMS.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

import numpy as np

from ovms_mp.core.errors import ServingError, Status, public_text
from ovms_mp.core.messages import InferRequest, InputTensor
from ovms_mp.core.tensor import BYTES, Array, Datatype, byte_size, describe_shape
from ovms_mp.inference.engine import TEXT, Port, Ports
from ovms_mp.servable import contents, model_bytes
from ovms_mp.servable.model_bytes import Meaning, meaning_of
from ovms_mp.servable.shape_rules import check_shape

if TYPE_CHECKING:
    from ovms_mp.inference.engine import CompiledModel, TensorData

# OVMS counts elements and bytes in a size_t.
_MAX_BYTES: Final = 2**64 - 1

# A form for each shape of a model that takes any; then they are learned anew.
_MAX_PLANS: Final = 256

_Form: TypeAlias = tuple[tuple[str, str, tuple[int, ...]], ...]


class _Step(NamedTuple):
    """What becomes of an input: the bytes as they are, or an array of this dtype."""

    port: int
    size: int
    dtype: np.dtype[Any] | None


class InputReader:
    """Judges the requests to one model. What was asked in the same way before, by names,
    datatypes and shapes, is not judged again, as long as its raw contents have the size
    that they must have. Thread-safe.
    """

    def __init__(self, model: CompiledModel) -> None:
        self._inputs = model.inputs
        self._outputs = model.outputs
        self._plans: dict[_Form, tuple[_Step, ...]] = {}
        self._takes_pictures = any(
            meaning_of(port) is Meaning.PICTURES for port in model.inputs
        )

    def read(self, request: InferRequest) -> list[TensorData] | None:
        """One tensor per port, in the model's order, without a copy where possible;
        None if there are pictures among them, which take their time: see `decode`.

        Raises ServingError for the first thing that does not fit.
        """
        inputs = request.inputs
        form = tuple([(each.name, each.datatype, each.shape) for each in inputs])
        plan = self._plans.get(form)
        if plan is not None and request.raw_count == len(inputs):
            tensors = _follow(plan, inputs)
            if tensors is not None:
                return tensors
        if self._takes_pictures and any(each.datatype == BYTES for each in inputs):
            return None
        _check_types(self._outputs)
        arrays = read_inputs(request, self._inputs)
        # An empty buffer is no array to numpy, and not all BYTES mean what they say.
        is_plain = all(array.nbytes for array in arrays) and all(
            each.raw is not None and each.datatype != BYTES for each in inputs
        )
        if is_plain:
            if len(self._plans) >= _MAX_PLANS:
                self._plans.clear()
            self._plans[form] = tuple([self._step(each, arrays) for each in inputs])
        return list(arrays)

    def decode(self, request: InferRequest) -> list[TensorData]:
        """The same, with pictures: blocks for as long as they take."""
        _check_types(self._outputs)
        return list(read_inputs(request, self._inputs))

    def is_known(self, request: InferRequest) -> bool:
        """True if requests like this one need no look at all, and have one input whose
        contents are what OpenVINO gets.
        """
        form = tuple(
            [(each.name, each.datatype, each.shape) for each in request.inputs]
        )
        plan = self._plans.get(form)
        return (
            plan is not None
            and len(plan) == 1 == request.raw_count
            and plan[0].dtype is None
        )

    def _step(self, tensor: InputTensor, arrays: Sequence[Array]) -> _Step:
        index = self._inputs.find(tensor.name)
        assert index is not None
        array, is_static = arrays[index], self._inputs[index].is_static
        return _Step(index, array.nbytes, None if is_static else array.dtype)


def _follow(
    plan: Sequence[_Step], inputs: Sequence[InputTensor]
) -> list[TensorData] | None:
    """None if the contents are not what the plan is for."""
    tensors: list[TensorData] = [b""] * len(plan)
    for (port, size, dtype), tensor in zip(plan, inputs, strict=True):
        raw = tensor.raw
        if raw is None or len(raw) != size or tensor.contents is not None:
            return None
        tensors[port] = (
            raw if dtype is None else np.frombuffer(raw, dtype).reshape(tensor.shape)
        )
    return tensors


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
        check_shape(array.shape, port)
        checked[index] = array
    return checked


Form: TypeAlias = "tuple[np.dtype[Any], tuple[int, ...]]"
"""The dtype and the shape of an array."""


def forms(model: CompiledModel) -> tuple[Form, ...] | None:
    """That of each input, if each has but one and nothing else is to be judged."""
    found: list[Form] = []
    for port in model.inputs:
        if port.datatype is None or not port.is_static:
            return None
        shape = tuple(dim.minimum for dim in port.shape or ())
        found.append((port.datatype.dtype, shape))
    if model.is_stateful or any(port.datatype is None for port in model.outputs):
        return None
    return tuple(found)


def put_in_order(
    tensors: Mapping[str, Array], ports: Ports, expected: Sequence[Form]
) -> list[Array] | None:
    """`order_inputs`, if that raises nothing; None also where it might not."""
    if len(tensors) != len(expected):
        return None
    arrays: list[Array] = [_NOTHING] * len(expected)
    for name, array in tensors.items():
        index = ports.find(name)
        if index is None:
            return None
        dtype, shape = expected[index]
        if (
            array.shape != shape
            or array.dtype != dtype
            or arrays[index] is not _NOTHING
        ):
            return None
        arrays[index] = array
    return arrays


def check_outputs(ports: Ports) -> None:
    """Raises ServingError if there is an output that no packet of a graph can carry."""
    for port in ports:
        if port.element_type == TEXT:
            details = f"Texts are not supported in graphs; output name: {port.name}"
            raise ServingError(Status.NOT_IMPLEMENTED, details)
    _check_types(ports)


def _check_types(ports: Ports) -> None:
    """Raises ServingError if there is an output that KServe has no datatype for."""
    for port in ports:
        if port.datatype is None and port.element_type != TEXT:
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
    if tensor.datatype == BYTES:
        return model_bytes.read(tensor, port)
    datatype = _check_datatype(tensor.datatype, port)
    check_shape(shape, port)
    if byte_size(shape, datatype) > _MAX_BYTES:
        details = f"Shape dimensions overflow; input name: {port.name}"
        raise ServingError(Status.INVALID_CONTENT_SIZE, details)
    return contents.array(tensor, datatype)


def _check_datatype(actual: str, port: Port) -> Datatype:
    expected = port.datatype
    if expected is None and port.element_type == TEXT:
        raise ServingError(
            Status.INVALID_PRECISION,
            f"Expected: {BYTES}; Actual: {public_text(actual)}; "
            f"input name: {port.name}",
        )
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
