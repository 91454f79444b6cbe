"""The OpenAPI document says what the server does: schemathesis reads it, asks what can be
asked by it and what cannot, and compares the answers with it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.wire.rest import Rest
from tests.wire.servers import HOST, Server

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
)
EXAMPLES = 10
"""Of each path."""


@pytest.fixture
def rest(server: Server) -> Rest:
    return Rest(server.app.rest_port)


def test_every_route_is_in_the_document(rest: Rest) -> None:
    document = rest.get("/openapi.json").json
    shown = {
        (method.upper(), path)
        for path, operations in document["paths"].items()
        for method in operations
    }
    assert ("POST", "/v2/models/{name}/versions/{version}/infer") in shown
    assert ("GET", "/metrics") in shown
    for method, path in shown:
        asked = path.replace("{name}", "add_one").replace("{version}", "1")
        assert rest.ask(method, asked).code in {200, 201, 400}
        assert rest.ask("GET" if method == "POST" else "POST", asked).code == 406


def asked_by_schemathesis(
    document: Any, rest: Rest, folder: Path, *flags: str
) -> subprocess.CompletedProcess[str]:
    file = folder / "openapi.json"
    file.write_text(json.dumps(document))
    command = (
        str(Path(sys.executable).parent / "schemathesis"),
        "run",
        str(file),
        f"--url=http://{HOST}:{rest.port}",
        f"--checks={','.join(CHECKS)}",
        f"--max-examples={EXAMPLES}",
        "--generation-database=none",
        "--seed=1",
        "--no-color",
    )
    return subprocess.run(
        (*command, *flags), cwd=folder, capture_output=True, text=True, check=False
    )


@pytest.mark.timeout(300)
def test_the_server_keeps_to_its_document(rest: Rest, tmp_path: Path) -> None:
    document: Any = rest.get("/openapi.json").json
    for operations in document["paths"].values():
        for operation in operations.values():
            for parameter in operation["parameters"]:
                # Names at random are of nobody.
                if parameter["name"] == "name":
                    parameter["schema"]["enum"] = ["add_one", "echo", "py", "nobody"]
    given = document["components"]["schemas"]["Input"]["properties"]
    given["name"] = {"enum": ["x", "in"]}
    given["shape"] = {"enum": [[1, 10], [0], [2]]}
    phases = "--phases=examples,coverage,fuzzing"
    done = asked_by_schemathesis(document, rest, tmp_path, phases)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.timeout(300)
def test_a_document_that_is_not_so_is_found_out(rest: Rest, tmp_path: Path) -> None:
    document: Any = rest.get("/openapi.json").json
    state = document["components"]["schemas"]["State"]
    state["properties"]["model_version_status"] = {"type": "integer"}
    only = ("--include-path=/v1/config", "--phases=coverage")
    done = asked_by_schemathesis(document, rest, tmp_path, *only)
    assert done.returncode == 1
    assert "response_schema_conformance" in done.stdout.lower().replace(" ", "_") or (
        "Response violates schema" in done.stdout
    ), done.stdout
