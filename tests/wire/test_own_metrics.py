"""What OVMS does not count: streams, who leaves, who gives way, nodes, and memory; that
REST counts as gRPC does; and that no client adds a label.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import grpc
import pytest
from ovms_mp_protos import kserve

from tests.python_nodes import site
from tests.unit.inference import tiny
from tests.wire import rest, zoo
from tests.wire.calls import Stream, ask, floats, infer, refusal, status_of, text
from tests.wire.servers import Server, sample, serving
from tests.wire.waiting import until

FIVE: Final = floats(1, 2, 3, 4, 5)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("own")
    zoo.add_model(folder, "add_one", tiny.add_one((1, 5)))
    add = zoo.graph(
        ["OVTENSOR:in"],
        ["OVTENSOR:out"],
        zoo.session("add_one"),
        zoo.inferring({"x": "in"}, {"y": "out"}),
    )
    graphs: list[dict[str, Any]] = [{"name": "add"}, {"name": "echo"}]
    zoo.add_graph(folder, "add", add)
    zoo.add_graph(folder, "echo", zoo.ECHO)
    zoo.add_graph(folder, "words", zoo.words(), speaker=zoo.HANDLER)
    zoo.add_graph(folder, "live", zoo.words(), speaker=zoo.HANDLER)
    # In a process of its own a handler keeps the graph from nothing but its node.
    zoo.add_graph(
        folder, "aside", site.graph(options=site.PROCESS), handler=zoo.HANDLER
    )
    policy = {"window": 1, "overflow": "drop_oldest"}
    graphs += [{"name": "words"}, {"name": "live", "stream": policy}, {"name": "aside"}]
    with serving(zoo.write_config(folder, [zoo.entry("add_one")], graphs)) as server:
        yield server


@pytest.fixture
def channel(server: Server) -> Iterator[grpc.Channel]:
    with server.connect() as channel:
        yield channel
    assert until(server.is_idle), "something is left in the server"


def value(server: Server, family: str, /, **labels: str) -> float | None:
    return sample(server.app.metrics.render().decode(), family, labels)


@pytest.mark.parametrize(
    ("name", "source"), [("echo", "in"), ("add", "in"), ("add_one", "x")]
)
def test_a_stream_is_counted_while_it_is_open_and_its_first_answer_once(
    server: Server, channel: grpc.Channel, name: str, source: str
) -> None:
    def now(family: str) -> float | None:
        return value(server, family, name=name)

    assert now("ovms_mp_open_streams") == 0
    first = now("ovms_mp_first_response_us_count")
    assert first == 0
    with Stream(channel, *(ask(name, {source: FIVE}) for _ in range(3))) as stream:
        for _ in range(3):
            stream.answer()
        assert now("ovms_mp_open_streams") == 1
        assert now("ovms_mp_first_response_us_count") == 1
        stream.half_close()
        assert stream.end() == ("OK", "")
    assert until(lambda: now("ovms_mp_open_streams") == 0)
    spent = now("ovms_mp_first_response_us_sum")
    assert spent is not None and 1 < spent < 60e6
    cancelled = {"interface": "gRPC", "method": "ModelInferStream", "name": name}
    assert value(server, "ovms_mp_requests_cancelled", **cancelled) == 0


def test_a_client_that_leaves_is_counted_whichever_way_it_came(
    server: Server, channel: grpc.Channel, tmp_path: Path
) -> None:
    word = {"in": text(f"until {tmp_path / 'go'}")}

    def cancelled(interface: str, method: str) -> float:
        labels = {"interface": interface, "method": method, "name": "aside"}
        return value(server, "ovms_mp_requests_cancelled", **labels) or 0

    def accepted(interface: str, method: str) -> bool:
        labels = {"api": "KServe", "interface": interface, "method": method}
        return value(server, "ovms_requests_accepted", **labels, name="aside") == 1

    with Stream(channel, ask("aside", word)):
        assert until(lambda: accepted("gRPC", "ModelInferStream"))
    assert until(lambda: cancelled("gRPC", "ModelInferStream") == 1)
    seconds = 0.3
    while not accepted("gRPC", "ModelInfer"):  # one that comes late is not asked for
        call = partial(infer, channel, ask("aside", word), timeout=seconds)
        assert status_of(call)[0] == "DEADLINE_EXCEEDED"
        seconds *= 2
    connection = rest.Rest(server.app.rest_port).connect()
    said = rest.inputs(rest.tensor("in", word["in"], "UINT8"))
    connection.request("POST", "/v2/models/aside/infer", rest.json.dumps(said))
    assert until(lambda: accepted("REST", "ModelInfer"))
    connection.close()
    assert until(lambda: cancelled("gRPC", "ModelInfer") == 1)
    assert until(lambda: cancelled("REST", "ModelInfer") == 1)
    (tmp_path / "go").touch()


def test_what_gives_way_is_counted(
    server: Server, channel: grpc.Channel, tmp_path: Path
) -> None:
    held = {"word": text(f"until {tmp_path / 'go'}")}
    with Stream(channel, *(ask("live", held) for _ in range(5))) as stream:

        def dropped() -> float | None:
            return value(server, "ovms_mp_requests_dropped", name="live")

        assert until(lambda: dropped() == 3)  # one is in the graph, one in the queue
        (tmp_path / "go").touch()
        stream.half_close()
        said = [stream.next() for _ in range(5)]
    refused = [each for each in said if each.error_message]
    assert len(refused) == dropped() == 3


def test_a_node_is_timed_with_what_it_waits_for(
    server: Server, channel: grpc.Channel
) -> None:
    page = server.app.metrics.render().decode()
    found = re.findall(
        r'^ovms_mp_graph_node_time_us_count\{name="(\w+)",node="(\w+)"\} (\d+)',
        page,
        re.MULTILINE,
    )
    before = {(graph, node): int(count) for graph, node, count in found}
    (inferring,) = [n for g, n in before if g == "add" and "Inference" in n]
    for _ in range(3):
        infer(channel, ask("add", {"in": FIVE}))
    infer(channel, ask("words", {"word": text("sleep 0.05")}))

    def of(graph: str, node: str, what: str) -> float:
        name = f"ovms_mp_graph_node_time_us_{what}"
        return value(server, name, name=graph, node=node) or 0

    assert of("add", inferring, "count") == before["add", inferring] + 3
    assert of("add", inferring, "sum") > 0
    assert of("words", "speaker", "sum") >= 50_000


def test_what_waits_for_a_node_is_seen_while_it_does(
    server: Server, channel: grpc.Channel, tmp_path: Path
) -> None:
    held = {"in": text(f"until {tmp_path / 'go'}")}

    def waiting() -> float | None:
        family = "ovms_mp_graph_node_queue"
        return value(server, family, name="aside", node="worker")

    assert waiting() == 0
    with Stream(channel, *(ask("aside", held) for _ in range(3))) as stream:
        seen = until(lambda: waiting() == 2)
        (tmp_path / "go").touch()
        for _ in range(3):
            stream.answer()
    assert seen
    assert until(lambda: waiting() == 0)


def test_memory_is_what_the_system_says(server: Server) -> None:
    status = Path("/proc/self/status").read_text()
    found = re.search(r"^VmRSS:\s+(\d+) kB", status, re.MULTILINE)
    assert found is not None
    page = server.app.metrics.render().decode()
    shown = re.search(r"^ovms_mp_process_memory_bytes (\d+)$", page, re.MULTILINE)
    assert shown is not None
    assert int(shown[1]) == pytest.approx(int(found[1]) << 10, rel=0.3)


def test_rest_is_counted_as_grpc_is(server: Server) -> None:
    asking = rest.Rest(server.app.rest_port)
    api = {"api": "KServe", "interface": "REST"}
    model = {"name": "add_one", "version": "1"}
    for _ in range(2):
        said = rest.inputs(rest.tensor("x", FIVE))
        assert asking.infer("add_one", said).code == 200
        assert asking.infer("echo", rest.inputs(rest.tensor("in", FIVE))).code == 200
    assert asking.infer("add_one", rest.inputs(rest.tensor("no", FIVE))).code == 400
    assert asking.infer("echo", rest.inputs(rest.tensor("no", FIVE))).code == 400
    for name in ("add_one", "echo"):
        assert asking.get(f"/v2/models/{name}").code == 200
        assert asking.get(f"/v2/models/{name}/ready").code == 200
    metadata, ready = {"method": "ModelMetadata"}, {"method": "ModelReady"}
    inferred = {**api, "method": "ModelInfer"}
    for family, labels, expected in (
        ("ovms_requests_success", {**inferred, **model}, 2),
        ("ovms_requests_fail", {**inferred, **model}, 1),
        ("ovms_request_time_us_count", {"interface": "REST", **model}, 2),
        ("ovms_requests_success", {**api, **metadata, **model}, 1),
        ("ovms_requests_success", {**api, **ready, "name": "add_one"}, 1),
        ("ovms_requests_success", {**api, **metadata, "name": "echo"}, 1),
        ("ovms_requests_success", {**api, **ready, "name": "echo"}, 1),
        ("ovms_requests_accepted", {**inferred, "name": "echo"}, 2),
        ("ovms_requests_rejected", {**inferred, "name": "echo"}, 1),
        ("ovms_responses", {**inferred, "name": "echo"}, 2),
    ):
        assert value(server, family, **labels) == expected, (family, labels)


def test_names_that_clients_make_up_are_no_labels(
    server: Server, channel: grpc.Channel
) -> None:
    """Whoever asks for a thousand names does not make the page, or the memory, larger."""
    asking = rest.Rest(server.app.rest_port)
    made_up = random.Random(9)

    def series() -> set[str]:
        page = server.app.metrics.render().decode().splitlines()
        return {line.rpartition(" ")[0] for line in page if not line.startswith("#")}

    metadata: Any = channel.unary_unary(kserve.MODEL_METADATA)
    ready: Any = channel.unary_unary(kserve.MODEL_READY)

    def everybody_asks() -> None:
        name = "".join(made_up.choices('abc/"\n {}=', k=12)) + "x"
        version = str(made_up.randrange(2, 10**6))
        assert refusal(channel, ask(name, {"x": FIVE}))[0] == "NOT_FOUND"
        unknown = ask("add_one", {"x": FIVE}, model_version=version)
        assert refusal(channel, unknown)[0] == "NOT_FOUND"
        with Stream(channel, ask(name, {"x": FIVE})) as stream:
            assert stream.end()[0] == "NOT_FOUND"
        for method, kind in (
            (metadata, kserve.ModelMetadataRequest),
            (ready, kserve.ModelReadyRequest),
        ):
            request = kind(name=name).SerializeToString()
            assert status_of(lambda m=method, r=request: m(r))[0] == "NOT_FOUND"
        path = quote(name, safe="")
        said = rest.inputs(rest.tensor("x", FIVE))
        assert asking.infer(path, said).code == 404
        for each in (path, f"{path}/ready", f"add_one/versions/{version}"):
            assert asking.get(f"/v2/models/{each}").code == 404
        assert asking.get(f"/v1/models/{path}").code == 404
        refused = rest.inputs(rest.tensor(f"tensor of {version}", FIVE))
        assert asking.infer("echo", refused).code == 400

    everybody_asks()  # what is counted of known names is on the page from now on
    before = series()
    for _ in range(20):
        everybody_asks()
    assert series() == before
