"""One contract, for every transport there is."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from ovms_mp.frontend.transport.aio import AioServer
from ovms_mp.frontend.transport.core import CoreServer
from ovms_mp.frontend.transport.seam import Server
from tests.wire.transport.world import World

TRANSPORTS: dict[str, Callable[..., Server]] = {
    "aio": AioServer,
    "core": CoreServer,
}


@pytest.fixture(params=sorted(TRANSPORTS))
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    world = World(TRANSPORTS[request.param])
    yield world
    world.close()
