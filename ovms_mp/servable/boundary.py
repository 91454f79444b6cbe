"""Between KServe's tensors and a graph's packets: the tag of a graph's stream decides
what a tensor becomes and what may leave. Rules and texts are OVMS's.

Pure functions. Arrays made from raw contents are views on the request, possibly not
aligned for their dtype; nothing that a graph gets from here can be written to.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np

from ovms_mp.calculator import pyovms
from ovms_mp.core.errors import ServingError, Status
from ovms_mp.core.image import ImageFormat, ImageFrame
from ovms_mp.core.messages import InferRequest, InferResponse, InputTensor, OutputTensor
from ovms_mp.core.tensor import BYTES, Array, Datatype, byte_size, lettered
from ovms_mp.core.tuples import make
from ovms_mp.servable import contents, encoded
from ovms_mp.servable.structured import structured, texts_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ovms_mp.core.messages import Buffer


class Kind(Enum):
    """What packets of a graph's input or output stream carry."""

    REQUEST = auto()
    """InferRequest, the whole of it."""
    RESPONSE = auto()
    """InferResponse, the whole of it."""
    OVTENSOR = auto()
    """numpy.ndarray; so do TENSOR and TFTENSOR, which differ in what they accept."""
    TENSOR = auto()
    TFTENSOR = auto()
    IMAGE = auto()
    """ImageFrame."""
    PY_TENSOR = auto()
    """pyovms.Tensor."""


_KIND_BY_PREFIX: Final = {
    "REQUEST": Kind.REQUEST,
    "RESPONSE": Kind.RESPONSE,
    "OVTENSOR": Kind.OVTENSOR,
    "TENSOR": Kind.TENSOR,
    "TFTENSOR": Kind.TFTENSOR,
    "IMAGE": Kind.IMAGE,
    "OVMS_PY_TENSOR": Kind.PY_TENSOR,
}
# What was judged before is not judged again: of a datatype and shape, the dtype and the
# size. Clients choose shapes, so of more than these they are learned anew.
_known_forms: Final[dict[tuple[str, tuple[int, ...]], tuple[np.dtype[Any], int]]] = {}
_MAX_FORMS: Final = 512

_NAMES: Final = {datatype.dtype: datatype.name for datatype in Datatype}
# To look at memory costs as much as to copy this much of it.
_COPIED_BYTES: Final = 16_384

# Of one input: to copy them takes some ten microseconds.
_FEW_BYTES: Final = 1 << 18

_UNSUPPORTED_PREFIXES: Final = (
    "TFLITE_TENSOR",
    "HTTP_REQUEST_PAYLOAD",
    "HTTP_RESPONSE_PAYLOAD",
)

_MEDIAPIPE_DATATYPES: Final = frozenset(
    {
        Datatype.FP32,
        Datatype.FP16,
        Datatype.INT32,
        Datatype.INT8,
        Datatype.UINT8,
        Datatype.BOOL,
    }
)

# A frame's format knows neither signs nor half floats: the bits are kept.
_IMAGE_FORMATS: Final[Mapping[tuple[Datatype, int], ImageFormat]] = {
    (datatype, image_format.channels): image_format
    for datatypes, image_formats in (
        (
            (Datatype.UINT8, Datatype.INT8),
            (ImageFormat.GRAY8, ImageFormat.SRGB, ImageFormat.SRGBA),
        ),
        (
            (Datatype.UINT16, Datatype.INT16, Datatype.FP16),
            (ImageFormat.GRAY16, ImageFormat.SRGB48, ImageFormat.SRGBA64),
        ),
        (
            (Datatype.FP32,),
            (ImageFormat.VEC32F1, ImageFormat.VEC32F2, ImageFormat.VEC32F4),
        ),
    )
    for datatype in datatypes
    for image_format in image_formats
}


def kind_of(tag: str) -> Kind:
    """The kind of a graph's stream by the tag it has there. Tags match as prefixes
    (TENSOR_1, IMAGE_LEFT); any other tag, and none, is an OVTENSOR.

    Raises ServingError NOT_IMPLEMENTED for tags whose packets this server cannot make.
    """
    if tag.startswith(_UNSUPPORTED_PREFIXES):
        details = f"streams tagged {tag} at the boundary of a graph are not supported"
        raise ServingError(Status.NOT_IMPLEMENTED, details)
    for prefix, kind in _KIND_BY_PREFIX.items():
        if tag.startswith(prefix):
            return kind
    return Kind.OVTENSOR


def is_light(request: InferRequest) -> bool:
    """True if it costs little to make packets of it: there is nothing to decode, and few
    bytes.
    """
    for tensor in request.inputs:
        raw = tensor.raw
        if raw is None or len(raw) > _FEW_BYTES or tensor.datatype == BYTES:
            return False
    return True


