"""The unary calls as values: where each goes, what it sends, what its answer says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from ovms_mp_protos import kserve

from ovms_mp_clients.tensors import (
    Parameter,
    Result,
    TensorLike,
    decode,
    encode,
    parsed,
)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """`method` is the path of the RPC. `read` raises ClientError for a message that
    makes no sense.
    """

    method: str
    request: bytes
    read: Callable[[bytes], T]


@dataclass(frozen=True, slots=True)
class ServerMetadata:
    """Who answers, and KServe's extensions that it has."""

    name: str
    version: str
    extensions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """An input or output. Of a graph only the name is known: `datatype` is INVALID and
    `shape` empty. -1 is a dimension that may be anything.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ServableMetadata:
    """A model, or a graph, whose platform and tensors tell little."""

    name: str
    versions: tuple[str, ...]
    platform: str
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]


def live() -> Call[bool]:
    """Asks whether the server answers at all."""
    request = kserve.ServerLiveRequest().SerializeToString()
    return Call(
        kserve.SERVER_LIVE,
        request,
        lambda answer: parsed(kserve.ServerLiveResponse, answer).live,
    )


def ready(name: str, version: str) -> Call[bool]:
    """Asks whether a servable, or without a name the server, would answer a request now."""
    if not name:
        return Call(
            kserve.SERVER_READY,
            kserve.ServerReadyRequest().SerializeToString(),
            lambda answer: parsed(kserve.ServerReadyResponse, answer).ready,
        )
    request = kserve.ModelReadyRequest(name=name, version=version)
    return Call(
        kserve.MODEL_READY,
        request.SerializeToString(),
        lambda answer: parsed(kserve.ModelReadyResponse, answer).ready,
    )


def server_metadata() -> Call[ServerMetadata]:
    """Asks who answers."""
    request = kserve.ServerMetadataRequest().SerializeToString()
    return Call(kserve.SERVER_METADATA, request, _read_server_metadata)


def metadata(name: str, version: str) -> Call[ServableMetadata]:
    """Asks what a servable takes and gives."""
    request = kserve.ModelMetadataRequest(name=name, version=version)
    return Call(kserve.MODEL_METADATA, request.SerializeToString(), _read_metadata)


def infer(
    name: str,
    inputs: Mapping[str, TensorLike],
    version: str,
    parameters: Mapping[str, Parameter] | None,
) -> Call[Result]:
    """One request to a model or graph. Raises TypeError for a dtype KServe lacks."""
    request = encode(name, inputs, parameters=parameters)
    request.model_version = version
    return Call(
        kserve.MODEL_INFER,
        request.SerializeToString(),
        lambda answer: decode(parsed(kserve.ModelInferResponse, answer)),
    )


def _read_server_metadata(answer: bytes) -> ServerMetadata:
    said = parsed(kserve.ServerMetadataResponse, answer)
    return ServerMetadata(said.name, said.version, tuple(said.extensions))


def _read_metadata(answer: bytes) -> ServableMetadata:
    said = parsed(kserve.ModelMetadataResponse, answer)
    inputs, outputs = (
        tuple(
            TensorInfo(each.name, each.datatype, tuple(each.shape)) for each in tensors
        )
        for tensors in (said.inputs, said.outputs)
    )
    return ServableMetadata(
        said.name, tuple(said.versions), said.platform, inputs, outputs
    )
