"""Spans of a request, its run, its nodes and its inferences reach a collector, in the trace
that the client named; and a collector that is broken hurts nobody.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from ovms_mp.settings import UsageError
from tests.unit.inference import tiny
from tests.wire import zoo
from tests.wire.calls import Stream, ask, floats, infer, refusal
from tests.wire.collectors import Collected, Collector, GrpcCollector
from tests.wire.rest import Rest, inputs, tensor
from tests.wire.servers import HOST, Server, serving
from tests.wire.waiting import until
from tests.wire.web import ROW, answer, request, stream

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE}-{PARENT}-01"
UNSAMPLED = f"00-{TRACE}-{PARENT}-00"
GRPC = {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}
AN_HOUR = 3_600_000_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("spans")
    zoo.add_model(folder, "add_one", tiny.add_one((1, 10)))
    zoo.add_model(folder, "rows", tiny.add_one((-1, 10)))
    zoo.add_model(folder, "sum", tiny.running_total())
    zoo.add_graph(folder, "add", zoo.GRAPHS["add"])
    together = {"max_batch_size": 2, "max_queue_delay_microseconds": AN_HOUR}
    entries = [
        zoo.entry("add_one"),
        zoo.entry("rows", dynamic_batching=together),
        zoo.entry("sum", stateful=True),
    ]
    return zoo.write_config(folder, entries, [{"name": "add"}])


@contextmanager
def telling(
    folder: Path, port: int, variables: Mapping[str, str] = {}
) -> Iterator[Server]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
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


def check(collector: Collected, name: str, kind: str, method: str) -> None:
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
    # The request may end after its inference was brought away.
    assert until(lambda: collector.named("REST infer"), 20)
    assert len(collector.named("REST infer")) == 1
    assert TRACE not in {each.trace_id.hex() for each in collector.spans}


def test_a_request_to_a_model_has_its_inference(
    traced: Server, collector: Collector
) -> None:
    """Asked again with other contents, too, which is answered on a shorter way else."""
    collector.spans.clear()
    said = (("traceparent", TRACEPARENT),)
    with traced.connect() as channel:
        for number in range(3):
            asked = ask("add_one", {"x": floats(*range(number, number + 10))})
            infer(channel, asked, metadata=said)
    assert until(lambda: len(collector.named("infer add_one")) == 3, 20)
    assert until(lambda: len(collector.named("gRPC ModelInfer")) == 3, 20)
    roots = collector.named("gRPC ModelInfer")
    for root in roots:
        run = collector.child(root, "request add_one")
        inference = collector.child(run, "infer add_one")
        assert collector.children(run, "enter")
        assert inference.trace_id.hex() == TRACE
        assert root.start_time_unix_nano <= inference.start_time_unix_nano
        assert inference.start_time_unix_nano < inference.end_time_unix_nano
        assert inference.end_time_unix_nano <= root.end_time_unix_nano


def test_a_request_to_a_model_over_http_has_its_inference(
    traced: Server, collector: Collector
) -> None:
    collector.spans.clear()
    rest = Rest(traced.app.rest_port)
    asked = inputs(tensor("x", ROW))
    assert (
        rest.infer("add_one", asked, headers={"traceparent": TRACEPARENT}).code == 200
    )
    assert until(lambda: collector.named("REST infer"), 20)
    (root,) = collector.named("REST infer")
    collector.child(collector.child(root, "request add_one"), "infer add_one")


@pytest.mark.parametrize("model", ["add_one", "sum"])
def test_each_request_of_a_stream_on_a_model_has_its_inference(
    traced: Server, collector: Collector, model: str
) -> None:
    """With a state or without: in the stream's run, by its timestamp."""
    collector.spans.clear()
    said = (("traceparent", TRACEPARENT),)
    tensors = {"add_one": {"x": floats(*range(10))}, "sum": {"x": floats(*range(4))}}
    with traced.connect() as channel:
        first = ask(model, tensors[model], at=5)
        with Stream(channel, first, metadata=said) as on:
            on.answer()
            for at in (6, 8):
                on.send(ask(model, tensors[model], at=at))
                on.answer()
            on.half_close()
            assert on.end() == ("OK", "")
    assert until(lambda: collector.named("gRPC ModelStreamInfer"), 20)
    (root,) = collector.named("gRPC ModelStreamInfer")
    run = collector.child(root, f"stream {model}")
    for name in (f"infer {model}", "enter", "respond"):
        assert until(lambda name=name: len(collector.children(run, name)) == 3, 20)
        found = collector.children(run, name)
        assert sorted(timestamp(each) for each in found) == [5, 6, 8]