def check_coherence(request: InferRequest) -> None:
    """Raises ServingError when a request mixes raw and typed contents, or has not one
    raw buffer for each input.
    """
    if not request.raw_count:
        return
    inputs = request.inputs
    if request.raw_count != len(inputs):
        details = (
            f"Size of raw_input_contents: {request.raw_count} is different than "
            f"number of inputs: {len(inputs)}"
        )
        raise ServingError(Status.INVALID_MESSAGE_STRUCTURE, details)
    for tensor in inputs:
        if tensor.contents is not None:
            details = (
                "Passing buffers both in InferInputTensor contents and in "
                "raw_input_contents is not allowed. Detected buffer in "
                f"InferInputTensor contents for input: {tensor.name}"
            )
            raise ServingError(Status.INVALID_MESSAGE_STRUCTURE, details)


def reader(kind: Kind) -> Callable[[InputTensor], Any]:
    """`to_payload` of one kind."""
    return _FROM_TENSOR[kind]


def writer(kind: Kind) -> Callable[[str, object], OutputTensor]:
    """`to_output` of one kind."""
    return _TO_TENSOR[kind]


def to_payload(kind: Kind, tensor: InputTensor) -> Any:
    """The payload that an input tensor becomes on a stream of this kind.

    Not for REQUEST and RESPONSE, whose payload is the message itself. Raises
    ServingError when the tensor does not fit the kind.
    """
    return _FROM_TENSOR[kind](tensor)


def to_output(kind: Kind, stream: str, payload: object) -> OutputTensor:
    """The output tensor that a packet of an output stream of this kind becomes.

    Not for RESPONSE: see `to_response`. Raises ServingError when the payload is not
    what such a stream carries.
    """
    return _TO_TENSOR[kind](stream, payload)


def to_response(payload: object) -> InferResponse:
    """The response that a packet of a RESPONSE stream is. Raises ServingError."""
    if not isinstance(payload, InferResponse):
        raise _wrong_payload("RESPONSE", payload, "RESPONSE", "InferResponse")
    return payload


# Input


def _from_ovtensor(tensor: InputTensor) -> Array:
    raw = tensor.raw
    known = _known_forms.get((tensor.datatype, tensor.shape))
    if known is not None and type(raw) is bytes and len(raw) == known[1]:
        return np.frombuffer(raw, known[0]).reshape(tensor.shape)
    contents.check_dimensions(tensor, least=0)
    if tensor.datatype == BYTES:
        return encoded.array(tensor)
    array = contents.array(tensor, contents.numeric(tensor))
    if array.nbytes:
        if len(_known_forms) >= _MAX_FORMS:
            _known_forms.clear()
        _known_forms[tensor.datatype, tensor.shape] = array.dtype, array.nbytes
    return array


def _from_mediapipe_tensor(tensor: InputTensor) -> Array:
    datatype = Datatype.from_name(tensor.datatype)
    if datatype not in _MEDIAPIPE_DATATYPES:
        details = (
            "Not supported precision for Mediapipe tensor deserialization: "
            f"{tensor.datatype}"
        )
        raise ServingError(Status.INVALID_PRECISION, details)
    contents.check_dimensions(tensor, least=1)
    return contents.array(tensor, datatype)


def _from_tensorflow_tensor(tensor: InputTensor) -> Array:
    datatype = Datatype.from_name(tensor.datatype)
    if datatype is None:
        details = (
            "Not supported precision for Tensorflow tensor deserialization: "
            f"{tensor.datatype}"
        )
        raise ServingError(Status.INVALID_PRECISION, details)
    contents.check_dimensions(tensor, least=0)
    if tensor.raw is not None:
        expected = contents.expected_bytes(tensor, datatype)
        actual = len(tensor.raw)
        if actual != expected:
            details = (
                "Mediapipe deserialization content size mismatch; allocated TF "
                f"Tensor: {expected} bytes vs KServe buffer: {actual} bytes"
            )
            raise ServingError(Status.INVALID_CONTENT_SIZE, details)
    return contents.array(tensor, datatype)


def _from_image(tensor: InputTensor) -> ImageFrame:
    if tensor.datatype == BYTES:
        contents.check_dimensions(tensor, least=0)
        return encoded.frame(tensor)
    if tensor.raw is None:
        raise ServingError(Status.MEDIAPIPE_EXECUTION_ERROR)
    shape = tensor.shape
    if len(shape) != 3:
        details = (
            "Invalid Mediapipe Image input shape size. Expected: 3; "
            f"Actual: {len(shape)}"
        )
        raise ServingError(Status.INVALID_SHAPE, details)
    for what, value in zip(
        ("height", "width", "number of channels"), shape, strict=True
    ):
        if value <= 0:
            details = (
                f"Invalid Mediapipe Image input {what}. Expected greater than 0; "
                f"Actual: {value}; Expected layout - HWC."
            )
            raise ServingError(Status.INVALID_SHAPE, details)
    datatype = Datatype.from_name(tensor.datatype)
    if datatype is not None and len(tensor.raw) != byte_size(shape, datatype):
        details = (
            f"Invalid Mediapipe Image input buffer size. Actual: {len(tensor.raw)}; "
            f"Expected: {byte_size(shape, datatype)}"
        )
        raise ServingError(Status.INVALID_CONTENT_SIZE, details)
    image_format = datatype and _IMAGE_FORMATS.get((datatype, shape[2]))
    if not image_format:
        details = (
            "Invalid KFS request datatype, conversion to Mediapipe ImageFrame format "
            "failed."
        )
        raise ServingError(Status.INVALID_INPUT_FORMAT, details)
    pixels = contents.view(tensor.raw, image_format.dtype).reshape(shape)
    return ImageFrame(image_format, pixels)


