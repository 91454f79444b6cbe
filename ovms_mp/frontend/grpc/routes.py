"""Every gRPC method that the server speaks is listed here, by its path."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Final

from ovms_mp_protos import kserve

from ovms_mp.frontend.access import Access
from ovms_mp.frontend.grpc.access import closed
from ovms_mp.frontend.grpc.catalog import Catalog
from ovms_mp.frontend.grpc.health import HealthService
from ovms_mp.frontend.grpc.inference import InferenceService
from ovms_mp.frontend.grpc.places import Places
from ovms_mp.frontend.grpc.quota import UNLIMITED, Quota
from ovms_mp.frontend.grpc.recording import recorded
from ovms_mp.frontend.grpc.reflection import Reflection
from ovms_mp.frontend.grpc.streaming import ModelStream, Protobuf, Wire
from ovms_mp.frontend.grpc.triton import TritonService
from ovms_mp.frontend.transport.seam import Abort, Handler, stream, unary
from ovms_mp.telemetry import requests

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
) -> Mapping[str, Handler]:
    """What a transport needs to serve `catalog` to those who have `access`: a handler
    for each path.

    `version` is the product's, for ServerMetadata. Each stream of
    ModelStreamInfer has one of `places`; without them there are as many as there may be.
    Requests of all calls hold at most `quota` of memory.
    With `is_recorded` each call is in the log.
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
    let_in = closed(handlers, access)
    return recorded(let_in) if is_recorded else let_in


def _model_stream(catalog: Catalog, places: Places, wire: Wire) -> ModelStream:
    try:
        places.take()
    except Abort as refused:
        code, text = refused.code.name, refused.details
        requests.failed(wire.interface, wire.method, "", code, text)
        raise
    return ModelStream(catalog, places.give_back, wire)
