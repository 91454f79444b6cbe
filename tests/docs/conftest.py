"""The pages of this repository, for the tests of what they say."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.docs.blocks import Table, tables_of

ROOT = Path(__file__).resolve().parents[2]


def pages() -> list[str]:
    """Every Markdown file that is, or is about to be, tracked; relative to the root."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    names = sorted(name for name in listing.split("\0") if name.endswith(".md"))
    return [name for name in names if (ROOT / name).is_file()]


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def tables() -> dict[str, Table]:
    """Every named table of every page, by its name."""
    found = [each for name in pages() for each in tables_of((ROOT / name).read_text())]
    by_name = {each.name: each for each in found}
    assert len(by_name) == len(found)
    return by_name
