"""A model of one slot that waits for the test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ovms_mp.inference.model import PooledModel
from ovms_mp.inference.threads import Threads
from tests.unit.inference.slots import GatedSlot, ports


@pytest.fixture
def threads() -> Iterator[Threads]:
    threads = Threads("inference")
    yield threads
    threads.close()


@pytest.fixture
def slot() -> GatedSlot:
    return GatedSlot()


@pytest.fixture
def model(slot: GatedSlot, threads: Threads) -> PooledModel:
    return PooledModel(ports(), ports(), [slot], threads)
