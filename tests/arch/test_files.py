"""Budgets and manners of the files themselves."""

from __future__ import annotations

import re
from pathlib import Path

MODULE_LINES = 400
INIT_LINES = 60  # what a package offers, a line each

# A path that exists on one machine only. In a group, so as not to match itself.
MACHINE_PATH = re.compile(r"(?<![\w.-])/(?:work|tmp|root|home|Users)/")

TEXT_SUFFIXES = frozenset(
    {
        *(".cfg", ".in", ".json", ".md", ".overrides", ".pbtxt", ".proto", ".py"),
        *(".pyi", ".sh", ".svg", ".toml", ".txt", ".yaml", ".yml", ""),
    }
)


def lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def test_no_module_outgrows_its_budget(root: Path, files: tuple[Path, ...]) -> None:
    modules = [p for p in files if p.suffix == ".py"]
    assert modules
    too_long = {
        str(path): count
        for path in modules
        if (count := lines(root / path))
        > (INIT_LINES if path.name == "__init__.py" else MODULE_LINES)
    }
    assert too_long == {}


def test_no_file_knows_the_machine_it_was_written_on(
    root: Path, files: tuple[Path, ...]
) -> None:
    texts = [path for path in files if path.suffix in TEXT_SUFFIXES]
    assert texts
    found = [
        f"{path}:{number}: {line.strip()}"
        for path in texts
        for number, line in enumerate(
            (root / path).read_text(encoding="utf-8").splitlines(), start=1
        )
        if MACHINE_PATH.search(line)
    ]
    assert found == []
