"""Where the configurations of these tests lie."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """The place of a config.json."""
    return tmp_path / "config.json"
