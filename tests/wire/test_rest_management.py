"""What REST says of what is mounted, while that changes."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.unit.inference import tiny
from tests.wire import zoo
from tests.wire.rest import Rest, inputs, tensor
from tests.wire.servers import HOST, Server, sample, serving
from tests.wire.waiting import until

FIVE = np.arange(5, dtype=np.float32).reshape(1, 5)
RELOAD = "/v1/config/reload"
ECHO = {"name": "echo"}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    zoo.add_model(tmp_path, "add_one", tiny.add_one((1, 5)))
    zoo.add_graph(tmp_path, "echo", zoo.ECHO)
    return zoo.write_config(tmp_path, [zoo.entry("add_one")], [ECHO])


@pytest.fixture
def server(config: Path) -> Iterator[Server]:
    """One that looks at files only when it is told to."""
    with serving(config, file_system_poll_wait_seconds=0) as server:
        yield server


@pytest.fixture
def rest(server: Server) -> Rest:
    return Rest(server.app.rest_port)


def versions(rest: Rest, name: str) -> Any:
    """States by version."""
    found = rest.get(f"/v1/models/{name}").json["model_version_status"]
    return {each["version"]: each["state"] for each in found}


def test_what_is_new_is_served_when_the_reload_is_answered(
    config: Path, rest: Rest
) -> None:
    zoo.add_model(config.parent, "more", tiny.add_one((1, 5)))
    zoo.write_config(config.parent, [zoo.entry("add_one"), zoo.entry("more")], [ECHO])
    assert rest.get("/v2/models/more").code == 404
    answer = rest.ask("POST", RELOAD)
    assert answer.code == 201
    assert answer.json.keys() == {"add_one", "echo", "more"}
    assert rest.get("/v2/models/more/ready").code == 200
    assert rest.ask("POST", RELOAD).code == 200
    zoo.write_config(config.parent, [zoo.entry("add_one")], [ECHO])
    assert rest.ask("POST", RELOAD).code == 201
    assert until(lambda: versions(rest, "more") == {"1": "END"})
    refused = rest.infer("more", inputs(tensor("x", FIVE)))
    assert refused.code == 404


def test_a_new_version_is_the_default_one(config: Path, rest: Rest) -> None:
    made = config.parent / "add_one" / "2"
    made.mkdir()
    tiny.save(made, tiny.add_one((1, 5)))
    assert rest.ask("POST", RELOAD).code == 201
    answer = rest.infer("add_one", inputs(tensor("x", FIVE)))
    assert answer.json["model_version"] == "2"
    wanted = {"1": "END", "2": "AVAILABLE"}
    assert until(lambda: versions(rest, "add_one") == wanted)


def test_a_config_that_cannot_be_read_is_told_and_changes_nothing(
    config: Path, rest: Rest
) -> None:
    before = rest.get("/v1/config").json
    config.write_text("{")
    answer = rest.ask("POST", RELOAD)
    assert answer.code == 412
    assert answer.json == {
        "error": "Reloading config file failed. Check server logs for more info."
    }
    config.unlink()
    answer = rest.ask("POST", RELOAD)
    assert answer.code == 500
    assert answer.json == {"error": "Config file not found or cannot open."}
    told = rest.get("/v1/config").json
    reasons = {each.pop("reason").partition(" - ")[0] for each in told.values()}
    assert reasons == {"File not found or cannot open"}
    assert told == before
    assert rest.infer("add_one", inputs(tensor("x", FIVE))).code == 200


@pytest.mark.parametrize("name", ["add_one", "echo"])
def test_what_cannot_be_loaded_is_told_with_its_reason_and_served_as_before(
    config: Path, rest: Rest, name: str
) -> None:
    path = "add_one/1/model.xml" if name == "add_one" else "echo/graph.pbtxt"
    file = config.parent / path
    whole = file.read_text()
    file.write_text("not anything")
    answer = rest.ask("POST", RELOAD)
    assert answer.code == 500
    what = "models versions" if name == "add_one" else "config file"
    assert answer.error == (
        f"Reloading {what} failed. Check server logs for more info."
    )
    (failed,) = answer.json["failed"]
    assert failed["name"] == name
    assert failed["reason"]
    (version,) = rest.get(f"/v1/models/{name}").json["model_version_status"]
    assert version["state"] == "AVAILABLE"
    assert version["reason"]
    assert str(config.parent) not in json.dumps(version) + json.dumps(failed)
    port = "x" if name == "add_one" else "in"
    assert rest.infer(name, inputs(tensor(port, FIVE))).code == 200
    file.write_text(whole)
    assert rest.ask("POST", RELOAD).code in {200, 201}
    (version,) = rest.get(f"/v1/models/{name}").json["model_version_status"]
    assert "reason" not in version


def test_a_second_definition_of_a_name_fails_no_reload(
    config: Path, rest: Rest
) -> None:
    """OVMS skips it; why it does not count is told until it is gone."""
    once, twice = [zoo.entry("add_one")], zoo.entry("add_one", nireq=2)
    zoo.write_config(config.parent, [*once, twice], [ECHO])
    for _ in range(2):
        answer = rest.ask("POST", RELOAD)
        assert answer.code == 200
        assert "other settings, which counts" in answer.json["add_one"]["reason"]
    zoo.write_config(config.parent, [*once, {**twice, "config": {"name": 1}}], [ECHO])
    assert rest.ask("POST", RELOAD).code == 412
    zoo.write_config(config.parent, once, [ECHO])
    assert rest.ask("POST", RELOAD).code == 200
    assert "reason" not in rest.get("/v1/config").json["add_one"]


def test_readiness_is_that_of_what_is_configured_now(
    config: Path, server: Server, rest: Rest
) -> None:
    """R15: REST says what gRPC says, and both say what is so."""
    assert rest.get("/v2/health/ready").code == 200
    zoo.add_model(config.parent, "broken", tiny.add_one((1, 5)))
    (config.parent / "broken" / "1" / "model.xml").write_text("not anything")
    zoo.write_config(config.parent, [zoo.entry("add_one"), zoo.entry("broken")], [ECHO])
    assert rest.ask("POST", RELOAD).code == 500
    assert rest.get("/v2/health/ready").code == 503
    assert rest.get("/v2/health/live").code == 200
    assert rest.get("/v2/models/broken/ready").code == 404
    assert rest.get("/v2/models/add_one/ready").code == 200
    (version,) = rest.get("/v1/models/broken").json["model_version_status"]
    assert version["state"] == "LOADING"
    assert version["status"] == {"error_code": "UNKNOWN", "error_message": "UNKNOWN"}
    zoo.write_config(config.parent, [zoo.entry("add_one")], [ECHO])
    assert rest.ask("POST", RELOAD).code == 201
    assert rest.get("/v2/health/ready").code == 200
    server.app.catalog.stop()
    assert rest.get("/v2/health/ready").code == 503


def test_readiness_latches_if_it_is_told_to(config: Path) -> None:
    latched = {"readiness": "latched", "file_system_poll_wait_seconds": 0}
    with serving(config, **latched) as server:
        rest = Rest(server.app.rest_port)
        shutil.rmtree(config.parent / "add_one")
        zoo.add_graph(config.parent, "bad", "not anything")
        zoo.write_config(config.parent, [], [ECHO, {"name": "bad"}])
        assert rest.ask("POST", RELOAD).code == 500
        assert rest.get("/v2/health/ready").code == 200
        assert rest.get("/v2/models/bad/ready").code == 503


def test_requests_over_rest_are_counted_as_such(server: Server, rest: Rest) -> None:
    good, bad = inputs(tensor("x", FIVE)), inputs(tensor("y", FIVE))
    for document, code in ((good, 200), (good, 200), (bad, 400)):
        assert rest.infer("add_one", document).code == code
    assert rest.infer("echo", inputs(tensor("in", FIVE))).code == 200
    assert rest.infer("echo", inputs(tensor("other", FIVE))).code == 400
    assert rest.get("/v2/models/add_one").code == 200
    assert rest.get("/v2/models/add_one/ready").code == 200
    assert until(server.is_idle)
    page = rest.get("/metrics").body.decode()
    model = {"name": "add_one", "version": "1"}
    infer = {"api": "KServe", "interface": "REST", "method": "ModelInfer"}
    assert sample(page, "ovms_requests_success", {**infer, **model}) == 2
    assert sample(page, "ovms_requests_fail", {**infer, **model}) == 1
    metadata = {**infer, "method": "ModelMetadata"}
    assert sample(page, "ovms_requests_success", {**metadata, **model}) == 1
    ready = {**infer, "method": "ModelReady", "name": "add_one"}
    assert sample(page, "ovms_requests_success", ready) == 1
    graph = {**infer, "name": "echo"}
    assert sample(page, "ovms_requests_accepted", graph) == 1
    assert sample(page, "ovms_requests_rejected", graph) == 1
    assert sample(page, "ovms_responses", graph) == 1


def test_curl_is_answered(rest: Rest, tmp_path: Path) -> None:
    curl = shutil.which("curl")
    if curl is None:
        pytest.skip("there is no curl on this machine")
    document = tmp_path / "request.json"
    document.write_text(json.dumps(inputs(tensor("x", FIVE))))
    url = f"http://{HOST}:{rest.port}"

    def ask(*arguments: str) -> str:
        command = (curl, "--silent", "--show-error", "--max-time", "30", *arguments)
        return subprocess.run(
            command, check=True, capture_output=True, text=True
        ).stdout

    path = f"{url}/v2/models/add_one/infer"
    answer = json.loads(ask("--data-binary", f"@{document}", "--compressed", path))
    assert answer["outputs"][0]["data"] == (FIVE + 1).ravel().tolist()
    assert ask("--head", url + "/v2").startswith("HTTP/1.1 406")
    assert ask("--write-out", "%{http_code}", url + "/v2/health/ready") == "200"
    preflight = ask("--request", "OPTIONS", "--include", path).lower()
    assert "access-control-allow-origin: *" in preflight
