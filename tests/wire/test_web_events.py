"""ModelStreamInfer for the web, with one request: its answers are server-sent events."""

from __future__ import annotations

import json
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from websockets.exceptions import InvalidStatus

from ovms_mp.settings.limits import LimitSettings
from tests.wire import zoo
from tests.wire.rest import Rest, inputs, tensor
from tests.wire.servers import HOST, Server, serving
from tests.wire.waiting import until
from tests.wire.web import ROW, SQUARE, WITHIN, answer, request, stream


def events(
    server: Server, name: str, document: Any
) -> tuple[int, list[tuple[str, Any]]]:
    """The code, and all events with what they are called."""
    rest = Rest(server.app.rest_port)
    path = f"/v2/models/{name}/infer_stream"
    said = rest.ask("POST", path, json.dumps(document).encode())
    if said.code != 200:
        return said.code, [("", said.json)]
    assert said.headers["content-type"].startswith("text/event-stream")
    found: list[tuple[str, Any]] = []
    for block in said.body.decode().split("\n\n")[:-1]:
        fields = dict(line.split(": ", 1) for line in block.split("\n"))
        found.append((fields.get("event", ""), json.loads(fields["data"])))
    return said.code, found


def test_each_answer_is_an_event(server: Server) -> None:
    five = np.array([5], np.float32)
    code, found = events(server, "burst", inputs(tensor("in", five)))
    assert code == 200
    assert len(found) == 5
    assert all(kind == "" and said["outputs"] for kind, said in found)


_TALKER = """
import time
from pathlib import Path
from pyovms import Tensor


class OvmsPythonModel:
    def execute(self, inputs):
        yield [Tensor("said", b"first")]
        go = Path(bytes(inputs[0]).decode())
        while not go.exists():
            time.sleep(0.005)
        yield [Tensor("said", b"second")]
"""


def test_an_event_is_there_as_soon_as_its_answer_is(tmp_path: Path) -> None:
    """The second is made only after the first was read."""
    zoo.add_graph(tmp_path, "talk", zoo.words("talker.py"), talker=_TALKER)
    config = zoo.write_config(tmp_path, [], [{"name": "talk"}])
    go = tmp_path / "go"
    word = np.frombuffer(str(go).encode(), np.uint8)
    body = json.dumps(inputs(tensor("word", word, "UINT8")))
    with serving(config) as server:
        connection = HTTPConnection(HOST, server.app.rest_port or 0, timeout=WITHIN)
        connection.request("POST", "/v2/models/talk/infer_stream", body)
        response = connection.getresponse()
        assert response.status == 200
        assert spoken(response) == b"first"
        go.touch()
        assert spoken(response) == b"second"
        assert response.read() == b""
        connection.close()


def spoken(response: HTTPResponse) -> bytes:
    said = json.loads(response.readline().removeprefix(b"data: "))
    assert response.readline() == b"\n"
    return bytes(said["outputs"][0]["data"])


@pytest.mark.parametrize(
    ("name", "document", "code"),
    [
        ("nobody", inputs(tensor("in", ROW)), 404),
        ("add", inputs(tensor("nobody", ROW)), 400),
        ("add", {}, 400),
        (
            "words",
            inputs(tensor("word", np.frombuffer(b"raise", np.uint8), "UINT8")),
            400,
        ),
    ],
)
def test_what_fails_before_an_answer_is_an_error_of_http(
    server: Server, name: str, document: Any, code: int
) -> None:
    found, ((_, said),) = events(server, name, document)
    assert found == code
    assert set(said) == {"error"}


def test_a_reader_of_events_that_leaves_frees_its_graph(server: Server) -> None:
    connection = HTTPConnection(HOST, server.app.rest_port, timeout=WITHIN)
    body = request("in", SQUARE)
    connection.request("POST", "/v2/models/slow/infer_stream", body)
    assert until(lambda: server.open_graphs() > 0, within=WITHIN)
    connection.close()
    assert until(server.is_idle, within=10)


def test_streams_of_all_kinds_share_their_places(tmp_path: Path) -> None:
    zoo.add_graph(tmp_path, "echo", zoo.ECHO)
    config = zoo.write_config(tmp_path, [], [{"name": "echo"}])
    document = inputs(tensor("in", ROW))
    with serving(config, limits=LimitSettings(max_streams=2)) as server:
        for _ in range(3):  # places that are left are there for the next
            with stream(server, "echo") as one, stream(server, "echo") as two:
                for each in (one, two):
                    each.send(request("in"))
                    assert answer(each)["outputs"]
                with pytest.raises(InvalidStatus) as refused, stream(server, "echo"):
                    pass
                assert refused.value.response.status_code == 429
                code, ((_, said),) = events(server, "echo", document)
                assert code == 429
                assert "2 streams open" in said["error"]
            assert until(lambda: events(server, "echo", document)[0] == 200)
