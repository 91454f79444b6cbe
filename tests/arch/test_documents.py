"""Code in the documents: it parses, and what it imports is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

FENCE = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def imports(code: str, where: str) -> ast.Module:
    """The import statements of `code`, as a program of their own."""
    tree = ast.parse(code, filename=where)
    kept = [n for n in ast.walk(tree) if isinstance(n, ast.Import | ast.ImportFrom)]
    return ast.Module(body=[*kept], type_ignores=[])


def test_python_in_markdown_parses_and_imports_what_exists(
    root: Path, files: tuple[Path, ...]
) -> None:
    documents = [path for path in files if path.suffix == ".md"]
    assert documents
    for path in documents:
        for block in FENCE.findall((root / path).read_text(encoding="utf-8")):
            exec(compile(imports(block, str(path)), str(path), "exec"), {})
