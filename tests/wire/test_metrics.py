"""What /metrics says after traffic that is known."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from ovms_mp_protos import kserve

from ovms_mp.repository.config import ModelSpec, MonitoringSpec
from ovms_mp.telemetry import families
from tests.unit.inference import tiny
from tests.wire import zoo
from tests.wire.calls import Stream, ask, floats, infer, refusal, text
from tests.wire.servers import HOST, Process, Server, sample, serving
from tests.wire.waiting import until

FIVE: Final = floats(1, 2, 3, 4, 5)
GRPC: Final = {"api": "KServe", "interface": "gRPC"}
UNARY: Final = {**GRPC, "method": "ModelInfer"}
STREAMED: Final = {**GRPC, "method": "ModelInferStream"}
MODEL: Final = {"name": "add_one", "version": "1"}


def get(server: Server, path: str, method: str = "GET") -> tuple[int, str, str]:
    """Status, content type and body."""
    url = f"http://{HOST}:{server.app.rest_port}{path}"
    request = urllib.request.Request(url, method=method)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.headers["content-type"], answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers["content-type"], error.read().decode()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("counted")
    zoo.add_model(folder, "add_one", tiny.add_one((1, 5)))
    add = zoo.graph(
        ["OVTENSOR:in"],
        ["OVTENSOR:out"],
        zoo.session("add_one"),
        zoo.inferring({"x": "in"}, {"y": "out"}),
    )
    zoo.add_graph(folder, "add", add)
    zoo.add_graph(folder, "echo", zoo.ECHO)
    zoo.add_graph(folder, "words", zoo.words(), speaker=zoo.HANDLER)
    return folder


@pytest.fixture(scope="module")
def config(folder: Path) -> Path:
    names = ("add", "echo", "words")
    graphs = [{"name": name} for name in names]
    return zoo.write_config(folder, [zoo.entry("add_one")], graphs)


@pytest.fixture(scope="module")
def quiet(config: Path) -> Iterator[Server]:
    """A server that nobody has asked anything."""
    with serving(config) as server:
        yield server


@pytest.fixture(scope="module")
def page(config: Path) -> Iterator[str]:
    """The page of a server that has served what `traffic` asks."""
    with serving(config) as server:
        traffic(server)
        assert until(server.is_idle)
        status, content_type, body = get(server, "/metrics")
        assert status == 200
        assert content_type == "text/plain; version=0.0.4; charset=utf-8"
        yield body


def traffic(server: Server) -> None:
    with server.connect() as channel:
        # A model: three good requests, two bad ones, metadata twice, ready once.
        for _ in range(3):
            infer(channel, ask("add_one", {"x": FIVE}))
        for _ in range(2):
            refusal(channel, ask("add_one", {"y": FIVE}))
        metadata: Any = channel.unary_unary(kserve.MODEL_METADATA)
        request = kserve.ModelMetadataRequest(name="add_one").SerializeToString()
        for _ in range(2):
            metadata(request)
        ready: Any = channel.unary_unary(kserve.MODEL_READY)
        ready(kserve.ModelReadyRequest(name="add_one").SerializeToString())
        health: Any = channel.unary_unary(kserve.HEALTH_LIST)
        health(b"")
        # A graph, unary: two good requests, one that does not fit.
        for _ in range(2):
            infer(channel, ask("add", {"in": FIVE}))
        refusal(channel, ask("add", {"other": FIVE}))
        # A stream of four requests, one of which is refused.
        with Stream(channel, *(ask("echo", {"in": FIVE}) for _ in range(3))) as stream:
            stream.send(ask("echo", {"other": FIVE}))
            for _ in range(3):
                stream.answer()
            stream.refusal()
            stream.half_close()
            assert stream.end() == ("OK", "")
        # A stream that its graph fails, and a unary request that does.
        with Stream(channel, ask("words", {"word": text("raise")})) as stream:
            assert stream.end()[0] == "INVALID_ARGUMENT"
        refusal(channel, ask("words", {"word": text("raise")}))


@pytest.mark.parametrize(
    ("name", "labels", "value"),
    [
        ("ovms_requests_success", {**UNARY, **MODEL}, 3),
        ("ovms_requests_fail", {**UNARY, **MODEL}, 2),
        ("ovms_requests_success", {**GRPC, "method": "ModelMetadata", **MODEL}, 2),
        (
            "ovms_requests_success",
            {**GRPC, "method": "ModelReady", "name": "add_one"},
            1,
        ),
        ("ovms_requests_success", {**UNARY, "interface": "REST", **MODEL}, 0),
        ("ovms_request_time_us_count", {"interface": "gRPC", **MODEL}, 3),
        ("ovms_current_requests", MODEL, 0),
        # Two of them were the graph's.
        ("ovms_inference_time_us_count", MODEL, 5),
        ("ovms_wait_for_infer_req_time_us_count", MODEL, 5),
        ("ovms_infer_req_active", MODEL, 0),
        ("ovms_current_graphs", {"name": "add"}, 0),
        ("ovms_current_graphs", {"name": "echo"}, 0),
        ("ovms_requests_accepted", {**UNARY, "name": "add"}, 2),
        ("ovms_requests_rejected", {**UNARY, "name": "add"}, 1),
        ("ovms_responses", {**UNARY, "name": "add"}, 2),
        (
            "ovms_graph_processing_time_us_count",
            {"method": "ModelInfer", "name": "add"},
            2,
        ),
        ("ovms_requests_accepted", {**STREAMED, "name": "echo"}, 3),
        ("ovms_requests_rejected", {**STREAMED, "name": "echo"}, 1),
        ("ovms_responses", {**STREAMED, "name": "echo"}, 3),
        (
            "ovms_graph_processing_time_us_count",
            {"method": "ModelInferStream", "name": "echo"},
            1,
        ),
        (
            "ovms_graph_request_latency_us_count",
            {"method": "ModelInferStream", "name": "echo"},
            3,
        ),
        ("ovms_graph_error", {**STREAMED, "name": "words"}, 1),
        ("ovms_graph_error", {**UNARY, "name": "words"}, 1),
        ("ovms_requests_accepted", {**STREAMED, "name": "words"}, 1),
    ],
    ids=lambda each: " ".join(each.values()) if isinstance(each, dict) else str(each),
)
def test_traffic_is_counted(
    page: str, name: str, labels: dict[str, str], value: float
) -> None:
    assert sample(page, name, labels) == value


@pytest.mark.parametrize("name", ["ovms_streams", "ovms_infer_req_queue_size"])
def test_what_a_model_has_is_shown(page: str, name: str) -> None:
    shown = sample(page, name, MODEL)
    assert shown is not None and shown >= 1


def test_a_histogram_has_ovms_s_buckets(page: str) -> None:
    name = r"ovms_inference_time_us_bucket\{.*le=\"([^\"]+)\"\} (\d+)"
    found = re.findall(name, page)
    assert [edge for edge, _ in found][:4] == ["10", "18", "32", "58"]
    assert len(found) == 34
    assert found[-1] == ("+Inf", "5")
    counts = [int(count) for _, count in found]
    assert counts == sorted(counts)


def test_what_a_graph_shows_has_no_version(page: str) -> None:
    lines = [each for each in page.splitlines() if 'name="echo"' in each]
    assert lines
    assert not [each for each in lines if "version=" in each]


def test_every_family_has_its_help_and_type(page: str) -> None:
    shown = set(
        re.findall(r"^([a-z_]+?)(?:_bucket|_sum|_count)?\{", page, re.MULTILINE)
    )
    for name in shown:
        assert f"# HELP {name} " in page
        assert f"# TYPE {name} " in page
    assert shown <= {each.name for each in families.FAMILIES}


def test_a_server_that_nobody_asked_counts_nothing(quiet: Server) -> None:
    _, _, page = get(quiet, "/metrics")
    assert sample(page, "ovms_requests_success", {**UNARY, **MODEL}) == 0
    counted = re.findall(
        r"^(ovms_(?:requests|responses|graph).*) (.*)$", page, re.MULTILINE
    )
    assert counted
    assert {value for _, value in counted} == {"0"}


@pytest.mark.parametrize(
    ("method", "path", "status", "text"),
    [
        ("GET", "/", 400, "Invalid request URL"),
        ("GET", "/metrics/", 400, "Invalid request URL"),
        ("GET", "/v3/nonsense", 400, "Invalid request URL"),
        ("POST", "/metrics", 406, "Unsupported method"),
        ("DELETE", "/nonsense", 406, "Unsupported method"),
    ],
)
def test_other_paths_and_methods_are_refused(
    quiet: Server, method: str, path: str, status: int, text: str
) -> None:
    code, content_type, body = get(quiet, path, method)
    assert code == status
    assert content_type == "application/json"
    assert json.loads(body) == {"error": text}


def test_without_metrics_there_is_no_page(config: Path) -> None:
    with serving(config, metrics=None) as server:
        assert get(server, "/metrics")[0] == 400
        with server.connect() as channel:
            infer(channel, ask("add", {"in": FIVE}))


def test_only_the_families_that_are_named_are_shown(folder: Path) -> None:
    wanted = MonitoringSpec(is_enabled=True, families=("ovms_requests_success",))
    source = ModelSpec("add_one", folder / "add_one")
    with serving(source, metrics=wanted) as server:
        with server.connect() as channel:
            infer(channel, ask("add_one", {"x": FIVE}))
        _, _, page = get(server, "/metrics")
    assert set(re.findall(r"^# TYPE (\S+)", page, re.MULTILINE)) == {
        "ovms_requests_success"
    }
    assert sample(page, "ovms_requests_success", {**UNARY, **MODEL}) == 1


def test_a_config_may_ask_for_metrics(folder: Path) -> None:
    monitoring = {"metrics": {"enable": True, "metrics_list": ["ovms_current_graphs"]}}
    other = folder / "monitored"
    other.mkdir()
    graphs = [{"name": "echo", "base_path": "../echo"}]
    config = zoo.write_config(other, [], graphs, monitoring=monitoring)
    with serving(config, metrics=None) as server:
        _, _, page = get(server, "/metrics")
    assert sample(page, "ovms_current_graphs", {"name": "echo"}) == 0


def test_a_family_that_there_is_not_is_no_start(config: Path, tmp_path: Path) -> None:
    flags = ("--config_path", str(config), "--rest_port", "auto", "--metrics_enable")
    named = "ovms_streams,ovms_nonsense"
    with Process(tmp_path, *flags, "--metrics_list", named) as server:
        assert server.code() == 1
        assert "Invalid name in metrics_list - ovms_nonsense" in server.log
        assert "Traceback" not in server.log
