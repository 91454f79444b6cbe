"""Messages of GRPCInferenceService become core.messages, and come from them, here.

Small parts go through protobuf; raw contents are neither parsed nor built by it: a
request's are views on the message, a response's are copied once, to the wire.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from math import nan
from typing import Final, NamedTuple, TypeVar

import numpy as np
from google.protobuf.message import DecodeError, Message
from ovms_mp_protos import kserve

from ovms_mp.core.errors import ServingError, Status
from ovms_mp.core.messages import (
    NO_PARAMETERS,
    Buffer,
    InferRequest,
    InferResponse,
    InputTensor,
    Parameter,
    ServableMetadata,
    TypedValues,
)
from ovms_mp.core.tensor import Array
from ovms_mp.core.tuples import make
from ovms_mp.frontend.grpc import limits
from ovms_mp.frontend.grpc.heads import Memory, RequestHead, split
from ovms_mp.frontend.grpc.quota import SMALL, UNLIMITED, Quota
from ovms_mp.frontend.grpc.wire import (
    HARMLESS_SIZE,
    MAX_RANK,
    MalformedMessage,
    Scan,
    delimited,
    scan,
    varint,
)
from ovms_mp.servable.parameters import Uint64

_M = TypeVar("_M", bound=Message)

_RAW_OUTPUT_CONTENTS: Final = bytes([delimited(6)])
_STREAM_INFER_RESPONSE: Final = bytes([delimited(2)])
_BYTES_CONTENTS: Final = "bytes_contents"

_request_heads: Final = Memory[bytes, RequestHead]()
_response_heads: Final = Memory[object, "_Head"]()

# InferTensorContents: field by field, the type of its elements on the wire.
_ELEMENTS: Final = {
    "bool_contents": np.dtype(np.bool_),
    "int_contents": np.dtype("<i4"),
    "int64_contents": np.dtype("<i8"),
    "uint_contents": np.dtype("<u4"),
    "uint64_contents": np.dtype("<u8"),
    "fp32_contents": np.dtype("<f4"),
    "fp64_contents": np.dtype("<f8"),
    _BYTES_CONTENTS: None,
}
# Where KServe puts the values of a datatype; FP16 has no field.
_FIELD_OF: Final = {
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
    "BYTES": _BYTES_CONTENTS,
}


def parse(kind: type[_M], message: bytes) -> _M:
    """`message` as a protobuf `kind`. Raises MalformedMessage if it is none."""
    try:
        return kind.FromString(message)
    except DecodeError:
        name = kind.DESCRIPTOR.full_name
        raise MalformedMessage(f"Invalid message: it is no {name}") from None


def decode_request(message: bytes, quota: Quota = UNLIMITED) -> InferRequest:
    """A ModelInferRequest, whose large data are views on `message`, and count against
    `quota`.

    Raises MalformedMessage for what is none or breaks a limit (see `wire.scan`), and
    ServingError for a shape with more dimensions than an array can have, and for more
    than the quota has.
    """
    view = quota.view(message) if len(message) > SMALL else None
    parts = split(message, view)
    if parts is None:
        return _decode(message, view)
    head, beside, raw = parts
    known = _request_heads.get(head)
    if known is None:
        request = _decode(message, view)
        _remember(head, request)
        return request
    model, version, inputs, outputs = known
    if len(raw) != len(inputs):
        return _decode(message, view)
    filled = tuple(
        [
            make(InputTensor, (name, datatype, shape, data, None, "", parameters))
            for (name, datatype, shape, parameters), data in zip(
                inputs, raw, strict=True
            )
        ]
    )
    if not beside:
        return make(
            InferRequest,
            (model, version, "", NO_PARAMETERS, filled, len(raw), "gRPC", outputs),
        )
    said = parse(kserve.ModelInferRequest, beside)
    parameters = _decode_parameters(said.parameters)
    limits.judge_beside(said.id, parameters)
    return InferRequest(
        model, version, said.id, parameters, filled, len(raw), outputs=outputs
    )


def _decode(message: bytes, view: memoryview | None) -> InferRequest:
    is_harmless = len(message) <= HARMLESS_SIZE
    return request_of(Scan(message) if is_harmless else scan(message, view))


def _remember(head: bytes, request: InferRequest) -> None:
    """Contents in an input would be remembered with it: they are in the head."""
    if any(each.raw is None or each.contents is not None for each in request.inputs):
        return
    inputs = [(t.name, t.datatype, t.shape, t.parameters) for t in request.inputs]
    known = RequestHead(
        request.model_name, request.model_version, tuple(inputs), request.outputs
    )
    _request_heads.keep(head, known)


def request_of(found: Scan) -> InferRequest:
    """The request whose parts were `found`; protobuf finds those that a scan did not.

    Raises as `decode_request`.
    """
    parsed = parse(kserve.ModelInferRequest, found.rest)
    raw = found.raw or tuple(parsed.raw_input_contents)
    request = InferRequest(
        model_name=parsed.model_name,
        model_version=parsed.model_version,
        id=parsed.id,
        parameters=_decode_parameters(parsed.parameters),
        inputs=tuple(
            [
                _decode_input(tensor, index, raw, found)
                for index, tensor in enumerate(parsed.inputs)
            ]
        ),
        raw_count=len(raw),
        outputs=tuple([each.name for each in parsed.outputs]),
    )
    limits.judge(request)
    return request


def encode_response(response: InferResponse) -> bytes:
    """A ModelInferResponse: each output's data as its raw contents."""
    return b"".join(_response_parts(response)[0])


