"""The pages that say which test checks what name tests that exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "docs" / "mediapipe-tests"
HERE = "tests/mediapipe/"
ROW = re.compile(r"^\| (.+?) \| (.+) \|$")
# `file.py`: test_one, test_two; `other.py`: test_three
NAMED = re.compile(r"`([\w/]+\.py)`: (test_\w+(?:, test_\w+)*)")


def rows(page: str) -> list[tuple[str, str, str]]:
    """The rows of a page's tables: section, first and second cell."""
    found, section = [], ""
    for line in (PAGES / page).read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            section = line.removeprefix("## ")
        elif (row := ROW.match(line)) and not row[1].startswith(("---", "theirs")):
            found.append((section, row[1], row[2]))
    return found


def functions_of(path: Path) -> set[str]:
    """The names of the functions in a file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for node in ast.walk(tree) if isinstance(node, functions)}


def named(cell: str) -> list[tuple[Path, str]]:
    """The tests that a cell names."""
    return [
        (ROOT / (file if "/" in file else HERE + file), test)
        for file, tests in NAMED.findall(cell)
        for test in tests.split(", ")
    ]


OVMS = ("ovms-boundary.md", "ovms-python.md", "ovms-streaming.md")


@pytest.mark.parametrize("page", ["README.md", *OVMS])
def test_every_test_that_a_page_names_exists(page):
    pairs = [pair for _, _, cell in rows(page) for pair in named(cell)]
    assert pairs
    known = {path: functions_of(path) for path, _ in pairs}
    assert [test for path, test in pairs if test not in known[path]] == []


def test_every_test_of_theirs_is_listed_once_and_is_mapped_or_has_a_reason():
    reasons = re.findall(
        r"^- \*(.+?)\*:",
        (PAGES / "README.md").read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    assert reasons
    theirs = [(section, name) for section, name, _ in rows("README.md")]
    assert len(theirs) == len(set(theirs)) > 250
    for _, name, cell in rows("README.md"):
        assert named(cell) or cell.split(":")[0] in reasons, name


def test_the_pages_have_every_test_of_the_files_that_matter():
    """`their_tests.txt` lists what those files of MediaPipe 0.10.21 contain."""
    pages = " ".join(page.read_text(encoding="utf-8") for page in PAGES.glob("*.md"))
    listed = set(re.findall(r"\w+", pages))
    theirs = Path(__file__).with_name("their_tests.txt").read_text(encoding="utf-8")
    lines = theirs.splitlines()
    names = [line.strip() for line in lines if line.startswith(" ")]
    assert len(names) > 150
    assert [name for name in names if name not in listed] == []
    files = [line.rpartition("/")[2] for line in lines if not line.startswith(" ")]
    assert [file for file in files if file not in pages] == []


@pytest.mark.parametrize("page", OVMS)
def test_every_rule_of_ovms_has_a_test(page):
    found = [(rule, cell) for _, rule, cell in rows(page) if rule != "rule"]
    assert len(found) > 20
    assert [rule for rule, cell in found if not named(cell)] == []


def test_the_forty_cases_of_ovms_streams_are_mapped_each():
    cases = [(theirs, cell) for at, theirs, cell in rows("ovms-streaming.md") if not at]
    assert len(cases) == len({theirs for theirs, _ in cases}) == 40
    assert [theirs for theirs, cell in cases if not named(cell)] == []


def test_every_test_of_ours_against_theirs_is_on_the_page():
    mapped = {test for _, _, cell in rows("README.md") for _, test in named(cell)}
    mine = {
        name
        for path in Path(__file__).parent.glob("test_*.py")
        if path != Path(__file__)
        for name in functions_of(path)
        if name.startswith("test_")
    }
    assert mine - mapped == set()
