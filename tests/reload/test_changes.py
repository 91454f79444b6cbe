"""Whatever is changed in what is mounted is served soon, and nobody has to say so."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import pytest

from tests.reload.mount import CHANGES, Mount, expected, told
from tests.wire.servers import Server, serving
from tests.wire.waiting import until

SEEN_WITHIN = 30.0  # seconds; a look, another one, and a busy machine


@pytest.fixture(scope="module")
def mount(tmp_path_factory: pytest.TempPathFactory) -> Mount:
    return Mount(tmp_path_factory.mktemp("reload"))


@pytest.fixture(scope="module")
def server(mount: Mount) -> Iterator[Server]:
    with serving(mount.config, calculators_path=mount.calculators) as server:
        yield server


@pytest.fixture(scope="module")
def channel(server: Server) -> Iterator[grpc.Channel]:
    with server.connect() as channel:
        yield channel


@pytest.mark.parametrize("kind", CHANGES)
def test_a_change_is_seen(mount: Mount, channel: grpc.Channel, kind: str) -> None:
    assert told(channel, kind) == expected(kind, 1)
    for number in (2, 3):
        CHANGES[kind](mount, number)
        wanted = expected(kind, number)
        assert until(lambda: told(channel, kind) == wanted, SEEN_WITHIN), kind  # noqa: B023
