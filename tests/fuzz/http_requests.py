"""Requests of HTTP, as bytes: right ones of every route in which something is wrong. Each
is answered, refused in one line of JSON, or hung up on; and none is a fault of ours.
"""

from __future__ import annotations

import gzip
import json
import re
import socket
from contextlib import suppress
from typing import Any, Final

import numpy as np
from hypothesis import strategies as st

from tests.fuzz.fuzzing import a_line
from tests.unit.frontend.grpc.strategies import mutilate
from tests.wire.rest import HEADER, Rest, inputs, tensor
from tests.wire.servers import HOST

TEN: Final = np.arange(10, dtype=np.float32)
ANSWERED_IN: Final = 0.2
"""Seconds after which a request is taken for one that waits for its end, which is told."""

SECONDS: Final = 30.0
FAULTS: Final = {500, 502, 504}

PATHS: Final = (
    *("/v2", "/v2/health/live", "/v2/health/ready", "/v1/config", "/metrics"),
    *("/v2/models/echo/infer", "/v2/models/add_one/infer", "/v2/models/words/infer"),
    *("/v2/models/join/infer", "/v2/models/add_one/versions/1/infer"),
    *("/v2/models/echo", "/v2/models/echo/ready", "/v1/models/add_one"),
    *("/v2/models/add_one/versions/1", "/openapi.json", "/v1/models/nobody", "*"),
)
_JOIN: Final = inputs(
    tensor("a", np.array([[1, 2]]), "INT64"),
    tensor("b", np.ones((1, 3), np.float32)),
    outputs=[{"name": "sum", "parameters": {"binary_data": True}}],
    id="7",
    parameters={"number": 1, "text": "x", "is": True},
)
_BINARY: Final = json.dumps(
    inputs(
        {
            "name": "in",
            "shape": [10],
            "datatype": "FP32",
            "parameters": {"binary_data_size": 40},
        }
    )
).encode()
BODIES: Final = (
    b"",
    json.dumps(inputs(tensor("in", TEN))).encode(),
    json.dumps(inputs(tensor("x", TEN[None]))).encode(),
    json.dumps(_JOIN).encode(),
    json.dumps(
        inputs({"name": "word", "shape": [1], "datatype": "BYTES", "data": ["x"]})
    ).encode(),
    _BINARY + TEN.tobytes(),
)
_VALUES: Final = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from([2**63, 2**64, -1, "", "FP32", "BYTES", "in", "\x00", "\ud800"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["name", "shape", "data", "b64", "x"]), inner, max_size=3
        )
    ),
    max_leaves=8,
)
_HEADERS: Final = st.sampled_from(
    [
        f"{HEADER}: {len(_BINARY)}",
        f"{HEADER}: -1",
        f"{HEADER}: 99999999999999999999",
        f"{HEADER}: x",
        "content-encoding: gzip",
        "content-encoding: deflate, gzip",
        "content-encoding: br",
        "accept-encoding: gzip",
        "transfer-encoding: chunked",
        "expect: 100-continue",
        "content-type: text/html; charset=x",
        "authorization: Bearer \xff",
        "upgrade: websocket",
        "connection: keep-alive, close",
        "origin: http://x",
        "traceparent: 00-0-0-0",
    ]
)


@st.composite
def documents(draw: st.DrawFn) -> bytes:
    """A request in JSON in which a value is another one."""
    document: Any = json.loads(draw(st.sampled_from(BODIES[1:5])))
    place: Any = document
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        if not keys:
            break
        key = draw(st.sampled_from(keys))
        if isinstance(place[key], dict | list) and draw(st.booleans()):
            place = place[key]
            continue
        place[key] = draw(_VALUES)
        break
    return json.dumps(document).encode(errors="replace")


@st.composite
def wires(draw: st.DrawFn) -> bytes:
    """All that a client sends on a connection."""
    body = draw(st.sampled_from(BODIES) | documents())
    headers = draw(st.lists(_HEADERS, max_size=3))
    if "content-encoding: gzip" in headers and draw(st.booleans()):
        body = gzip.compress(body)
    length = draw(
        st.sampled_from([len(body)] * 6 + [0, len(body) + 9, max(0, len(body) - 3)])
    )
    method = draw(
        st.sampled_from(["POST"] * 6 + ["GET", "HEAD", "PUT", "OPTIONS", "", "P\x00"])
    )
    path = draw(
        st.sampled_from(PATHS) | st.text(max_size=12).map("/v2/models/{}/infer".format)
    )
    lines = [f"{method} {path} HTTP/1.1", "host: x", "connection: close", *headers]
    if draw(st.integers(0, 9)):
        lines.append(f"content-length: {length}")
    wire = "\r\n".join([*lines, "", ""]).encode(errors="replace") + body
    return draw(mutilate(wire)) if draw(st.integers(0, 3)) == 0 else wire


class Judge:
    """What comes of them at a REST port."""

    def __init__(self, rest: Rest) -> None:
        self._rest = rest

    def __call__(self, wire: bytes) -> str:
        """The code, or that nothing was said."""
        heard = self._heard(wire)
        if not heard:
            return "hung up on"
        found = re.match(rb"HTTP/1\.1 (\d{3}) ", heard)
        assert found, (heard[:200], wire)
        code = int(found[1])
        assert code not in FAULTS, (heard[:500], wire)
        head, _, body = heard.partition(b"\r\n\r\n")
        if code >= 400 and body and b"application/json" in head.lower():
            text = json.loads(body)["error"]
            assert a_line(text), (heard, wire)
        return str(code)

    def _heard(self, wire: bytes) -> bytes:
        heard = bytearray()
        with (
            socket.create_connection((HOST, self._rest.port), timeout=SECONDS) as link,
            suppress(ConnectionError),
        ):
            link.sendall(wire)
            link.settimeout(ANSWERED_IN)
            is_ended = False
            while True:
                try:
                    chunk = link.recv(1 << 16)
                except TimeoutError:
                    if is_ended:
                        raise
                    link.shutdown(socket.SHUT_WR)
                    link.settimeout(SECONDS)
                    is_ended = True
                    continue
                if not chunk:
                    break
                heard += chunk
        return bytes(heard)
