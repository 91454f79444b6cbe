"""How spans are brought away: by which protocol is what OpenTelemetry's own variables say,
and where to is read by its exporters.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter

VARIABLES: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
"""The first of them that is set counts."""
HTTP: Final = "http/protobuf"
GRPC: Final = "grpc"


class NoExporter(Exception):
    """Nothing brings spans away by the protocol that is asked for."""


def exporter(environment: Mapping[str, str]) -> SpanExporter:
    """By HTTP unless it says otherwise. Raises NoExporter."""
    for variable in VARIABLES:
        if protocol := environment.get(variable, "").strip().lower():
            break
    else:
        variable, protocol = VARIABLES[-1], HTTP
    if protocol == HTTP:
        from opentelemetry.exporter.otlp.proto.http import trace_exporter as http

        return http.OTLPSpanExporter()
    if protocol == GRPC:
        from opentelemetry.exporter.otlp.proto.grpc import trace_exporter as grpc

        return grpc.OTLPSpanExporter()
    raise NoExporter(f'{variable} should be "{HTTP}" or "{GRPC}", not "{protocol}"')
