"""Collectors of OpenTelemetry's spans, over HTTP and gRPC."""

from __future__ import annotations

import gzip
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.wire.servers import HOST
from tests.wire.waiting import until


class Collected:
    """Spans that came."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.port = 0

    def came(self, body: bytes) -> None:
        """An ExportTraceServiceRequest."""
        said = ExportTraceServiceRequest.FromString(body)
        for resource in said.resource_spans:
            for scope in resource.scope_spans:
                self.spans += scope.spans

    def named(self, name: str) -> list[Span]:
        return [each for each in self.spans if each.name == name]

    def child(self, parent: Span, name: str) -> Span:
        """The one of this name."""
        assert until(lambda: self.children(parent, name), 20), [
            (each.name, each.parent_span_id.hex()) for each in self.spans
        ]
        return self.children(parent, name)[0]

    def children(self, parent: Span, name: str) -> list[Span]:
        return [e for e in self.named(name) if e.parent_span_id == parent.span_id]


class GrpcCollector(Collected):
    """Takes spans over gRPC."""

    def __init__(self) -> None:
        super().__init__()
        self._server = grpc.server(ThreadPoolExecutor(2))
        take = grpc.unary_unary_rpc_method_handler(self._take)
        service = "opentelemetry.proto.collector.trace.v1.TraceService"
        methods = {"Export": take}
        handler = grpc.method_handlers_generic_handler(service, methods)
        self._server.add_generic_rpc_handlers((handler,))
        self.port = self._server.add_insecure_port(f"{HOST}:0")
        self._server.start()

    def _take(self, body: bytes, _: grpc.ServicerContext) -> bytes:
        self.came(body)
        return b""

    def close(self) -> None:
        self._server.stop(None).wait()


class Collector(Collected):
    """Takes spans over HTTP, as protobuf."""

    def __init__(self) -> None:
        super().__init__()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.headers.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                collector.came(body)
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_request(self, code: Any = "-", size: Any = "-") -> None:
                pass

        self._server = ThreadingHTTPServer((HOST, 0), Handler)
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
