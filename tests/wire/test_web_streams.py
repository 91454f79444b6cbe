"""ModelStreamInfer for the web: what a stream of gRPC does, a WebSocket does as well."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from websockets.asyncio.client import ClientConnection as AsyncConnection
from websockets.asyncio.client import connect as connect_async
from websockets.exceptions import InvalidStatus

from ovms_mp.settings.rest import RestSettings
from ovms_mp.settings.security import SecuritySettings
from tests.wire import zoo
from tests.wire.rest import inputs
from tests.wire.servers import HOST, Server, serving
from tests.wire.waiting import until
from tests.wire.web import (
    ROW,
    SQUARE,
    WITHIN,
    answer,
    at,
    binary,
    end,
    request,
    stream,
)


def test_answers_come_in_order_with_ids_and_timestamps(server: Server) -> None:
    with stream(server, "add") as on:
        for number in range(50):
            on.send(request("in", ROW + number, id=f"r{number}", **at(number)))
            if number >= 8:
                check(answer(on), number - 8)
        for number in range(42, 50):
            check(answer(on), number)


def check(said: Any, number: int) -> None:
    assert said["id"] == f"r{number}"
    assert said["parameters"]["OVMS_MP_TIMESTAMP"] == number
    (output,) = said["outputs"]
    assert output["data"] == [float(x + number + 1) for x in range(10)]


def test_an_empty_message_lets_the_session_finish(server: Server) -> None:
    with stream(server, "sum") as on:
        for number in range(3):
            on.send(request("in", np.array([1.0 + number], np.float32)))
        on.send("")
        (output,) = answer(on)["outputs"]
        assert output["data"] == [6.0]
        closed = end(on)
        assert closed.rcvd is not None
        assert closed.rcvd.code == 1000


def test_tensors_go_both_ways_as_they_are(server: Server) -> None:
    frame = np.arange(3 << 20, dtype=np.uint8).reshape(1024, 1024, 3)
    head = {"name": "in", "shape": [1024, 1024, 3], "datatype": "UINT8"}
    asked = inputs(head, parameters={"binary_data_output": True})
    with stream(server, "echo") as on:
        on.send(binary(asked, frame.tobytes()))
        said = on.recv(WITHIN)
    assert isinstance(said, bytes)
    length = int.from_bytes(said[:4], "big")
    (output,) = json.loads(said[4 : 4 + length])["outputs"]
    assert output["parameters"]["binary_data_size"] == frame.nbytes
    assert said[4 + length :] == frame.tobytes()


def test_long_json_is_read_in_its_turn(server: Server) -> None:
    """It is read beside the event loop; a short one after it does not overtake it."""
    with stream(server, "echo") as on:
        on.send(request("in", np.arange(100_000, dtype=np.float32), **at(1)))
        on.send(request("in", ROW, **at(2)))
        found = [answer(on)["parameters"]["OVMS_MP_TIMESTAMP"] for _ in range(2)]
        assert found == [1, 2]


def test_a_plain_model_is_streamed_to(server: Server) -> None:
    with stream(server, "add_one") as on:
        on.send(request("x"))
        assert answer(on)["outputs"][0]["data"] == (ROW + 1).reshape(-1).tolist()


def test_a_version_may_be_named(server: Server) -> None:
    with stream(server, "add_one/versions/1") as on:
        on.send(request("x"))
        assert answer(on)["model_version"] == "1"
    with stream(server, "add_one/versions/7") as on:
        on.send(request("x"))
        assert answer(on)["error_code"] == "NOT_FOUND"


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ("{", "not valid json"),
        (request("nobody"), "nobody"),
        (b"\0\0", "a message begins with 4 bytes"),
        (b"\0\0\0\x09{}", "its JSON has 9 bytes, and 2 follow"),
        (b"\0\0\0\x02{}", "missing inputs"),
    ],
)
def test_a_stream_refuses_a_message_and_goes_on(
    server: Server, message: str | bytes, text: str
) -> None:
    with stream(server, "add") as on:
        on.send(request("in"))
        assert answer(on)["outputs"]
        on.send(message)
        refused = answer(on)
        assert text in refused["error"]
        assert refused["error_code"] == "INVALID_ARGUMENT"
        on.send(request("in"))
        assert answer(on)["outputs"]


def test_a_failure_ends_the_stream_with_its_reason(server: Server) -> None:
    with stream(server, "add") as on:
        on.send(request("in", **at(5)))
        assert answer(on)["outputs"]
        on.send(request("in", **at(5)))
        told = answer(on)
        closed = end(on)
        assert "timestamp" in told["error"].lower()
        assert told["error_code"] == "INVALID_ARGUMENT"
        assert closed.rcvd is not None
        assert closed.rcvd.code == 4003
        assert told["error"].startswith(closed.rcvd.reason)


def test_the_log_tells_whose_first_message_was_none(server: Server) -> None:
    with stream(server, "burst") as on:
        on.send("{")
        assert answer(on)["error_code"] == "INVALID_ARGUMENT"
        assert end(on).rcvd is not None
    said = 'REST WebSocket infer_stream "burst" failed: INVALID_ARGUMENT: '
    assert until(lambda: server.said(said, "not valid json"))


def test_who_is_not_served_is_told_so(server: Server) -> None:
    with stream(server, "nobody") as on:
        on.send(request("in"))
        assert answer(on)["error_code"] == "NOT_FOUND"
        closed = end(on)
        assert closed.rcvd is not None
        assert closed.rcvd.code == 4005


def test_nothing_follows_the_empty_message(server: Server) -> None:
    with stream(server, "slow") as on:
        on.send(request("in", SQUARE))
        on.send("")
        on.send(request("in", SQUARE))
        while "error" not in (said := answer(on)):
            assert said["outputs"]
        assert "nothing may follow" in said["error"]


@contextmanager
def raw_stream(server: Server) -> Iterator[socket.socket]:
    """A WebSocket whose frames are written by hand."""
    key = base64.b64encode(os.urandom(16)).decode()
    head = (
        f"GET /v2/models/echo/infer_stream HTTP/1.1\r\nHost: {HOST}\r\n"
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        f"Sec-WebSocket-Key: {key}\r\n\r\n"
    )
    with socket.create_connection((HOST, server.app.rest_port or 0)) as raw:
        raw.settimeout(WITHIN)
        raw.sendall(head.encode())
        said = b""
        while b"\r\n\r\n" not in said:
            said += raw.recv(1)
        assert b" 101 " in said
        yield raw


def rest_of(raw: socket.socket) -> bytes:
    said = b""
    while piece := raw.recv(4096):
        said += piece
    return said


def test_a_message_that_is_too_large_ends_its_own_stream(server: Server) -> None:
    with stream(server, "echo") as neighbour, raw_stream(server) as raw:
        raw.sendall(b"\x82\xff" + ((64 << 20) + 1).to_bytes(8) + bytes(4))
        said = rest_of(raw)
        assert said[0] == 0x88, "a frame that closes"
        assert int.from_bytes(said[2:4]) == 1009
        neighbour.send(request("in"))
        assert answer(neighbour)["outputs"]


@pytest.mark.parametrize(
    "frames",
    [
        b"\xff\xff\xff\xff",
        b"\x81\x05hello",
        b"\xc1\x80\0\0\0\0",
        b"\x81\x82\0\0\0\0\xff\xff",
    ],
)
def test_frames_that_are_none_are_closed_and_hurt_nobody(
    server: Server, frames: bytes
) -> None:
    with stream(server, "echo") as neighbour, raw_stream(server) as raw:
        raw.sendall(frames)
        assert rest_of(raw)[0] == 0x88
        neighbour.send(request("in"))
        assert answer(neighbour)["outputs"]


def test_other_paths_are_no_streams(server: Server) -> None:
    with pytest.raises(InvalidStatus), stream(server, "echo/infer"):
        pass


def test_a_client_that_does_not_read_holds_its_graph_and_no_other(
    server: Server,
) -> None:
    frame = np.zeros(1 << 20, np.uint8)
    head = {"name": "in", "shape": [frame.size], "datatype": "UINT8"}
    asked = binary(
        inputs(head, parameters={"binary_data_output": True}), frame.tobytes()
    )
    uri = f"ws://{HOST}:{server.app.rest_port}/v2/models/echo/infer_stream"
    sent = 0

    async def send_all(on: AsyncConnection) -> None:
        nonlocal sent
        while sent < 300:
            await on.send(asked)
            sent += 1

    async def run() -> None:
        async with connect_async(
            uri, max_size=None, max_queue=1, compression=None, ping_interval=None
        ) as on:
            sender = asyncio.create_task(send_all(on))
            seen = -1
            while seen < sent:
                seen = sent
                await asyncio.sleep(1)  # which is how long nothing moves
            assert sent < 150, "what is not read is not taken in without end"
            with stream(server, "echo") as other:
                other.send(request("in"))
                assert answer(other)["outputs"]
            for _ in range(300):
                assert isinstance(await on.recv(), bytes)
            await sender

    asyncio.run(run())


_CLIENT = """
import json, sys, time
from websockets.sync.client import connect
streams = [connect(sys.argv[1]) for _ in range(20)]
asked = open(sys.argv[2]).read()
for number, on in enumerate(streams):
    for _ in range(1 if number % 2 else 4):
        on.send(asked)
