"""curl, as a person uses it who has a key and a certificate's authority, and what a
scraper and a probe of health read of the same server.
"""

from __future__ import annotations

import gzip
import json
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import grpc
import numpy as np
import pytest
import trustme
from ovms_mp_protos import kserve
from prometheus_client.parser import text_string_to_metric_families

from tests.unit.inference import tiny
from tests.wire import zoo
from tests.wire.rest import HEADER, inputs, tensor
from tests.wire.servers import Process
from tests.wire.waiting import until

KEY: Final = "the-key-of-curl-123"
BEARER: Final = ("--header", f"authorization: Bearer {KEY}")
FIVE: Final = np.arange(5, dtype=np.float32).reshape(1, 5)


class Curl:
    """Against a server of its own."""

    def __init__(self, process: Process, folder: Path, program: str) -> None:
        self.process = process
        self.address = process.ready().replace("127.0.0.1", "localhost")
        found = re.search(r"REST server listening on [^ ]*:(\d+)", process.log)
        assert found is not None
        self.url = f"https://localhost:{found[1]}"
        self.folder = folder
        self._program = program

    def ask(
        self, path: str, *arguments: str, key: Sequence[str] = BEARER
    ) -> tuple[int, bytes]:
        """Code and body."""
        answer = self.folder / "answer"
        answer.unlink(missing_ok=True)
        done = subprocess.run(
            [
                *(self._program, "--silent", "--show-error", "--max-time", "30"),
                *("--cacert", str(self.folder / "roots.pem")),
                *("--output", str(answer), "--write-out", "%{http_code}"),
                *(*key, *arguments, self.url + path),
            ],
            check=True,
            capture_output=True,
            text=True,
        )
        return int(done.stdout), answer.read_bytes() if answer.exists() else b""

    def said(self, path: str, *arguments: str, **more: Any) -> tuple[int, Any]:
        """Code, and what the JSON of the body says."""
        code, body = self.ask(path, *arguments, **more)
        return code, json.loads(body)


@pytest.fixture(scope="module")
def curl(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Curl]:
    program = shutil.which("curl")
    if program is None:
        pytest.skip("there is no curl on this machine")
    folder = tmp_path_factory.mktemp("curl")
    zoo.add_model(folder, "add_one", tiny.add_one((1, 5)))
    zoo.add_graph(folder, "echo", zoo.ECHO)
    config = zoo.write_config(folder, [zoo.entry("add_one")], [{"name": "echo"}])
    (folder / "keys").write_text(KEY)
    authority = trustme.CA()
    identity = authority.issue_cert("localhost")
    authority.cert_pem.write_to_path(folder / "roots.pem")
    identity.private_key_pem.write_to_path(folder / "key.pem")
    identity.cert_chain_pems[0].write_to_path(folder / "chain.pem")
    flags = ["--config_path", str(config), "--rest_port", "auto", "--metrics_enable"]
    flags += ["--api_key_file", str(folder / "keys")]
    for port in ("grpc", "rest"):
        flags += [f"--{port}_certificate_path", str(folder / "chain.pem")]
        flags += [f"--{port}_key_path", str(folder / "key.pem")]
    with Process(folder, *flags) as process:
        yield Curl(process, folder, program)


def test_what_a_person_reads_who_begins(curl: Curl) -> None:
    assert curl.ask("/v2/health/ready", key=()) == (200, b"")
    code, said = curl.said("/v2", key=())
    assert code == 401
    assert said == {"error": "an API key is needed: authorization: Bearer KEY"}
    code, said = curl.said("/v2", key=("--header", "authorization: Bearer no"))
    assert (code, said) == (401, {"error": "the API key is wrong"})
    assert curl.said("/v2")[1]["name"] == "OpenVINO Model Server"
    code, said = curl.said("/v2/models/add_two")
    assert (code, said) == (404, {"error": "Model with requested name is not found"})
    assert curl.said("/v2/models/add_one")[1]["inputs"] == [
        {"name": "x", "datatype": "FP32", "shape": [1, 5]}
    ]
    line = 'REST GET /v2/models/{name} "add_two" failed: 404: Model with requested'
    assert until(lambda: line in curl.process.log)
    assert KEY not in curl.process.log


def test_an_inference_in_json_compressed_and_in_binary(curl: Curl) -> None:
    document = json.dumps(inputs(tensor("x", FIVE))).encode()
    file = curl.folder / "request"
    file.write_bytes(document)
    path = "/v2/models/add_one/infer"
    code, said = curl.said(path, "--data-binary", f"@{file}")
    assert (code, said["outputs"][0]["data"]) == (200, [1, 2, 3, 4, 5])
    file.write_bytes(gzip.compress(document))
    packed = ("--header", "content-encoding: gzip", "--compressed")
    assert curl.said(path, *packed, "--data-binary", f"@{file}") == (code, said)
    given = {"name": "x", "datatype": "FP32", "shape": [1, 5]}
    head = json.dumps(inputs(given, parameters={"binary_data_output": True})).encode()
    file.write_bytes(head + FIVE.tobytes())
    length = ("--header", f"{HEADER}: {len(head)}")
    code, body = curl.ask(path, *length, "--data-binary", f"@{file}")
    assert code == 200
    assert body.endswith((FIVE + 1).tobytes())


def test_a_scraper_reads_every_family(curl: Curl) -> None:
    code, body = curl.ask("/metrics", key=())
    assert code == 200
    families = {each.name for each in text_string_to_metric_families(body.decode())}
    assert {"ovms_requests_success", "ovms_current_graphs", "ovms_mp_open_streams"} <= {
        *families
    }


def test_a_probe_of_health_asks_with_tls_and_without_a_key(curl: Curl) -> None:
    """As grpc_health_probe does: Check of the server, and of a servable."""
    trust = grpc.ssl_channel_credentials((curl.folder / "roots.pem").read_bytes())
    with grpc.secure_channel(curl.address, trust) as channel:
        check: Any = channel.unary_unary(
            kserve.HEALTH_CHECK, None, kserve.HealthCheckResponse.FromString
        )
        for name in ("", "add_one", "echo"):
            message = kserve.HealthCheckRequest(service=name).SerializeToString()
            status = check(message, timeout=20).status
            assert status == kserve.HealthCheckResponse.SERVING