def encode_stream_response(response: InferResponse) -> bytes:
    """A ModelStreamInferResponse with `response` in it."""
    parts, size = _response_parts(response)
    return b"".join((_STREAM_INFER_RESPONSE, varint(size), *parts))


def encode_stream_error(text: str, code: str, name: str, request_id: str) -> bytes:
    """A ModelStreamInferResponse that says why one request failed.

    Clients raise on its `error_message`; the response in it tells which request was
    meant, and the gRPC code's name in the parameter `error_code`.
    """
    message = kserve.ModelStreamInferResponse(error_message=text)
    message.infer_response.parameters["error_code"].string_param = code
    message.infer_response.model_name = name
    message.infer_response.id = request_id
    return message.SerializeToString()


def encode_metadata(metadata: ServableMetadata) -> bytes:
    """A ModelMetadataResponse."""
    message = kserve.ModelMetadataResponse(
        name=metadata.name, versions=metadata.versions, platform=metadata.platform
    )
    for tensors, infos in (
        (message.inputs, metadata.inputs),
        (message.outputs, metadata.outputs),
    ):
        for info in infos:
            tensors.add(name=info.name, datatype=info.datatype, shape=info.shape)
    return message.SerializeToString()


def _decode_input(
    tensor: kserve.ModelInferRequest.InferInputTensor,
    index: int,
    raw: tuple[Buffer, ...],
    found: Scan,
) -> InputTensor:
    if len(tensor.shape) > MAX_RANK:
        raise ServingError(
            Status.INVALID_NO_OF_SHAPE_DIMENSIONS,
            f"Expected: at most {MAX_RANK}; Actual: {len(tensor.shape)}; input name:"
            f" {tensor.name}",
        )
    contents_field, contents = found.packed.get(index) or _decode_contents(tensor)
    return InputTensor(
        name=tensor.name,
        datatype=tensor.datatype,
        shape=tuple(tensor.shape),
        raw=raw[index] if index < len(raw) else None,
        contents=contents,
        contents_field=contents_field,
        parameters=_decode_parameters(tensor.parameters),
    )


def _decode_contents(
    tensor: kserve.ModelInferRequest.InferInputTensor,
) -> tuple[str, TypedValues | None]:
    """The field that belongs to the datatype, or else the first that is not empty."""
    if not tensor.HasField("contents"):
        return "", None
    for name in (_FIELD_OF.get(tensor.datatype, _BYTES_CONTENTS), *_ELEMENTS):
        values = getattr(tensor.contents, name)
        if not values:
            continue
        dtype = _ELEMENTS[name]
        if dtype is None:
            return name, list(values)
        return name, np.fromiter(values, dtype, len(values))
    return "", None


def _decode_parameters(
    parameters: Mapping[str, kserve.InferParameter],
) -> Mapping[str, Parameter]:
    if not parameters:
        return NO_PARAMETERS
    return {name: _decode_parameter(value) for name, value in parameters.items()}


