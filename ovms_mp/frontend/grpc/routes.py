"""Every gRPC method that the server speaks is listed here, by its path."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Final

from ovms_mp_protos import kserve

from ovms_mp.frontend.access import Access
from ovms_mp.frontend.grpc.access import closed
from ovms_mp.frontend.grpc.catalog import Catalog
from ovms_mp.frontend.grpc.health import HealthService
from ovms_mp.frontend.grpc.inference import InferenceService
from ovms_mp.frontend.grpc.places import Places
from ovms_mp.frontend.grpc.quota import UNLIMITED, Quota
from ovms_mp.frontend.grpc.recording import INTERFACE, Record, recorded
from ovms_mp.frontend.grpc.reflection import Reflection
from ovms_mp.frontend.grpc.streaming import ModelStream, Protobuf, Wire
from ovms_mp.frontend.grpc.triton import TritonService
from ovms_mp.frontend.transport.seam import Abort, Handler, Metadata, stream, unary
from ovms_mp.telemetry import requests

if TYPE_CHECKING:
    from ovms_mp.telemetry.spans import Spans

_INFERENCES: Final = (kserve.MODEL_INFER, kserve.MODEL_STREAM_INFER)
_INFERENCE: Final = "inference.GRPCInferenceService"
_SERVICES: Final = (
    _INFERENCE,
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
)


def health_of(catalog: Catalog) -> HealthService:
    """Health of what `catalog` serves; whoever changes it calls `notify`."""
    return HealthService(catalog, (_INFERENCE,))


def routes(
    catalog: Catalog,
    health: HealthService,
    version: str,
    access: Access,
    *,
    places: Places | None = None,
    quota: Quota = UNLIMITED,
    is_recorded: bool = False,
    spans: Spans | None = None,
) -> Mapping[str, Handler]:
    """What a transport needs to serve `catalog` to those who have `access`: a handler
    for each path.

    `version` is the product's, for ServerMetadata. Each stream of
    ModelStreamInfer has one of `places`; without them there are as many as there may be.
    Requests of all calls hold at most `quota` of memory.
    With `is_recorded` each call is in the log; those of inference have `spans`.
    """
    reflection = Reflection(
        kserve.pool.FindServiceByName(name).file for name in _SERVICES
    )
    open_stream = partial(_model_stream, catalog, places or Places(), Protobuf(quota))
    unary_handlers = {
        **InferenceService(catalog, version, quota).handlers(),
        **health.handlers(),
        **TritonService(catalog).handlers(),
    }
    handlers = {
        # Health and metadata are answered whatever a ModelInfer is doing.
        **{
            path: unary(handler, is_reserved=path != kserve.MODEL_INFER)
            for path, handler in unary_handlers.items()
        },
        kserve.MODEL_STREAM_INFER: stream(open_stream),
        kserve.HEALTH_WATCH: stream(health.watch),
        kserve.SERVER_REFLECTION_INFO: stream(reflection.session),
        kserve.V1ALPHA_SERVER_REFLECTION_INFO: stream(reflection.session),
    }
    if spans is not None:
        asked = {path: handlers[path] for path in _INFERENCES}
        handlers |= recorded(asked, partial(_begin, spans))
    let_in = closed(handlers, access)
    return recorded(let_in) if is_recorded else let_in


def _begin(spans: Spans, method: str, metadata: Metadata) -> Record:
    said = {key: value for key, value in metadata if isinstance(value, str)}
    return spans.begin(INTERFACE, method, said)


def _model_stream(catalog: Catalog, places: Places, wire: Wire) -> ModelStream:
    try:
        places.take()
    except Abort as refused:
        code, text = refused.code.name, refused.details
        requests.failed(wire.interface, wire.method, "", code, text)
        raise
    return ModelStream(catalog, places.give_back, wire)
