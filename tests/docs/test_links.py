"""A link leads somewhere, and everything can be come by."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.docs.conftest import ROOT, pages

LINK = re.compile(r"\]\(([^()\s]+)\)")
FENCED = re.compile(r"^ *```.*?^ *```$", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
PICTURE_BYTES = 300_000
DRAWING_BYTES = 30_000


def prose(name: str) -> str:
    """A page without its code."""
    return FENCED.sub("", (ROOT / name).read_text())


def anchors(markdown: str) -> set[str]:
    """What headings are called in links, as GitHub makes it."""
    lower = (heading.lower() for heading in HEADING.findall(markdown))
    return {re.sub(r"[^\w\- ]", "", each).replace(" ", "-") for each in lower}


@pytest.mark.parametrize("name", pages())
def test_links_between_pages_lead_somewhere(name: str) -> None:
    for link in LINK.findall(prose(name)):
        target, _, anchor = unquote(link).partition("#")
        if "://" in link:
            continue
        page = (ROOT / name).parent / target if target else ROOT / name
        assert page.exists(), link
        if anchor:
            assert anchor in anchors(FENCED.sub("", page.read_text())), link


def test_every_page_can_be_come_by_from_the_index() -> None:
    index = ROOT / "docs/README.md"
    linked = {
        (index.parent / link.partition("#")[0]).resolve()
        for link in LINK.findall(index.read_text())
    }
    ours = {(ROOT / name).resolve() for name in pages() if name.startswith("docs/")}
    assert ours - linked == {index.resolve()}


def test_the_decisions_are_numbered_without_a_gap() -> None:
    names = sorted(path.name for path in (ROOT / "docs/adr").glob("*.md"))
    assert [int(name[:4]) for name in names] == list(range(1, len(names) + 1))
    for name in names:
        text = (ROOT / "docs/adr" / name).read_text()
        assert text.startswith(f"# {int(name[:4])}. ")
        headings = re.findall(r"^## (.+)$", text, re.MULTILINE)
        assert headings == ["Context", "Decision", "Consequences"]


@pytest.mark.parametrize(
    "picture", sorted(p.name for p in (ROOT / "docs/images").iterdir())
)
def test_pictures_are_small_and_shown(picture: str) -> None:
    path: Path = ROOT / "docs/images" / picture
    limit = DRAWING_BYTES if path.suffix == ".svg" else PICTURE_BYTES
    assert path.stat().st_size < limit
    assert any(f"images/{picture})" in prose(name) for name in pages())