def _decode_parameter(value: kserve.InferParameter) -> Parameter:
    match value.WhichOneof("parameter_choice"):
        case "bool_param":
            return value.bool_param
        case "int64_param":
            return value.int64_param
        case "string_param":
            return value.string_param
        case "uint64_param":
            return Uint64(value.uint64_param)
        case "double_param":
            return value.double_param
        case _:
            # Says nothing, and is of no type that a timestamp or side packet may have.
            return nan


def heads_of(response: InferResponse) -> tuple[bytes, ...]:
    """What comes before the contents of each output in `response`, which has no id and
    no parameters, and in every other that has the same outputs, equally large.
    """
    before, after, first, *others = _head(response).pieces
    return (before + after + first, *others)


def encode_contents(heads: Sequence[bytes], outputs: Sequence[Array]) -> bytes:
    """The ModelInferResponse that has these heads: see `heads_of`."""
    return b"".join(
        [
            part
            for head, array in zip(heads, outputs, strict=True)
            for part in (head, array.tobytes())
        ]
    )


def _response_parts(response: InferResponse) -> tuple[list[Buffer], int]:
    """The wire's pieces of a ModelInferResponse, in order, and the size of them all."""
    pieces, size = _head(response)
    parts: list[Buffer] = [pieces[0]]
    if response.id or response.parameters:
        beside = _encode_beside(response)
        parts.append(beside)
        size += len(beside)
    parts.append(pieces[1])
    for tag, output in zip(pieces[2:], response.outputs, strict=True):
        parts += (tag, output.data)
    return parts, size


class _Head(NamedTuple):
    """Of a response: what comes before id and parameters, what comes after them, and
    what comes before the data of each output; and the size of it all with the data.
    """

    pieces: tuple[bytes, ...]
    size: int


def _head(response: InferResponse) -> _Head:
    outputs = tuple(
        [
            (name, datatype, tuple(shape), _size(data))
            for name, datatype, shape, data in response.outputs
        ]
    )
    form = response.model_name, response.model_version, outputs
    head = _response_heads.get(form)
    if head is None:
        head = _encode_head(*form)
        _response_heads.keep(form, head)
    return head


def _encode_head(
    model: str, version: str, outputs: Sequence[tuple[str, str, tuple[int, ...], int]]
) -> _Head:
    before = kserve.ModelInferResponse(model_name=model, model_version=version)
    after = kserve.ModelInferResponse()
    for name, datatype, shape, _ in outputs:
        after.outputs.add(name=name, datatype=datatype, shape=shape)
    tags = (_RAW_OUTPUT_CONTENTS + varint(size) for *_, size in outputs)
    pieces = (before.SerializeToString(), after.SerializeToString(), *tags)
    return _Head(pieces, sum(map(len, pieces)) + sum(size for *_, size in outputs))


def _encode_beside(response: InferResponse) -> bytes:
    if not response.id and len(response.parameters) == 1:
        ((name, value),) = response.parameters.items()
        if type(value) is int and value >= 0:
            return _encode_number(name, value)
    message = kserve.ModelInferResponse(id=response.id)
    for name, value in response.parameters.items():
        _encode_parameter(message.parameters[name], value)
    return message.SerializeToString()


def _encode_number(name: str, value: int) -> bytes:
    """One parameter: every answer of a stream has its timestamp."""
    number = varint(value)
    key = _encode_key(name)
    # ModelInferResponse.parameters, a map: its key, its value, of which int64_param.
    size = len(number)
    entry = varint(len(key) + size + 3)
    return b"".join((b"\x22", entry, key, b"\x12", varint(size + 1), b"\x10", number))


@lru_cache(maxsize=64)
def _encode_key(name: str) -> bytes:
    key = name.encode()
    return b"".join((b"\x0a", varint(len(key)), key))


def _encode_parameter(parameter: kserve.InferParameter, value: Parameter) -> None:
    match value:
        case bool():
            parameter.bool_param = value
        case Uint64():
            parameter.uint64_param = value
        case int():
            parameter.int64_param = value
        case float():
            parameter.double_param = value
        case str():
            parameter.string_param = value


def _size(data: Buffer) -> int:
    return data.nbytes if isinstance(data, memoryview) else len(data)
