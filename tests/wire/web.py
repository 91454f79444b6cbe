"""Streams for the web: a WebSocket as its client has it, and what goes over it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.wire.rest import inputs, tensor
from tests.wire.servers import HOST, Server

WITHIN = 30.0  # seconds
ROW = np.arange(10, dtype=np.float32).reshape(1, 10)
SQUARE = np.zeros((512, 512), np.float32)


@contextmanager
def stream(server: Server, name: str, **options: Any) -> Iterator[ClientConnection]:
    uri = f"ws://{HOST}:{server.app.rest_port}/v2/models/{name}/infer_stream"
    with connect(uri, max_size=None, compression=None, **options) as found:
        yield found


def request(name: str, array: np.ndarray = ROW, **keys: Any) -> str:
    return json.dumps(inputs(tensor(name, array), **keys))


def at(timestamp: int) -> dict[str, Any]:
    return {"parameters": {"OVMS_MP_TIMESTAMP": timestamp}}


def answer(on: ClientConnection) -> Any:
    said = on.recv(WITHIN)
    assert isinstance(said, str), said[:40]
    return json.loads(said)


def end(on: ClientConnection) -> ConnectionClosed:
    with pytest.raises(ConnectionClosed) as closed:
        on.recv(WITHIN)
    return closed.value


def binary(document: Any, contents: bytes) -> bytes:
    text = json.dumps(document).encode()
    return len(text).to_bytes(4, "big") + text + contents
