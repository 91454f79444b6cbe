"""numpy arrays on the wire and back, in KServe v2's raw form."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias, TypeVar

import numpy as np
from google.protobuf.message import DecodeError, Message
from numpy.typing import NDArray
from ovms_mp_protos import kserve

from ovms_mp_clients.errors import ClientError

Array: TypeAlias = NDArray[Any]
TensorLike: TypeAlias = Array | Sequence[bytes] | Sequence[str]
Parameter: TypeAlias = bool | int | float | str

M = TypeVar("M", bound=Message)

TIMESTAMP: Final = "OVMS_MP_TIMESTAMP"

_DATATYPES: Final[Mapping[np.dtype[Any], str]] = {
    np.dtype(np.bool_): "BOOL",
    np.dtype(np.uint8): "UINT8",
    np.dtype(np.uint16): "UINT16",
    np.dtype(np.uint32): "UINT32",
    np.dtype(np.uint64): "UINT64",
    np.dtype(np.int8): "INT8",
    np.dtype(np.int16): "INT16",
    np.dtype(np.int32): "INT32",
    np.dtype(np.int64): "INT64",
    np.dtype(np.float16): "FP16",
    np.dtype(np.float32): "FP32",
    np.dtype(np.float64): "FP64",
}
_DTYPES: Final = {name: dtype for dtype, name in _DATATYPES.items()}
_BYTES: Final = "BYTES"
_LENGTH: Final = struct.Struct("<I")

# Where a server that does not answer raw puts the elements, by kind and size of dtype.
_CONTENTS: Final[Mapping[str, str]] = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    _BYTES: "bytes_contents",
}


@dataclass(frozen=True, slots=True)
class Result:
    """An answer: arrays by output name (BYTES come as lists of bytes). On a stream,
    `timestamp` says of which input.
    """

    outputs: Mapping[str, Array | list[bytes]]
    timestamp: int | None = None
    id: str = ""
    parameters: Mapping[str, Parameter] = field(default_factory=dict[str, Parameter])

    def __getitem__(self, name: str) -> Array:
        """A numeric output. Raises KeyError, or TypeError for BYTES."""
        value = self.outputs[name]
        if isinstance(value, list):
            message = f"output {name!r} is BYTES: use `outputs`"
            raise TypeError(message)
        return value


def encode(
    name: str,
    inputs: Mapping[str, TensorLike],
    *,
    parameters: Mapping[str, Parameter] | None = None,
    request_id: str = "",
) -> kserve.ModelInferRequest:
    """A request for a model or graph. Raises TypeError for a dtype KServe lacks."""
    request = kserve.ModelInferRequest(model_name=name, id=request_id)
    for key, value in (parameters or {}).items():
        _set_parameter(request.parameters[key], value)
    for key, value in inputs.items():
        datatype, shape, data = _raw(key, value)
        request.inputs.add(name=key, datatype=datatype, shape=shape)
        request.raw_input_contents.append(data)
    return request


def parsed(kind: type[M], message: bytes) -> M:
    """The message of this kind. Raises ClientError if it is none."""
    try:
        return kind.FromString(message)
    except DecodeError:
        name = kind.DESCRIPTOR.name
        raise ClientError(f"the server's answer is no {name}") from None


def decode(response: kserve.ModelInferResponse) -> Result:
    """The answer in a response. Arrays are read-only views on it.

    Raises ClientError for an output that does not hold what it says it does.
    """
    raw = response.raw_output_contents
    if raw and len(raw) != len(response.outputs):
        raise ClientError(
            f"the server's answer has {len(response.outputs)} outputs and contents "
            f"for {len(raw)}"
        )
    outputs: dict[str, Array | list[bytes]] = {}
    for index, tensor in enumerate(response.outputs):
        try:
            outputs[tensor.name] = (
                _from_raw(tensor, raw[index]) if raw else _from_contents(tensor)
            )
        except (KeyError, ValueError, struct.error):
            raise ClientError(
                f"output {tensor.name!r} does not hold {tensor.datatype} "
                f"{list(tensor.shape)}"
            ) from None
    parameters = {key: _parameter(value) for key, value in response.parameters.items()}
    timestamp = parameters.get(TIMESTAMP)
    return Result(
        outputs,
        timestamp=timestamp if isinstance(timestamp, int) else None,
        id=response.id,
        parameters=parameters,
    )


def _from_raw(
    tensor: kserve.ModelInferResponse.InferOutputTensor, data: bytes
) -> Array | list[bytes]:
    if tensor.datatype == _BYTES:
        return _strings(data)
    dtype = _DTYPES[tensor.datatype]
    return np.frombuffer(data, dtype).reshape(tuple(tensor.shape))


def _from_contents(
    tensor: kserve.ModelInferResponse.InferOutputTensor,
) -> Array | list[bytes]:
    elements = getattr(tensor.contents, _CONTENTS[tensor.datatype])
    if tensor.datatype == _BYTES:
        return list(elements)
    array = np.array(elements, _DTYPES[tensor.datatype]).reshape(tuple(tensor.shape))
    array.flags.writeable = False
    return array


def _raw(name: str, value: TensorLike) -> tuple[str, tuple[int, ...], bytes]:
    if isinstance(value, np.ndarray):
        datatype = _DATATYPES.get(value.dtype)
        if datatype is None:
            message = f"input {name!r}: KServe has no datatype for {value.dtype}"
            raise TypeError(message)
        return datatype, value.shape, value.tobytes()
    encoded = [each.encode() if isinstance(each, str) else each for each in value]
    data = b"".join(_LENGTH.pack(len(each)) + each for each in encoded)
    return _BYTES, (len(encoded),), data


def _strings(data: bytes) -> list[bytes]:
    found: list[bytes] = []
    position = 0
    while position < len(data):
        (length,) = _LENGTH.unpack_from(data, position)
        position += _LENGTH.size
        found.append(data[position : position + length])
        position += length
    if position > len(data):
        raise ValueError("the last string is cut short")
    return found


def _set_parameter(target: kserve.InferParameter, value: Parameter) -> None:
    match value:
        case bool():
            target.bool_param = value
        case int():
            target.int64_param = value
        case str():
            target.string_param = value
        case float():
            target.double_param = value


def _parameter(value: kserve.InferParameter) -> Parameter:
    which = value.WhichOneof("parameter_choice")
    return "" if which is None else getattr(value, which)