def timestamp(span: Span) -> int:
    return next(e.value.int_value for e in span.attributes if e.key.endswith("stamp"))


def test_those_who_are_inferred_together_have_it_each(
    traced: Server, collector: Collector
) -> None:
    """One batch: the same time in both traces."""
    collector.spans.clear()
    row = np.zeros((1, 10), np.float32)
    with (
        traced.connect() as one,
        traced.connect() as other,
        ThreadPoolExecutor(2) as both,
    ):
        asked = [both.submit(infer, to, ask("rows", {"x": row})) for to in (one, other)]
        for each in asked:
            each.result()
    assert until(lambda: len(collector.named("infer rows")) == 2, 20)
    spans = collector.named("infer rows")
    assert len({each.parent_span_id for each in spans}) == 2
    assert len({(e.start_time_unix_nano, e.end_time_unix_nano) for e in spans}) == 1


def test_what_a_model_refuses_leaves_nothing(
    traced: Server, collector: Collector
) -> None:
    collector.spans.clear()
    with traced.connect() as channel:
        refusal(channel, ask("add_one", {"x": floats(1)}))
        with Stream(channel, ask("add_one", {"x": floats(1)})) as on:
            assert on.refusal()
            on.half_close()
            assert on.end() == ("OK", "")
    assert until(lambda: len(collector.named("request add_one")) == 1, 20)
    assert until(lambda: len(collector.named("stream add_one")) == 1, 20)
    assert not collector.named("infer add_one")
    spans = traced.app.observing.spans
    assert spans is not None
    assert until(lambda: not spans._runs)


def test_spans_go_over_grpc_where_it_is_asked_for(folder: Path) -> None:
    collector = GrpcCollector()
    with telling(folder, collector.port, GRPC) as server:
        with server.connect() as channel:
            said = (("traceparent", TRACEPARENT),)
            infer(channel, ask("add", {"in": floats(*range(10))}), metadata=said)
        check(collector, "gRPC ModelInfer", "request", "ModelInfer")
    collector.close()


def test_a_protocol_that_there_is_not_is_told_at_the_start(folder: Path) -> None:
    variables = {"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "pigeon"}
    with (
        pytest.raises(UsageError, match=r'TRACES_PROTOCOL should be .*, not "pigeon"'),
        telling(folder, 1, variables),
    ):
        pass


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
@pytest.mark.parametrize("is_deaf", [True, False])
def test_a_collector_that_is_broken_hurts_nobody(
    folder: Path, is_deaf: bool, protocol: str
) -> None:
    """One that is not there, and one that takes connections and never answers."""
    variables = {"OTEL_EXPORTER_OTLP_PROTOCOL": protocol}
    with socket.create_server((HOST, 0)) as listener:
        port = listener.getsockname()[1]
        if not is_deaf:
            listener.close()
        with (
            telling(folder, port, variables) as server,
            server.connect() as channel,
        ):
            with Stream(channel) as on:
                for number in range(200):
                    on.send(ask("add", {"in": floats(*range(10))}, at=number))
                    on.answer()
            rest = Rest(server.app.rest_port)
            assert rest.infer("add", inputs(tensor("in", ROW))).code == 200
            assert rest.get("/v2/health/ready").code == 200
