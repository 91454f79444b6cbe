"""What a page shows is what happens."""

from __future__ import annotations

from pathlib import Path

import pytest

from graphs import assets
from tests.docs.blocks import blocks_of
from tests.docs.conftest import ROOT, pages
from tests.docs.page import Page

WITH_BLOCKS = [name for name in pages() if any(blocks_of((ROOT / name).read_text()))]
OF_GRAPHS = [name for name in WITH_BLOCKS if name.startswith("graphs/")]
OTHERS = [name for name in WITH_BLOCKS if name not in OF_GRAPHS]

# Of Debian, where they come from: other systems do without these pages.
CLIPS = {
    "graphs/cameras/README.md": "vtest.avi",
    "graphs/speech_detection/README.md": "austen_0870.wav",
}
# Models are fetched, and some of them made.
MODELS_WITHIN = 300.0


@pytest.mark.parametrize("name", OTHERS)
def test_what_a_page_shows_is_what_happens(
    name: str, tmp_path: Path, root: Path
) -> None:
    Page(name, (root / name).read_text(), tmp_path, root).check()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", OF_GRAPHS)
def test_what_a_graph_s_page_shows_is_what_happens(
    name: str, tmp_path: Path, root: Path
) -> None:
    try:
        if name in CLIPS:
            assets.fetch(CLIPS[name])
    except assets.AssetUnavailable as error:
        pytest.skip(str(error))
    markdown = (root / name).read_text()
    Page(name, markdown, tmp_path, root, patience=MODELS_WITHIN).check()
