"""The native runtime, if it is somewhere."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.differential.oracle import Oracle, interpreter


@pytest.fixture(scope="session")
def oracle() -> Iterator[Oracle]:
    """MediaPipe's own runtime in a child process."""
    if interpreter() is None:
        pytest.skip("no Python with mediapipe: neither this one nor .venv-native")
    oracle = Oracle()
    yield oracle
    oracle.close()
