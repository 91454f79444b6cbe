"""What tests of the wire share: a connection to the server of `tests/conftest.py`."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import pytest

from tests.wire.servers import Server


@pytest.fixture
def channel(server: Server) -> Iterator[grpc.Channel]:
    with server.connect() as channel:
        yield channel
