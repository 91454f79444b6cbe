"""A model of one slot that waits for the test, and modules that tests make up."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ovms_mp.core.threads import Threads
from ovms_mp.inference.model import PooledModel
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


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Makes a module of a text."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    def make(text: str) -> str:
        (tmp_path / "stand_in.py").write_text(text)
        return "stand_in"

    return make