print("sent", flush=True)
time.sleep(60)
"""


def test_a_killed_client_frees_its_graphs(server: Server, tmp_path: Path) -> None:
    """Whether or not the server was reading it: half of the streams have sent more than
    their sessions take.
    """
    uri = f"ws://{HOST}:{server.app.rest_port}/v2/models/slow/infer_stream"
    file = tmp_path / "request.json"
    file.write_text(request("in", SQUARE))
    command = [sys.executable, "-c", _CLIENT, uri, str(file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as client:
        assert client.stdout is not None
        assert client.stdout.readline() == b"sent\n"
        assert until(lambda: server.open_graphs() > 0, within=WITHIN)
        client.send_signal(signal.SIGKILL)
    assert until(server.is_idle, within=10)


def test_pages_of_named_origins_may_open_streams(tmp_path: Path) -> None:
    zoo.add_graph(tmp_path, "echo", zoo.ECHO)
    config = zoo.write_config(tmp_path, [], [{"name": "echo"}])
    rest = RestSettings(allowed_origins="https://one.example, https://two.example")
    with serving(config, rest=rest) as server:
        for origin in (
            None,
            "https://two.example",
            f"http://{HOST}:{server.app.rest_port}",
        ):
            with stream(server, "echo", origin=origin) as on:
                on.send(request("in"))
                assert answer(on)["outputs"]
        with (
            pytest.raises(InvalidStatus) as refused,
            stream(server, "echo", origin="https://three.example"),
        ):
            pass
        assert refused.value.response.status_code == 403


def test_a_stream_wants_a_key_where_there_are_keys(tmp_path: Path) -> None:
    zoo.add_graph(tmp_path, "echo", zoo.ECHO)
    config = zoo.write_config(tmp_path, [], [{"name": "echo"}])
    file = tmp_path / "keys"
    file.write_text("secret\n")
    right = {"additional_headers": {"Authorization": "Bearer secret"}}
    code = base64.urlsafe_b64encode(b"secret").decode().rstrip("=")
    page = {"subprotocols": ["kserve.v2", f"bearer.{code}"]}
    with serving(config, security=SecuritySettings(api_key_file=file)) as server:
        for way in (right, page):
            with stream(server, "echo", **way) as on:
                on.send(request("in"))
                assert answer(on)["outputs"]
        wrong: list[dict[str, Any]] = [
            {},
            {"additional_headers": {"Authorization": "Bearer other"}},
            {"subprotocols": ["bearer.%%%"]},
        ]
        for way in wrong:
            with pytest.raises(InvalidStatus) as refused, stream(server, "echo", **way):
                pass
            assert refused.value.response.status_code == 401
