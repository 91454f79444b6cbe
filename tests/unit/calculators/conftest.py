"""Handlers put their directories on sys.path for good; a test takes them off again."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def _module_search_path() -> Iterator[None]:
    before = list(sys.path)
    yield
    sys.path[:] = before
