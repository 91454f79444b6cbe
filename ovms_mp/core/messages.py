"""Inference requests and responses without a protocol: what frontends decode into and
encode from, and what REQUEST and RESPONSE streams of a graph carry.

What is made for each request is a named tuple: it costs a fifth of a frozen dataclass.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, TypeAlias

from ovms_mp.core.tensor import Array

Parameter: TypeAlias = bool | int | float | str
Buffer: TypeAlias = bytes | memoryview
TypedValues: TypeAlias = Array | Sequence[bytes]

WITHOUT_LENGTH: Final = "raw_input_contents"

NO_PARAMETERS: Final[Mapping[str, Parameter]] = {}


class InputTensor(NamedTuple):
    """One input of a request, not yet judged: `shape` and sizes are the client's claim.

    Exactly one of `raw` (little-endian bytes) and `contents` holds data, or neither.
    `contents` is a flat array in the wire's element type (INT8 comes as int32, say), or
    a sequence of bytes for BYTES; `contents_field` is the wire's name of where it came
    from, WITHOUT_LENGTH being that of one element of BYTES that is a whole raw buffer.
    Both are views on the received message where that is possible.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    raw: Buffer | None = None
    contents: TypedValues | None = None
    contents_field: str = ""
    parameters: Mapping[str, Parameter] = NO_PARAMETERS


class InferRequest(NamedTuple):
    """`model_version` is the client's text, `""` when it chose none.

    `raw_count` is the number of raw buffers the message carried: OVMS refuses one that
    differs from the number of inputs, in an order of checks that clients can observe.
    `interface` is the frontend it came by, `gRPC` or `REST`: a label of metrics.
    `outputs` are the names of those that the client wants, none for all.
    """

    model_name: str
    model_version: str = ""
    id: str = ""
    parameters: Mapping[str, Parameter] = NO_PARAMETERS
    inputs: tuple[InputTensor, ...] = ()
    raw_count: int = 0
    interface: str = "gRPC"
    outputs: tuple[str, ...] = ()


class OutputTensor(NamedTuple):
    """One output: `data` is its dense little-endian content (BYTES: length-prefixed)."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: Buffer


class InferResponse(NamedTuple):
    """What a servable answers; the frontend puts it on the wire unchanged.

    `asked_as` are the names by which the request asked for the outputs, one of each; none
    if these are their own.
    """

    model_name: str
    model_version: str
    id: str = ""
    parameters: Mapping[str, Parameter] = NO_PARAMETERS
    outputs: tuple[OutputTensor, ...] = ()
    asked_as: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """What metadata says of an input or output. A dynamic dimension is -1. A model takes
    and gives it by any of `aliases` as well. Of an `is_example` there are other shapes,
    too: the model is compiled for what comes, or nobody knows how many dimensions it has.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    aliases: tuple[str, ...] = field(default=(), compare=False)
    is_example: bool = field(default=False, compare=False)


ModelInfo: TypeAlias = "Mapping[str, str | ModelInfo]"
"""What the file of a model says of it by itself (`model_info` of an IR)."""
NO_INFO: Final[ModelInfo] = {}


@dataclass(frozen=True, slots=True)
class ServableMetadata:
    """What ModelMetadata tells of a model or graph."""

    name: str
    versions: tuple[str, ...]
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    platform: str = "OpenVINO"
    model_info: ModelInfo = field(default_factory=lambda: NO_INFO)
    """Which gRPC has no field for."""
