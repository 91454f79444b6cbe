"""Spans of a request, its run, its nodes and its inferences reach a collector, in the trace
that the client named; and a collector that is broken hurts nobody.
"""

from __future__ import annotations

import gzip
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.unit.inference import tiny
from tests.wire import zoo
from tests.wire.calls import Stream, ask, floats, infer
from tests.wire.rest import Rest, inputs, tensor
from tests.wire.servers import HOST, Server, serving
from tests.wire.waiting import until
from tests.wire.web import ROW, answer, request, stream

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE}-{PARENT}-01"
UNSAMPLED = f"00-{TRACE}-{PARENT}-00"


class Collector:
    """Takes spans over HTTP, as protobuf."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.headers.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                said = ExportTraceServiceRequest.FromString(body)
                for resource in said.resource_spans:
                    for scope in resource.scope_spans:
                        collector.spans += scope.spans
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

    def named(self, name: str) -> list[Span]:
        return [each for each in self.spans if each.name == name]

    def child(self, parent: Span, name: str) -> Span:
        """The one of this name."""
        assert until(lambda: self._children(parent, name), 20), [
            (each.name, each.parent_span_id.hex()) for each in self.spans
        ]
        return self._children(parent, name)[0]

    def _children(self, parent: Span, name: str) -> list[Span]:
        return [e for e in self.named(name) if e.parent_span_id == parent.span_id]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("spans")
    zoo.add_model(folder, "add_one", tiny.add_one((1, 10)))
    zoo.add_graph(folder, "add", zoo.GRAPHS["add"])
    return zoo.write_config(folder, [zoo.entry("add_one")], [{"name": "add"}])


@contextmanager
def telling(folder: Path, port: int) -> Iterator[Server]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://{HOST}:{port}")
        patch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
        patch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
        with serving(folder, otel=True) as server:
            yield server


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    collector = Collector()
    yield collector
    collector.close()


@pytest.fixture(scope="module")
def traced(folder: Path, collector: Collector) -> Iterator[Server]:
    with telling(folder, collector.port) as server:
        yield server


def code_of(span: Span) -> str:
    return attribute(span, "ovms_mp.code")


def attribute(span: Span, name: str) -> str:
    return next(e.value.string_value for e in span.attributes if e.key == name)


def check(collector: Collector, name: str, kind: str, method: str) -> None:
    assert until(lambda: collector.named(name), 20)
    (root,) = collector.named(name)
    assert (root.trace_id.hex(), root.parent_span_id.hex()) == (TRACE, PARENT)
    assert root.kind == Span.SPAN_KIND_SERVER
    run = collector.child(root, f"{kind} add")
    node = collector.child(run, "OpenVINOInferenceCalculator")
    inference = collector.child(node, "infer add_one")
    assert {each.trace_id.hex() for each in (run, node, inference)} == {TRACE}
    spans = (root, run, node, inference)
    for outer, inner in pairwise(spans[2:]):
        assert outer.start_time_unix_nano <= inner.start_time_unix_nano
        assert inner.end_time_unix_nano <= outer.end_time_unix_nano
    assert abs(inference.start_time_unix_nano - time.time_ns()) < 60e9
    assert attribute(root, "rpc.method") == method
    assert attribute(root, "ovms_mp.servable") == "add"


def test_a_unary_call_of_grpc(traced: Server, collector: Collector) -> None:
    collector.spans.clear()
    with traced.connect() as channel:
        said = (("traceparent", TRACEPARENT),)
        infer(channel, ask("add", {"in": floats(*range(10))}), metadata=said)
    check(collector, "gRPC ModelInfer", "request", "ModelInfer")


def test_a_stream_of_grpc(traced: Server, collector: Collector) -> None:
    collector.spans.clear()
    with traced.connect() as channel:
        first = ask("add", {"in": floats(*range(10))})
        said = (("traceparent", TRACEPARENT),)
        with Stream(channel, first, metadata=said) as on:
            on.answer()
            on.half_close()
            assert on.end() == ("OK", "")
    check(collector, "gRPC ModelStreamInfer", "stream", "ModelStreamInfer")


def test_a_request_over_http(traced: Server, collector: Collector) -> None:
    collector.spans.clear()
    rest = Rest(traced.app.rest_port)
    asked = inputs(tensor("in", ROW))
    rest.infer("add", asked, headers={"traceparent": TRACEPARENT})
    check(collector, "REST infer", "request", "infer")
    (root,) = collector.named("REST infer")
    assert code_of(root) == "200"


def test_a_large_request_over_http(traced: Server, collector: Collector) -> None:
    """It is read in another thread, and belongs to its trace all the same."""
    collector.spans.clear()
    rest = Rest(traced.app.rest_port)
    asked = json.dumps(inputs(tensor("in", ROW))).encode() + b" " * 1_000_000
    said = {"traceparent": TRACEPARENT}
    assert rest.ask("POST", "/v2/models/add/infer", asked, said).code == 200
    check(collector, "REST infer", "request", "infer")


def test_a_websocket(traced: Server, collector: Collector) -> None:
    collector.spans.clear()
    said = {"traceparent": TRACEPARENT}
    with stream(traced, "add", additional_headers=said) as on:
        on.send(request("in"))
        answer(on)
        on.send("")
    check(collector, "REST infer_stream", "stream", "infer_stream")


def test_a_failure_is_one(traced: Server, collector: Collector) -> None:
    collector.spans.clear()
    rest = Rest(traced.app.rest_port)
    assert rest.infer("add", {"inputs": []}).code == 400
    assert until(lambda: collector.named("REST infer"), 20)
    (root,) = collector.named("REST infer")
    assert root.status.code == 2  # ERROR
    assert code_of(root) == "400"


def test_what_the_client_does_not_sample_is_not_told(
    traced: Server, collector: Collector
) -> None:
    collector.spans.clear()
    rest = Rest(traced.app.rest_port)
    asked = inputs(tensor("in", ROW))
    rest.infer("add", asked, headers={"traceparent": UNSAMPLED})
    rest.infer("add", asked, headers={"traceparent": "what?"})
    assert until(lambda: collector.named("infer add_one"), 20)
    assert len(collector.named("REST infer")) == 1
    assert TRACE not in {each.trace_id.hex() for each in collector.spans}


@pytest.mark.parametrize("is_deaf", [True, False])
def test_a_collector_that_is_broken_hurts_nobody(folder: Path, is_deaf: bool) -> None:
    """One that is not there, and one that takes connections and never answers."""
    with socket.create_server((HOST, 0)) as listener:
        port = listener.getsockname()[1]
        if not is_deaf:
            listener.close()
        with telling(folder, port) as server, server.connect() as channel:
            with Stream(channel) as on:
                for number in range(200):
                    on.send(ask("add", {"in": floats(*range(10))}, at=number))
                    on.answer()
            rest = Rest(server.app.rest_port)
            assert rest.infer("add", inputs(tensor("in", ROW))).code == 200
            assert rest.get("/v2/health/ready").code == 200
