"""What a page shows is what happens."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.blocks import blocks_of
from tests.docs.conftest import ROOT, pages
from tests.docs.page import Page

WITH_BLOCKS = [name for name in pages() if any(blocks_of((ROOT / name).read_text()))]


@pytest.mark.parametrize("name", WITH_BLOCKS)
def test_what_a_page_shows_is_what_happens(
    name: str, tmp_path: Path, root: Path
) -> None:
    Page(name, (root / name).read_text(), tmp_path, root).check()
