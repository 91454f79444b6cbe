"""The page that maps MediaPipe's tests of the language to ours names tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "mediapipe-tests" / "language.md"


def test_every_test_that_the_page_names_exists() -> None:
    named = set(re.findall(r"\btest_[a-z0-9_]+(?!\w*\.)", PAGE.read_text("utf-8")))
    named = {
        each
        for each in named
        if not re.search(rf"{each}\.(py|cc)", PAGE.read_text("utf-8"))
    }
    written = {
        name
        for path in (ROOT / "tests" / "unit" / "graph").glob("test_*.py")
        for name in re.findall(
            r"^def (test_\w+)", path.read_text("utf-8"), re.MULTILINE
        )
    }
    assert len(named) > 20
    assert named - written == set()