def _from_py_tensor(tensor: InputTensor) -> pyovms.Tensor:
    contents.check_dimensions(tensor, least=0)
    datatype = Datatype.from_name(tensor.datatype)
    if tensor.raw is not None:
        if datatype is None:
            buffer = contents.view(tensor.raw, np.dtype(np.uint8))
            return _py_tensor(tensor, buffer)
        expected = contents.expected_bytes(tensor, datatype)
        if len(tensor.raw) != expected:
            details = (
                f"Invalid Python tensor buffer size. Actual: {len(tensor.raw)}; "
                f"Expected: {expected}"
            )
            raise ServingError(Status.INVALID_CONTENT_SIZE, details)
        return _py_tensor(tensor, lettered(contents.array(tensor, datatype)))
    if datatype is not None:
        return _py_tensor(tensor, lettered(contents.array(tensor, datatype)))
    if tensor.datatype != BYTES:
        details = (
            "Provided datatype is invalid, custom datatypes are allowed only when "
            "raw_input_contents is used."
        )
        raise ServingError(Status.INVALID_PRECISION, details)
    return _py_tensor(tensor, contents.length_prefixed(tensor))


def _whole_message(tensor: InputTensor) -> Any:
    msg = f"the payload is {InferRequest.__name__} itself, not input '{tensor.name}'"
    raise ValueError(msg)


_FROM_TENSOR: Final[Mapping[Kind, Callable[[InputTensor], Any]]] = {
    Kind.REQUEST: _whole_message,
    Kind.RESPONSE: _whole_message,
    Kind.OVTENSOR: _from_ovtensor,
    Kind.TENSOR: _from_mediapipe_tensor,
    Kind.TFTENSOR: _from_tensorflow_tensor,
    Kind.IMAGE: _from_image,
    Kind.PY_TENSOR: _from_py_tensor,
}


def _py_tensor(tensor: InputTensor, buffer: Array | bytes) -> pyovms.Tensor:
    return pyovms.Tensor(tensor.name, buffer, tensor.shape, tensor.datatype)


# Output


def _from_array(stream: str, payload: object) -> OutputTensor:
    if isinstance(payload, np.ndarray):
        array = cast("Array", payload)
    elif (texts := texts_of(payload)) is not None:
        data = contents.prefixed(texts)
        return OutputTensor(stream, BYTES, (len(texts),), data)
    elif (made := structured(stream, payload)) is not None:
        array = made
    else:
        raise _wrong_payload(stream, payload, "a stream of tensors", "numpy.ndarray")
    name = _NAMES.get(array.dtype)
    if name is not None and array.nbytes <= _COPIED_BYTES:
        return make(OutputTensor, (stream, name, array.shape, array.tobytes()))
    little = array.dtype.newbyteorder("<")
    datatype = Datatype.from_dtype(little)
    if datatype is None:
        details = (
            f'output stream "{stream}" carries an array of {array.dtype}, '
            "for which there is no datatype"
        )
        raise ServingError(Status.OV_INTERNAL_SERIALIZATION_ERROR, details)
    data = _dense(array.astype(little, copy=False))
    return OutputTensor(stream, datatype.name, array.shape, data)


def _from_frame(stream: str, payload: object) -> OutputTensor:
    if not isinstance(payload, ImageFrame):
        raise _wrong_payload(stream, payload, "IMAGE", "ImageFrame")
    return _from_array(stream, payload.pixels)


def _from_pyovms(stream: str, payload: object) -> OutputTensor:
    if not isinstance(payload, pyovms.Tensor):
        raise _wrong_payload(stream, payload, "OVMS_PY_TENSOR", "pyovms.Tensor")
    data = _dense(np.asarray(payload))
    return OutputTensor(payload.name, payload.datatype, payload.shape, data)


def _no_tensor(stream: str, payload: object) -> OutputTensor:
    msg = f"output stream '{stream}' carries whole messages, {type(payload).__name__}"
    raise ValueError(msg)


_TO_TENSOR: Final[Mapping[Kind, Callable[[str, object], OutputTensor]]] = {
    Kind.REQUEST: _no_tensor,
    Kind.RESPONSE: _no_tensor,
    Kind.OVTENSOR: _from_array,
    Kind.TENSOR: _from_array,
    Kind.TFTENSOR: _from_array,
    Kind.IMAGE: _from_frame,
    Kind.PY_TENSOR: _from_pyovms,
}


def _dense(array: Array) -> Buffer:
    """The elements in C order: a view if they lie so, else a copy."""
    if not array.nbytes:
        return b""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def _wrong_payload(
    stream: str, payload: object, kind: str, expected: str
) -> ServingError:
    details = (
        f'output stream "{stream}" carries {type(payload).__name__}; '
        f"{kind} takes {expected}"
    )
    return ServingError(Status.OV_INTERNAL_SERIALIZATION_ERROR, details)
