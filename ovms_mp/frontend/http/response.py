"""An InferResponse becomes JSON, and behind it the contents of those outputs that the
client wants as they are, which are not copied.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from ovms_mp.core.errors import ServingError, Status
from ovms_mp.frontend.http import pieces, values
from ovms_mp.frontend.http.errors import Problem, Refusal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ovms_mp.core.messages import Buffer, InferResponse, OutputTensor
    from ovms_mp.frontend.http.request import Wanted


class Encoded(NamedTuple):
    """A body in parts. Its first `json_size` bytes are JSON, before it is compressed; if
    it `is_binary`, contents may follow.
    """

    parts: Sequence[Buffer]
    json_size: int
    is_binary: bool

    @property
    def size(self) -> int:
        """Bytes of all parts."""
        return sum(map(size_of, self.parts))


def fitting(response: InferResponse, limit: int) -> int:
    """Bytes of all outputs. Raises ServingError for more than `limit`; 0 is none."""
    size = sum(size_of(each.data) for each in response.outputs)
    if 0 < limit < size:
        details = f"a response has {size} bytes, and at most {limit} may be sent"
        raise ServingError(Status.RESOURCE_EXHAUSTED, details)
    return size


def encode(response: InferResponse, wanted: Wanted) -> Encoded:
    """Raises Refusal if the client wants an output that is not there, or in JSON what
    has no form there.
    """
    chosen = _chosen(response, wanted)
    parts: list[Buffer] = []
    document: dict[str, Any] = {"model_name": response.model_name}
    if response.id:
        document["id"] = response.id
    document["model_version"] = response.model_version
    if response.parameters:
        document["parameters"] = dict(response.parameters)
    text = [_open(document), b',"outputs":[']
    is_binary = False
    for number, (output, wants_binary) in enumerate(chosen):
        told: dict[str, Any] = {
            "name": output.name,
            "shape": list(output.shape),
            "datatype": output.datatype,
        }
        if wants_binary:
            is_binary = True
            told["parameters"] = {"binary_data_size": size_of(output.data)}
            parts.append(output.data)
        text += (b"," if number else b"", _open(told))
        if not wants_binary:
            data = values.in_json(output.data, output.datatype, output.name)
            text += (b',"data":', *pieces.write(data))
        text.append(b"}")
    text.append(b"]}")
    head = b"".join(text)
    return Encoded([head, *parts], len(head), is_binary)


def _open(told: dict[str, Any]) -> bytes:
    """In JSON, without the brace that closes it."""
    try:
        return orjson.dumps(told)[:-1]
    except orjson.JSONEncodeError as error:
        # A name, shape or datatype that a Python node made up.
        raise ServingError(Status.OV_INTERNAL_SERIALIZATION_ERROR, str(error)) from None


def size_of(data: Buffer) -> int:
    """Bytes of it."""
    return data.nbytes if isinstance(data, memoryview) else len(data)


def _chosen(
    response: InferResponse, wanted: Wanted
) -> Sequence[tuple[OutputTensor, bool]]:
    if wanted.outputs is None:
        return [(each, wanted.binary) for each in response.outputs]
    there: dict[str, list[OutputTensor]] = {}
    for name, output in zip(
        response.asked_as or [each.name for each in response.outputs],
        response.outputs,
        strict=True,
    ):
        there.setdefault(name, []).append(output)
    known = {*there, *(each.name for each in response.outputs)}
    for name in wanted.outputs:
        if name not in known:
            details = f"Requested output: {name}"
            raise Refusal(Problem.INVALID_MISSING_OUTPUT, details)
    return [
        (each, is_binary)
        for name, is_binary in wanted.outputs.items()
        for each in there.get(name, ())
    ]
