"""MediaPipe itself, if it is somewhere."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.differential.oracle import Oracle, interpreter
from tests.vision.both import NativeGraphs

_CHILD = Path(__file__).with_name("native_child.py")


@pytest.fixture(scope="session")
def mediapipe() -> None:
    """Tests that ask MediaPipe are skipped where there is none."""
    if interpreter() is None:
        pytest.skip("no Python with mediapipe: neither this one nor .venv-native")


@pytest.fixture(scope="session")
def native(mediapipe: None) -> Iterator[NativeGraphs]:
    oracle = Oracle(_CHILD)
    yield NativeGraphs(oracle)
    oracle.close()
