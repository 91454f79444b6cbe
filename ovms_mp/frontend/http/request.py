"""The body of an inference request becomes an InferRequest: JSON, and behind it, if the
header says where, the contents of inputs as they are (KServe's binary tensor extension).

Contents that came as they are stay views on the body. Those of JSON become bytes too, so
that whoever judges a request sees no difference; only a number of values that is not the
shape's is left to him, who says so in OVMS's words.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

import orjson

from ovms_mp.core.errors import ServingError, Status
from ovms_mp.core.messages import (
    NO_PARAMETERS,
    WITHOUT_LENGTH,
    Buffer,
    InferRequest,
    InputTensor,
    Parameter,
)
from ovms_mp.core.tensor import BYTES
from ovms_mp.frontend.grpc import limits
from ovms_mp.frontend.grpc.quota import UNLIMITED, Quota
from ovms_mp.frontend.grpc.wire import MAX_FIELDS, MAX_RANK
from ovms_mp.frontend.http import members, pieces, values
from ovms_mp.frontend.http.errors import Problem, Refusal
from ovms_mp.frontend.http.pieces import PIECE, LongArrays
from ovms_mp.servable.parameters import Uint64

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ovms_mp.core.tensor import Array

HEADER: Final = "inference-header-content-length"
INTERFACE: Final = "REST"

_BINARY_SIZE: Final = "binary_data_size"
_BINARY_OUTPUTS: Final = "binary_data_output"
_BINARY: Final = "binary_data"
_MAX_INT64: Final = 2**63 - 1
_MAX_SIZE: Final = 2**64 - 1


class Wanted(NamedTuple):
    """How the answer is to be: `outputs` by name, in order, each binary or not; every one
    of them, `binary` or not, if it is None.
    """

    outputs: Mapping[str, bool] | None
    binary: bool


class Asked(NamedTuple):
    """A request, and what its client wants to have back."""

    request: InferRequest
    wanted: Wanted


def header_length(values: Sequence[str], body: Buffer) -> int:
    """How much of the body is JSON, by the values of HEADER. Raises Refusal."""
    if not values:
        return len(body)
    text = values[0]
    if len(values) > 1 or not (text.isascii() and text.isdigit() and len(text) < 20):
        raise Refusal(Problem.HEADER_LENGTH_INVALID)
    if int(text) > len(body):
        raise Refusal(Problem.HEADER_LENGTH_EXCEEDED)
    return int(text)


def decode(
    name: str, version: str, body: Buffer, length: int, quota: Quota = UNLIMITED
) -> Asked:
    """What a body asks of a servable, whose first `length` bytes are JSON. What is made
    of numbers in it counts against `quota`.

    Raises Refusal, and ServingError for a shape with more axes than there can be, and
    for more than the quota has.
    """
    view = memoryview(body)
    long = LongArrays(bytes(view[:length])) if length > PIECE else None
    said = _object(bytes(view[:length]) if long is None else long.rest)
    inputs, outputs = _list(said, "inputs"), _list(said, "outputs")
    if not inputs:
        raise Refusal(Problem.NO_INPUTS_FOUND)
    if len(inputs) + len(outputs) > MAX_FIELDS:
        details = f"more than {MAX_FIELDS} inputs and outputs"
        raise Refusal(Problem.COULD_NOT_PARSE_INPUT, details)
    identity = said.get("id", "")
    if type(identity) is not str:
        raise Refusal(Problem.COULD_NOT_PARSE_INPUT, "id is a string")
    parameters = dict(_parameters(said))
    is_binary = parameters.pop(_BINARY_OUTPUTS, False)
    if type(is_binary) is not bool:
        details = f"{_BINARY_OUTPUTS} is true or false"
        raise Refusal(Problem.COULD_NOT_PARSE_PARAMETERS, details)
    reader = _Inputs(view[length:], long, quota, is_single=len(inputs) == 1)
    tensors = tuple([reader.read(each) for each in inputs])
    reader.end()
    has_raw = all(each.raw is not None for each in tensors)
    named = dict(_output(each, is_binary) for each in outputs)
    request = InferRequest(
        name,
        version,
        identity,
        parameters or NO_PARAMETERS,
        tensors,
        len(tensors) if has_raw else 0,
        INTERFACE,
        tuple(named),
    )
    limits.judge(request)
    return Asked(request, Wanted(named or None, is_binary))


def _object(text: bytes) -> Mapping[str, Any]:
    try:
        said = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        if "depth" in error.msg or "recursion" in error.msg.lower():
            raise Refusal(Problem.JSON_NESTING_DEPTH_EXCEEDED) from None
        details = f"{error.msg} at byte {error.pos}"
        raise Refusal(Problem.JSON_INVALID, details) from None
    if type(said) is not dict:
        raise Refusal(Problem.BODY_IS_NOT_AN_OBJECT)
    found = cast("Mapping[str, Any]", said)
    members.ensure_single(text, found)
    return found


def _list(said: Mapping[str, Any], key: str) -> list[Any]:
    found = said.get(key, [])
    if type(found) is not list:
        raise Refusal(Problem.COULD_NOT_PARSE_INPUT, f"{key} is an array")
    return cast("list[Any]", found)


def _parameters(said: Mapping[str, Any]) -> Mapping[str, Parameter]:
    found = said.get("parameters")
    if found is None and "parameters" not in said:
        return NO_PARAMETERS
    if type(found) is not dict:
        raise Refusal(Problem.COULD_NOT_PARSE_PARAMETERS, "parameters are an object")
    given = cast("dict[str, Any]", found)
    if len(given) > MAX_FIELDS:
        details = f"more than {MAX_FIELDS} parameters"
        raise Refusal(Problem.COULD_NOT_PARSE_PARAMETERS, details)
    parameters: dict[str, Parameter] = {}
    for name, value in given.items():
        if type(value) not in {str, bool, int, float}:
            details = f"Expected: a string, a number, true or false; parameter: {name}"
            raise Refusal(Problem.COULD_NOT_PARSE_PARAMETERS, details)
        is_large = type(value) is int and value > _MAX_INT64
        parameters[name] = Uint64(value) if is_large else value
    return parameters


def _output(said: Any, is_binary: bool) -> tuple[str, bool]:
    if type(said) is not dict:
        raise Refusal(Problem.COULD_NOT_PARSE_OUTPUT, "an output is an object")
    given = cast("dict[str, Any]", said)
    name = given.get("name")
    if type(name) is not str:
        raise Refusal(Problem.COULD_NOT_PARSE_OUTPUT, "an output has a name")
    wish = _parameters(given).get(_BINARY, is_binary)
    if type(wish) is not bool:
        details = f"{_BINARY} is true or false; output name: {name}"
        raise Refusal(Problem.COULD_NOT_PARSE_PARAMETERS, details)
    return name, wish


class _Inputs:
    """The inputs of a request, one after the other, and what is left of `binary`."""

    def __init__(
        self,
        binary: memoryview,
        long: LongArrays | None,
        quota: Quota,
        *,
        is_single: bool,
    ) -> None:
        self._binary = binary
        self._long = long
        self._quota = quota
        self._is_single = is_single

    def read(self, said: Any) -> InputTensor:
        """The next. Raises Refusal."""
        if type(said) is not dict:
            raise Refusal(Problem.COULD_NOT_PARSE_INPUT, "an input is an object")
        given = cast("dict[str, Any]", said)
        name, datatype = given.get("name"), given.get("datatype")
        if type(name) is not str:
            raise Refusal(Problem.COULD_NOT_PARSE_INPUT, "an input has a name")
        if type(datatype) is not str:
            details = f"an input has a datatype; input name: {name}"
            raise Refusal(Problem.COULD_NOT_PARSE_INPUT, details)
        shape = _shape(given.get("shape"), name)
        parameters = _parameters(given)
        size = parameters.get(_BINARY_SIZE)
        if size is not None:
            parameters = {k: v for k, v in parameters.items() if k != _BINARY_SIZE}
        tensor = InputTensor(name, datatype, shape, parameters=parameters)
        if "data" not in given:
            return self._with_binary(tensor, size)
        if size is not None:
            details = f"input name: {name}"
            raise Refusal(Problem.CONTENTS_FIELD_NOT_EMPTY, details)
        data = given["data"]
        if type(data) is not list:
            details = f"data is an array; input name: {name}"
            raise Refusal(Problem.COULD_NOT_PARSE_INPUT, details)
        given_data = cast("list[Any]", data)
        text = None if self._long is None else self._long.of(given_data)
        if text is not None:
            return self._with_numbers(tensor, pieces.read(text, datatype, name))
        if datatype == BYTES:
            found = values.texts(given_data, name)
            return tensor._replace(contents=found, contents_field="bytes_contents")
        return self._with_numbers(tensor, values.numbers(given_data, datatype, name))

    def end(self) -> None:
        """Raises Refusal if there is more than all inputs have taken."""
        if len(self._binary):
            details = f"{len(self._binary)} bytes are left"
            raise Refusal(Problem.BINARY_BUFFER_LEFT, details)

    def _with_binary(self, tensor: InputTensor, size: Parameter | None) -> InputTensor:
        missing = ""
        if size is None:
            if tensor.datatype == BYTES:
                return self._with_all(tensor)
            size, missing = _size_of(tensor), f", without data and {_BINARY_SIZE}"
        elif type(size) is not int or size < 0:
            details = f"input name: {tensor.name}"
            raise Refusal(Problem.BINARY_DATA_SIZE_INVALID, details)
        if size > len(self._binary):
            details = (
                f"Expected: {size} bytes; Actual: {len(self._binary)} bytes; "
                f"input name: {tensor.name}{missing}"
            )
            raise Refusal(Problem.BINARY_BUFFER_EXCEEDED, details)
        raw, self._binary = self._binary[:size], self._binary[size:]
        return tensor._replace(raw=raw)

    def _with_numbers(self, tensor: InputTensor, array: Array) -> InputTensor:
        if len(array) != prod(tensor.shape):
            return tensor._replace(contents=array)
        raw = self._quota.view(array.view("u1").data) if len(array) else b""
        return tensor._replace(raw=raw)

    def _with_all(self, tensor: InputTensor) -> InputTensor:
        """One element, an image as a rule: behind its length, as OVMS's examples have it,
        or without, as its guide says.
        """
        if not self._is_single or tensor.shape != (1,) or not len(self._binary):
            details = f"BYTES without {_BINARY_SIZE}; input name: {tensor.name}"
            raise Refusal(Problem.COULD_NOT_PARSE_INPUT, details)
        rest, self._binary = self._binary, self._binary[:0]
        # No JPEG or PNG, and hardly a text, begins with the length of the rest of it.
        if int.from_bytes(rest[:4], "little") == len(rest) - 4:
            return tensor._replace(raw=rest)
        return tensor._replace(contents=[bytes(rest)], contents_field=WITHOUT_LENGTH)


def _shape(said: Any, name: str) -> tuple[int, ...]:
    if type(said) is not list:
        details = f"an input has a shape; input name: {name}"
        raise Refusal(Problem.COULD_NOT_PARSE_INPUT, details)
    given = cast("list[Any]", said)
    if len(given) > MAX_RANK:
        raise ServingError(
            Status.INVALID_NO_OF_SHAPE_DIMENSIONS,
            f"Expected: at most {MAX_RANK}; Actual: {len(given)}; input name: {name}",
        )
    for each in given:
        if type(each) is not int or not 0 <= each <= _MAX_INT64:
            details = f"a shape has integers from 0 on; input name: {name}"
            raise Refusal(Problem.COULD_NOT_PARSE_INPUT, details)
    return tuple(given)


def _size_of(tensor: InputTensor) -> int:
    size = values.element_size(tensor.datatype)
    if size is None:
        details = f"{tensor.datatype} without {_BINARY_SIZE}; input name: {tensor.name}"
        raise Refusal(Problem.COULD_NOT_PARSE_INPUT, details)
    return min(prod(tensor.shape) * size, _MAX_SIZE)
